"""Devices known by name."""

from skopu._core.parts import resolve_part
from skopu.devices.simulated import SimulatedOPU

DEVICES = {"simulated": SimulatedOPU}


def resolve_device(opu, n_bits, n_components, n_free=0):
    """Return the device that ``opu`` stands for, after checking that it is large enough.

    Parameters
    ----------
    opu : str, OPUDevice or None
        None is the simulated device. An object is cloned (hardware returns itself).
    n_bits, n_components : int
        What will be asked of it.
    n_free : int, default=0
        How many of the components will not be asked of the device.

    Raises
    ------
    DeviceLimitError
        If the device is smaller than that.
    """
    device = resolve_part(opu, DEVICES, "opu")
    device.check_size(n_bits, n_components, n_free)
    return device
