"""A device's quadratic forms and its matrix, from its intensities alone."""

import warnings
from math import ceil
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_scalar, gen_batches
from tqdm.auto import tqdm

from skopu._core.interrupts import Interrupts
from skopu.devices.array_file import check_place, read_arrays, write_arrays
from skopu.devices.calibrated import CalibratedOPU
from skopu.devices.masks import MAX_BITS, coefficients, make_masks, mask_labels
from skopu.exceptions import RecordingWarning
from skopu.forms.calibrated import IntensityForms

_BATCH = 1024  # masks shown in one call of the device
_CHUNK_VALUES = 2**22  # of a temporary array
_SETTINGS = ("n_bits", "n_components", "noise", "unexplained", "random_state")
_TINY = np.finfo(float).tiny
_MOST_PASSES = 2.0**53
_MUCH = 2.0  # times the unexplained variance that was asked for, which is told


def calibration_passes(n_bits, *, noise=0.03, unexplained=1e-3):
    r"""Return how many passes a calibration takes, which does not depend on the device.

    A round shows M masks, a power of 4 (256 for 8 to 17 bits, 1024 up to 31, 4096 up to 65, 16384
    up to 127, 65536 up to 257), and gives each of the P = 1 + k(k+1)/2 coefficients of a form
    with variance :math:`\sigma^2 / M`. Over random codes an intensity has mean k/2 and variance
    :math:`k(3k+5)/16`, so that N rounds leave the share

    .. math:: \frac{4 k}{3 k + 5} \, \frac{P}{M N} \, \Big(\frac{\sigma}{k/2}\Big)^2

    of its variance unexplained.

    Parameters
    ----------
    n_bits : int
        k, at most 2047.
    noise : float, default=0.03
        :math:`\sigma / (k/2)`: standard deviation of an answer, relative to the mean intensity
        of codes of which half the bits are 1. The default is that of ``Camera()``.
    unexplained : float, default=1e-3
        Largest share of an intensity's variance over codes that is to be left unexplained.

    Returns
    -------
    n_passes : int

    Examples
    --------
    >>> from skopu.devices import calibration_passes
    >>> calibration_passes(64), calibration_passes(64, noise=0.1)
    (4096, 28672)
    """
    check_scalar(n_bits, "n_bits", Integral, min_val=1, max_val=MAX_BITS)
    check_scalar(noise, "noise", Real, min_val=0)
    check_scalar(unexplained, "unexplained", Real, min_val=0, include_boundaries="neither")
    n_masks = mask_labels(n_bits)[1]
    n_coefficients = 1 + n_bits * (n_bits + 1) // 2
    share = 4 * n_bits / (3 * n_bits + 5) * n_coefficients / n_masks * noise * noise
    n_rounds = share / unexplained
    if not n_rounds * n_masks < _MOST_PASSES:
        raise ValueError(
            f"noise={noise!r} with unexplained={unexplained!r} takes more passes than can be made: "
            "give the noise of an answer relative to a mean intensity, such as 0.03."
        )
    return n_masks * max(1, ceil(n_rounds))


def calibrate(
    opu,
    n_bits,
    n_components,
    *,
    noise=0.03,
    unexplained=1e-3,
    path=None,
    random_state=0,
    verbose=0,
):
    """Measure the quadratic form of each component of a device by its answers to masks.

    Parameters
    ----------
    opu : OPUDevice
        The device, used itself and not a clone. Any device that only answers.
    n_bits, n_components : int
        k and D that will be used. The answers take 4 bytes for each pass and component.
    noise, unexplained : float, default=0.03 and 1e-3
        What decides the number of passes, see :func:`calibration_passes`.
    path : str, path-like or None, default=None
        File for the answers (``.npz``). It is written when the passes end, also when Ctrl-C or
        an error ends them; if it is there already, its calibration goes on. Whether it can be
        written is found out before the first pass. None: in memory only.
    random_state : int, default=0
        Seed of the order of the masks.
    verbose : int, default=0
        Above 0: a progress bar.

    Returns
    -------
    device : CalibratedOPU
        ``opu`` with ``matrix``, and with the means of its intensities in closed form.

    Raises
    ------
    DeviceLimitError
        If the device is too small, before any pass.
    OSError
        If the file cannot be written, before any pass.
    ValueError
        If the file is that of another calibration, or of none.

    Warns
    -----
    ConvergenceWarning
        If answers were noisier than ``noise`` said.
    RecordingWarning
        If, after the passes, the file could not be written. The device is returned all the same.

    Notes
    -----
    Whatever ends the passes, what was measured is in the attribute ``calibration`` of the error, a
    :class:`Calibration` of which ``run(opu)`` goes on.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import Camera, SimulatedOPU, calibrate
    >>> machine = SimulatedOPU(camera=Camera())
    >>> device = calibrate(machine, n_bits=16, n_components=50)
    >>> machine.n_passes, device.known_matrix
    (256, True)
    >>> codes = np.random.default_rng(0).integers(0, 2, size=(300, 16))
    >>> expected = SimulatedOPU().project(codes, 50)
    >>> error = device.expected_intensities(codes, 50) - expected
    >>> bool(np.var(error) / np.var(expected) < 2e-3)
    True
    """
    progress = Calibration(
        n_bits, n_components, noise=noise, unexplained=unexplained, random_state=random_state
    )
    opu.check_size(n_bits, n_components)
    if path is not None:
        if Path(path).exists():
            progress = _continue(progress, path)
        check_place(path)
    with Interrupts(one_at_a_time=True):
        try:
            device = progress.run(opu, verbose)
            if path is not None:
                _save_or_tell(progress, path)
        except BaseException as error:
            _hand_over(progress, path, error)
            raise
    return device


