"""Torch as it comes, whatever the rest of the process has made of it.

Other libraries set a default dtype or device, and users call ``fit`` under ``no_grad`` or
autocast. Each would change what is learned, or stop it.
"""

from contextlib import nullcontext
from functools import partial

import torch

from skopu._core.interrupts import restoring

# Those that torch knows by name; any other is not switched off.
_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


def plain_torch():
    """Return a context of torch's own defaults; what was set before is put back at its end.

    These are float32 on the CPU where nothing else is said, in full precision, with gradients, and
    without autocast.
    """
    cast = [name for name in _AUTOCAST_DEVICES if torch.is_autocast_enabled(name)]
    return restoring(
        partial(_Setting, torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        partial(
            _Setting,
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
            "highest",
        ),
        partial(torch.inference_mode, False),
        torch.enable_grad,
        _cpu,
        *[partial(torch.autocast, name, enabled=False) for name in cast],
    )


def _cpu():
    # A default device slows every call of torch down, so nothing is set where none was.
    is_cpu = torch.get_default_device() == torch.device("cpu")
    return nullcontext() if is_cpu else torch.device("cpu")


class _Setting:
    """Context in which a setting of the process has a value; nothing is set that has it."""

    def __init__(self, get, set_, value):
        self._set, self._value, self._before = set_, value, get()

    def __enter__(self):
        if self._before != self._value:
            self._set(self._value)

    def __exit__(self, *error):
        if self._before != self._value:
            self._set(self._before)
