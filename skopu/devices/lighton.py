"""Adapter of the machines of LightOn, and of their simulated device."""

import warnings
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np

from skopu._core.validation import HasMethods, Interval
from skopu.devices.acquisition import acquire
from skopu.devices.base import check_codes
from skopu.devices.machine import GUARD_CONSTRAINTS, MachineOPU
from skopu.exceptions import CameraWarning, DeviceFault

_GAIN_CODES = 64  # codes from which the gain is measured
_MOST_SATURATED = 0.01


@dataclass(eq=False, repr=False)
class LightOnOPU(MachineOPU):
    r"""Adapter of a ``lightonml.opu.OPU``, real or simulated.

    The vendor's library answers a code z with :math:`g\,|Rz|^2`: 8-bit counts on a machine, with
    an unknown gain g. The adapter measures g once, as the mean count of 64 random codes divided
    by their mean popcount, and divides by it, so that features have the units of
    :class:`OPUDevice`.

    The matrix of a machine depends on how the codes are laid out on its mirrors and on which part
    of the camera is read. Both are fixed by the first use, for ``n_bits`` bits and the
    ``n_components`` of the vendor's object, and kept for its life: shorter codes are filled up
    with zeros, and fewer components are the first ones. If somebody else fits the vendor's object
    again, or sets its ``n_components``, the matrix is another, and the next call is refused.

    Codes are checked here (the vendor looks at a sample, or casts), and sent as they are, one byte
    a bit: any number of bits will do. The vendor's library is loaded only to open a machine.

    Parameters
    ----------
    opu : lightonml.opu.OPU or None, default=None
        The vendor's object; whoever made it closes it. None: one is opened by ``with``.
    n_bits : int or None, default=None
        Largest k, for which the mirrors are laid out. None: that of the first codes, or of the
        matrix if the vendor's device is simulated. More mirrors for a bit are more light, so do
        not ask for more bits than will be used.
    n_components : int or None, default=None
        D of the object that ``with`` opens; None: the vendor's default. Leave it at None where
        ``opu`` is given.
    simulated : bool, default=False
        Whether ``with`` opens the vendor's simulated device.
    gain : float or None, default=None
        g, mean count for one bit of a code. None: measured, which takes 64 passes.
    n_retries : int, default=3
        How often a batch is tried again after a fault, beside the vendor's own attempts.
    retry_wait : float, default=0.1
        Seconds before the first of these attempts; each next one waits twice as long.
    timeout : float or None, default=None
        Seconds after which a call that has not returned is a fault.
    max_batch : int or None, default=3000
        Most codes in a call, the vendor's own batch.
    max_passes : int or None, default=None
        Budget of passes.

    Attributes
    ----------
    gain_ : float
        The gain used, once there has been a pass.
    n_passes : int
        Codes projected so far, those for the gain included.

    Examples
    --------
    ::

        from lightonml.opu import OPU

        with OPU(n_components=4000) as machine:
            opu = LightOnOPU(machine, n_bits=64)
            model = EndToEndOPURegressor(features=OPURandomFeatures(4000, opu=opu)).fit(X, y)

        with LightOnOPU(n_bits=64, n_components=4000) as opu:  # the same, opened here
            ...

    >>> from skopu.devices import LightOnOPU
    >>> LightOnOPU().project([[0, 1]], 3)
    Traceback (most recent call last):
        ...
    skopu.exceptions.DeviceFault: LightOnOPU at pass 1 is not open: use it inside `with
    LightOnOPU(...) as opu:`, or give it an OPU of lightonml, LightOnOPU(OPU(n_components=...)).
    """

    _parameter_constraints = {
        **GUARD_CONSTRAINTS,
        "opu": [HasMethods(["fit1d", "transform"]), None],
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "simulated": ["boolean"],
        "gain": [Interval(Real, 0, None, closed="neither"), None],
    }

    opu: object = None
    _: KW_ONLY
    n_bits: int | None = None
    n_components: int | None = None
    simulated: bool = False
    gain: object = None
    n_retries: int = 3
    retry_wait: float = 0.1
    timeout: object = None
    max_batch: int = 3000
    max_passes: object = None

    def __enter__(self):
        self._validate_params()
        if self.opu is None:
            self._opened = _open(self.n_bits, self.n_components, self.simulated)
        self._exits = ExitStack()
        self._exits.enter_context(self._vendor())
        return self

    def __exit__(self, *args):
        self._exits.close()
        if self.__dict__.pop("_opened", None) is not None:
            # What is opened next may be another machine.
            for name in ("_layout", "gain_"):
                self.__dict__.pop(name, None)

    @property
    def max_bits(self):
        """Largest k: what the mirrors are laid out for."""
        if self._has_layout():
            return self._layout[1]
        return self._most_bits() if self.n_bits is None else self.n_bits

    @property
    def max_components(self):
        """Largest D: what the vendor's object reads."""
        return int(self._vendor().n_components)

    @property
    def count(self):
        """Intensity of one count, 0 where counts are not whole numbers."""
        whole = np.issubdtype(self._dtype(), np.integer)
        return 1 / self.gain_ if whole and hasattr(self, "gain_") else float(whole)

    @property
    def full_scale(self):
        """Intensity at which the camera saturates."""
        if not np.issubdtype(self._dtype(), np.integer):
            return None
        return np.iinfo(self._dtype()).max * self.count

    def _vendor(self):
        opu = self.__dict__.get("_opened") if self.opu is None else self.opu
        if opu is None:
            raise self._fault(
                "is not open: use it inside `with LightOnOPU(...) as opu:`, or give it an OPU of "
                "lightonml, LightOnOPU(OPU(n_components=...))."
            )
        return opu

    def _fault(self, what):
        message = f"LightOnOPU at pass {self.n_passes + 1} {what}"
        return DeviceFault(message, device="LightOnOPU", n_passes=self.n_passes)

    def _dtype(self):
        return np.dtype(self._vendor().device.output_dtype)

    def _most_bits(self):
        return int(self._vendor().max_n_features)

    def _has_layout(self):
        return self.__dict__.get("_layout") is not None and self._layout[0] is self._vendor()

    def check_size(self, n_bits, n_components, n_free=0):
        """Raise if the machine is closed or too small.

        Parameters
        ----------
        n_bits, n_components : int
            k and D.
        n_free : int, default=0
            How many of the components will not be asked of the device.
        """
        self._validate_params()
        if not self._vendor().device.active:
            raise self._fault(
                "is closed: call open() of the OPU that it was given, or use `with opu:` around "
                "what is to be done."
            )
        self._check_layout()
        super().check_size(n_bits, n_components, n_free)

    def check_passes(self, n_codes):
        """Raise if the budget does not allow so many codes and those for the gain.

        Parameters
        ----------
        n_codes : int
        """
        is_known = self.gain is not None or hasattr(self, "gain_")
        super().check_passes(n_codes + (0 if is_known else _GAIN_CODES))

    def project(self, codes, n_components):
        """Project codes; see :meth:`OPUDevice.project`.

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_samples, n_bits)
            Zeros and ones.
        n_components : int
            D.
        """
        codes = check_codes(codes)
        self.check_size(codes.shape[1], n_components)
        with self._meter.lock:
            if not hasattr(self, "gain_"):
                given = self.gain is not None
                self.gain_ = float(self.gain) if given else self._measure_gain(codes.shape[1])
        return super().project(codes, n_components)

    def _project(self, codes, n_components):
        return self._counts(codes, n_components) / np.float32(self.gain_)

    def _counts(self, codes, n_components):
        """Return what the camera says of the first components, (n, D)."""
        if not self._has_layout():
            self._lay_out(codes.shape[1])
        shown = np.zeros((len(codes), self.max_bits), dtype=np.uint8)
        shown[:, : codes.shape[1]] = codes
        counts = np.asarray(self._vendor().transform(shown))
        if counts.shape != (len(codes), self.max_components):
            return counts  # which will be refused, and tried again
        return counts[:, :n_components].astype(np.float32)

    def _lay_out(self, n_bits):
        """Fix mirrors and pixels, for life."""
        opu, n_bits = self._vendor(), self._width(n_bits)
        opu.fit1d(n_features=n_bits)
        # The vendor makes a new runner for each fit: by it one knows whether this is the last.
        self._layout = (opu, n_bits, getattr(opu, "_runner", None), int(opu.n_components))

    def _width(self, n_bits):
        """Bits that the mirrors are laid out for, if codes of ``n_bits`` come first."""
        if self._has_layout() or self.n_bits is not None:
            return self.max_bits
        return self._most_bits() if _is_simulated(self._vendor()) else n_bits

    def _check_layout(self):
        if not self._has_layout():
            return
        opu, _, runner, n_components = self._layout
        if getattr(opu, "_runner", None) is runner and int(opu.n_components) == n_components:
            return
        raise self._fault(
            "has another matrix now: the OPU behind it was fitted or resized by somebody else. "
            "Estimators fitted so far are void: make a new LightOnOPU and fit them again."
        )

    def _measure_gain(self, n_bits):
        """Mean count of random codes divided by their mean popcount."""
        shape = (_GAIN_CODES, self._width(n_bits))
        codes = np.random.default_rng(0).integers(0, 2, size=shape, dtype=np.uint8)
        codes[:, 0] = 1  # none of them dark
        width = self.max_components
        counts = acquire(self, lambda shown, rows: self._counts(shown, width), codes, width)
        self._diagnose(counts)
        return float(counts.mean(dtype=float) / codes.sum(axis=1).mean())

    def _diagnose(self, counts):
        if self.full_scale is None:
            return
        saturated = np.mean(counts >= self.full_scale)
        if saturated > _MOST_SATURATED:
            warnings.warn(
                f"The camera is saturated: {saturated:.1%} of the pixels of random codes read "
                "full scale. Use a shorter exposure_us of the OPU, or fewer bits per code.",
                CameraWarning,
                stacklevel=4,
            )


def _is_simulated(opu):
    return type(opu.device).__name__ == "SimulatedOpuDevice"


def _open(n_bits, n_components, simulated):
    """Make the vendor's object, not yet active."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is old, and warns of what it uses
            from lightonml.opu import OPU
    except ImportError as error:
        raise ImportError(
            "LightOnOPU needs lightonml to open a machine: pip install --no-deps "
            "lightonml==1.4.3 && pip install numexpr attrs requests 'setuptools<82'."
        ) from error
    settings = {} if n_components is None else {"n_components": n_components}
    if n_bits is not None and simulated:
        settings["max_n_features"] = n_bits
    return OPU(simulated=simulated, open_at_init=False, **settings)
