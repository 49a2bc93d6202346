"""Devices that turn binary codes into intensities |Rz|^2."""

from skopu.devices.base import OPUDevice
from skopu.devices.registry import DEVICES, resolve_device
from skopu.devices.simulated import SimulatedOPU

__all__ = ["DEVICES", "OPUDevice", "SimulatedOPU", "resolve_device"]
