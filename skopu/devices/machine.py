"""Devices that are one machine, and patience for devices that are not."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

from skopu._core.validation import Interval
from skopu.devices.base import OPUDevice
from skopu.devices.wrapper import WrappedOPU

GUARD_CONSTRAINTS = {
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "retry_wait": [Interval(Real, 0, None, closed="left")],
    "timeout": [Interval(Real, 0, None, closed="neither"), None],
    "max_batch": [Interval(Integral, 1, None, closed="left"), None],
    "max_passes": [Interval(Integral, 0, None, closed="left"), None],
}


class MachineOPU(OPUDevice):
    """Base class of adapters of machines: one object for one machine, and nothing taken on trust.

    A clone or a copy is the machine itself, so that estimators in a pipeline or a search share it;
    a pickle is refused. A batch that fails is tried three times more, frames are looked at, and
    whatever the machine raises is a fault (see :class:`OPUDevice`, where the attributes that
    say so are described). A subclass implements ``_project``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import clone
    >>> from skopu.devices import MachineOPU
    >>> class Bench(MachineOPU):
    ...     def _project(self, codes, n_components):
    ...         raise OSError("the shutter is closed")
    >>> bench = Bench()
    >>> bench.retry_wait = 0
    >>> clone(bench) is bench
    True
    >>> bench.project(np.eye(3), n_components=5)
    Traceback (most recent call last):
        ...
    skopu.exceptions.DeviceFault: Bench failed at pass 1 (code 1 of the 3 of this call), 4 times
    in a row: OSError: the shutter is closed. The frames of the 0 codes before are in the
    attribute `partial` of this error.
    """

    n_retries = 3
    checks_frames = True
    fault_types = (Exception,)

    def __sklearn_clone__(self):
        return self

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __getstate__(self):
        raise TypeError(
            f"a {type(self).__name__} stands for a machine and cannot be pickled. To save an "
            "estimator, put None in the place of its device (opu=None, and opu_=None on its "
            "fitted parts) and the machine back after loading. Use n_jobs=1 or threads, "
            "joblib.parallel_config('threading'), instead of processes. To repeat an experiment "
            "elsewhere, record it with RecordingOPU and use ReplayOPU there."
        )


@dataclass(eq=False, repr=False)
class GuardedOPU(WrappedOPU):
    """Give a device patience, a limit to its batches, or a budget of passes.

    Made for devices of your own and for planning with simulated ones; the adapters of machines
    have these parameters themselves. A clone is the same object, so that its budget is one.

    Parameters
    ----------
    opu : OPUDevice, str or None, default=None
        The device, used itself and not a clone; None: ``SimulatedOPU()``.
    n_retries : int, default=3
        How often a batch is tried again after a fault.
    retry_wait : float, default=0.1
        Seconds before the first of these attempts; each next one waits twice as long.
    timeout : float or None, default=None
        Seconds after which a call that has not returned is a fault.
    max_batch : int or None, default=None
        Most codes in a call of the device.
    max_passes : int or None, default=None
        Budget. Training that reaches it ends with a warning; any other call raises
        ``PassBudgetError`` before anything is sent.
    checks_frames : bool, default=True
        Whether dark, saturated and repeated frames are faults.

    Attributes
    ----------
    n_passes : int
        Codes projected so far.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import GuardedOPU
    >>> opu = GuardedOPU(max_passes=5)
    >>> codes = np.eye(4)
    >>> opu.project(codes, 3).shape
    (4, 3)
    >>> opu.project(codes, 3)
    Traceback (most recent call last):
        ...
    skopu.exceptions.PassBudgetError: GuardedOPU has 1 of max_passes=5 left at pass 5, and 4
    codes were to be projected: none of them was sent. Raise max_passes, or use fewer rows,
    draws or iterations.
    """

    _parameter_constraints = {
        **WrappedOPU._parameter_constraints,
        **GUARD_CONSTRAINTS,
        "checks_frames": ["boolean"],
    }
    fault_types = (Exception,)

    opu: object = None
    _: KW_ONLY
    n_retries: int = 3
    retry_wait: float = 0.1
    timeout: object = None
    max_batch: object = None
    max_passes: object = None
    checks_frames: bool = True
