"""Torch as it comes, whatever the rest of the process has made of it.

Other libraries set a default dtype or device, and users call ``fit`` under ``no_grad`` or
autocast. Each would change what is learned, or stop it.
"""

from contextlib import nullcontext
from functools import partial
from threading import Lock

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
        lambda: _DTYPE,
        lambda: _PRECISION,
        partial(torch.inference_mode, False),
        torch.enable_grad,
        _cpu,
        *[partial(torch.autocast, name, enabled=False) for name in cast],
    )


def _cpu():
    # A default device slows every call of torch down, so nothing is set where none was.
    is_cpu = torch.get_default_device() == torch.device("cpu")
    return nullcontext() if is_cpu else torch.device("cpu")


class _ProcessSetting:
    """Context in which a setting of the whole process has a value.

    Threads share it: the first fit sets it, and the last one of those at work puts it back.
    """

    def __init__(self, get, set_, value):
        self._get, self._set, self._value = get, set_, value
        self._lock, self._n_fits, self._before = Lock(), 0, value

    def __enter__(self):
        with self._lock:
            if not self._n_fits:
                self._before = self._get()
                self._change(self._before, self._value)
            self._n_fits += 1

    def __exit__(self, *error):
        with self._lock:
            self._n_fits -= 1
            if not self._n_fits:
                self._change(self._value, self._before)

    def _change(self, present, wanted):
        if present != wanted:
            self._set(wanted)


_DTYPE = _ProcessSetting(torch.get_default_dtype, torch.set_default_dtype, torch.float32)
_PRECISION = _ProcessSetting(
    torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
)
