"""Devices that turn binary codes into intensities |Rz|^2, and what is made of those."""

from skopu.devices.base import OPUDevice
from skopu.devices.calibrated import CalibratedOPU
from skopu.devices.calibration import Calibration, calibrate, calibration_passes
from skopu.devices.lighton import LightOnOPU
from skopu.devices.machine import GuardedOPU, MachineOPU
from skopu.devices.optics.anchors import AnchorRetrieval
from skopu.devices.optics.camera import Camera
from skopu.devices.optics.holography import OffAxisHolography, PhaseShiftingHolography
from skopu.devices.recording import RecordingOPU, ReplayOPU
from skopu.devices.simulated import SimulatedOPU

__all__ = [
    "AnchorRetrieval",
    "CalibratedOPU",
    "Calibration",
    "Camera",
    "GuardedOPU",
    "LightOnOPU",
    "MachineOPU",
    "OPUDevice",
    "OffAxisHolography",
    "PhaseShiftingHolography",
    "RecordingOPU",
    "ReplayOPU",
    "SimulatedOPU",
    "calibrate",
    "calibration_passes",
]