def _hand_over(progress, path, error):
    """Keep what was measured, although ``error`` ends the passes."""
    error.calibration = progress
    error.add_note(
        f"calibrate: {progress.n_done} of {progress.n_passes} passes were made. They are kept in "
        "the attribute `calibration` of this error; its run(opu) goes on."
    )
    if path is not None:
        _save_or_tell(progress, path)


def _save_or_tell(progress, path):
    try:
        progress.save(path)
    except OSError as error:
        warnings.warn(
            f"the answers of the calibration could not be written to {str(path)!r} ({error}).",
            RecordingWarning,
            stacklevel=3,
        )


def _continue(wanted, path):
    """Return the calibration in the file, after checking that it is the one wanted."""
    found = Calibration.load(path)
    for name in _SETTINGS:
        if getattr(found, name) != getattr(wanted, name):
            raise ValueError(
                f"{str(path)!r} is a calibration with {name}={getattr(found, name)!r}, not "
                f"{getattr(wanted, name)!r}: use that, or another path."
            )
    return found


class Calibration:
    """A calibration that can be cut and go on.

    Parameters
    ----------
    n_bits, n_components : int
        k and D.
    noise, unexplained : float, default=0.03 and 1e-3
        What decides the number of passes, see :func:`calibration_passes`.
    random_state : int, default=0
        Seed of the order of the masks.

    Attributes
    ----------
    n_passes : int
        Passes that it takes in all, known before the first.
    n_done : int
        Passes made so far.

    See Also
    --------
    calibrate : The same in one call.

    Examples
    --------
    >>> from skopu.devices import Calibration, SimulatedOPU
    >>> calibration = Calibration(n_bits=8, n_components=20)
    >>> calibration.n_passes, calibration.n_done
    (256, 0)
    >>> device = calibration.run(SimulatedOPU())
    >>> calibration.n_done
    256
    """

    def __init__(self, n_bits, n_components, *, noise=0.03, unexplained=1e-3, random_state=0):
        check_scalar(n_components, "n_components", Integral, min_val=1)
        check_scalar(random_state, "random_state", Integral, min_val=0)
        self.n_passes = calibration_passes(n_bits, noise=noise, unexplained=unexplained)
        self.n_bits, self.n_components = int(n_bits), int(n_components)
        self.noise, self.unexplained = float(noise), float(unexplained)
        self.random_state = int(random_state)
        self._labels, n_masks = mask_labels(self.n_bits)
        self._flips = self._rng(0).integers(2, size=self.n_bits, dtype=np.uint8)
        # Answers summed over rounds, in the order of the masks' numbers.
        self._sums = np.zeros((n_masks, self.n_components), dtype=np.float32)
        # Passes made, and the rows that the last of them have set.
        self._last = 0, np.empty(0, dtype=np.int64), self._sums[:0]

    @property
    def n_done(self):
        """Passes made so far."""
        return self._last[0]

    def run(self, opu, verbose=0):
        """Make the passes that are left and return the device with its forms.

        After Ctrl-C or an error, call it again, with the same device: it goes on.

        Parameters
        ----------
        opu : OPUDevice
        verbose : int, default=0
            Above 0: a progress bar.

        Returns
        -------
        device : CalibratedOPU

        Raises
        ------
        DeviceLimitError
            If the device is too small, before any pass.
        """
        opu.check_size(self.n_bits, self.n_components)
        self._settle()
        with tqdm(
            total=self.n_passes,
            initial=self.n_done,
            disable=not verbose,
            desc="calibrating",
            unit="pass",
        ) as bar:
            while self.n_done < self.n_passes:
                numbers = self._next()
                masks = make_masks(numbers, self._labels, self._flips)
                self._count(numbers, opu.project(masks, self.n_components))
                bar.update(len(numbers))
        return CalibratedOPU(opu, self._forms())

    def save(self, path):
        """Write settings, answers and progress to a file, in the place of what it held.

        Parameters
        ----------
        path : str or path-like
            Should end in ``.npz``.
        """
        self._settle()
        settings = {name: getattr(self, name) for name in _SETTINGS}
        write_arrays(path, sums=self._sums, n_done=self.n_done, **settings)

    @classmethod
    def load(cls, path):
        """Return the calibration that a file holds.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        calibration : Calibration

        Raises
        ------
        ValueError
            If the file is not one that ``save`` wrote, or its numbers cannot be.
        """
        try:
            fields = read_arrays(path, (*_SETTINGS, "sums", "n_done"))
            settings = {name: fields[name].item() for name in _SETTINGS}
            if fields["sums"].shape != _shape(settings["n_bits"], settings["n_components"]):
                raise ValueError(f"its sums have shape {fields['sums'].shape}")
            calibration = cls(**settings)
            calibration._take_up(fields["sums"], fields["n_done"].item())
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{str(path)!r} is no calibration that can go on: {error}. Use an unchanged copy "
                "of the file, or another path to begin again."
            ) from error
        return calibration

    def _take_up(self, sums, n_done):
        """Go on from sums of answers, after a look at whether they can be."""
        n_masks = len(self._sums)
        check_scalar(n_done, "n_done", Integral, min_val=0, max_val=self.n_passes)
        if n_done % min(_BATCH, n_masks):
            raise ValueError(f"n_done={n_done} is not a number of batches")
        if sums.dtype != self._sums.dtype:
            raise ValueError(f"its sums are {sums.dtype}")
        if not np.isfinite(sums).all():
            raise ValueError("some of its sums are not finite")
        if n_done < n_masks and sums[self._order(0)[n_done:]].any():
            raise ValueError(f"it holds answers to more than n_done={n_done} masks")
        self._sums, self._last = sums, (n_done, *self._last[1:])

    def _count(self, numbers, answers):
        """Add answers to masks that each occur once among them.

        Ctrl-C can come between any two steps. One assignment says that the passes were made and
        what the rows are to be; setting the rows can then be repeated, adding to them could not.
        """
        self._last = self.n_done + len(numbers), numbers, self._sums[numbers] + answers
        self._settle()

    def _settle(self):
        _, numbers, rows = self._last
        self._sums[numbers] = rows

    def _next(self):
        """Numbers of the masks to show next: in each round every one, in a new order."""
        # Without an order that means something, a drift of the light is noise like any other.
        n_masks = len(self._sums)
        n_rounds, start = divmod(self.n_done, n_masks)
        return self._order(n_rounds)[start : start + _BATCH]

    def _order(self, n_rounds):
        """Numbers of the masks in the order of a round."""
        return self._rng(1 + n_rounds).permutation(len(self._sums))

    def _rng(self, stream):
        return np.random.default_rng([self.random_state, stream])

    def _forms(self):
        """Return the forms, after comparing their errors with what was asked for."""
        n_masks = len(self._sums)
        n_rounds = self.n_passes // n_masks
        n_coefficients = 1 + self.n_bits * (self.n_bits + 1) // 2
        found = np.empty((n_coefficients, self.n_components), dtype=np.float32)
        error = variance = 0.0
        for chunk in gen_batches(self.n_components, max(1, _CHUNK_VALUES // n_masks)):
            answers = self._sums[:, chunk] / np.float32(n_rounds)
            exact, noise = coefficients(answers, self._labels, self._flips)
            found[:, chunk] = exact
            error += n_coefficients * noise.sum()
            variance += np.square(exact[1:]).sum()
        unexplained = np.inf if error >= variance > 0 else error / max(variance - error, _TINY)
        if unexplained > _MUCH * self.unexplained:
            _tell(unexplained, self)
        return IntensityForms(found, self.n_bits, float(unexplained))


def _shape(n_bits, n_components):
    """Shape of the sums of a calibration, checked before anything is made of it."""
    calibration_passes(n_bits)
    return mask_labels(n_bits)[1], n_components


def _tell(unexplained, asked):
    warnings.warn(
        f"The calibration leaves {unexplained:.2g} of the intensities' variance unexplained, more "
        f"than the unexplained={asked.unexplained:g} that was asked for: answers were noisier "
        f"than noise={asked.noise:g} says, or the device is no quadratic form of the bits, as "
        "when it saturates, or it changed on the way.",
        ConvergenceWarning,
        stacklevel=4,
    )
