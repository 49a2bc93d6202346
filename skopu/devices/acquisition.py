"""Frames from a device that can fail: in turn, in batches, looked at, and tried again."""

from contextlib import contextmanager

import numpy as np
from sklearn.utils import gen_batches

from skopu._core.places import is_tensor
from skopu.exceptions import DeviceFault, DeviceLimitError, NotBinaryError, PassBudgetError

# Of the caller or of the program, whatever the device calls a fault.
_NO_FAULTS = (
    NotImplementedError,
    MemoryError,
    DeviceLimitError,
    NotBinaryError,
    PassBudgetError,
)
_NEVER = 1e-9  # what is less probable than this is taken for a fault
_MIN_PIXELS = 8  # a lit frame of so many equal pixels is no speckle
_MIN_REPEATED = 32  # pixels that agree with the frame before, although the code is another
_MOST_SATURATED = 0.5  # share of a frame's pixels at full scale
_ROUNDING = 1e-6  # of float32, relative


class BadFrames(Exception):  # noqa: N818 - never seen outside this module but as a cause
    """What came back is not what was asked for."""


def acquire(device, ask, codes, n_columns, *, has_reference=False):
    """Return the frames of codes, shape (n, n_columns), in memory of their own.

    Parameters
    ----------
    device : OPUDevice
        Whose limits, budget and patience hold, and whose passes are counted.
    ask : callable
        From codes, a copy of some rows, and the slice of these rows to their frames.
    codes : ndarray of shape (n, k)
    n_columns : int
        Pixels asked for.
    has_reference : bool, default=False
        Whether a second beam lights every frame, that of a code of zeros too.

    Raises
    ------
    PassBudgetError
        If the budget is too small for these codes. None of them is sent.
    DeviceFault
        If the device fails more than ``n_retries`` times in a row.
    """
    with device._meter.lock:
        device._check_budget(len(codes))
        return _Call(device, ask, codes, n_columns, has_reference).run()


class _Call:
    """Codes on their way through a device, batch by batch, and the frames so far."""

    def __init__(self, device, ask, codes, n_columns, has_reference):
        self.device, self.ask, self.codes = device, ask, codes
        self.n_columns, self.has_reference = n_columns, has_reference
        self.frames, self.n_done = np.empty((0, n_columns), dtype=np.float32), 0

    def run(self):
        """Return the frames of all codes."""
        size = self.device.max_batch or max(1, len(self.codes))
        with _taken_back(self.device):
            for rows in gen_batches(len(self.codes), size):
                self._keep(rows, self._persist(rows))
        return self.frames

    def _keep(self, rows, frames):
        if len(frames) == len(self.codes):
            self.frames = frames
        else:
            if not self.n_done:
                self.frames = np.empty((len(self.codes), self.n_columns), dtype=frames.dtype)
            self.frames[rows] = frames
        self.n_done = rows.stop
        meter = self.device._meter
        meter.add(len(frames))
        if self.device.checks_frames:
            meter.last = self.codes[rows.stop - 1].copy(), frames[-1].copy()

    def _attempt(self, rows):
        # Both ways a copy. A driver may change what it is given, in place, and the codes are the
        # caller's, to be sent again or written down; it may answer with a view of the buffer that
        # the next frames go to, and its dtype may be that of another machine.
        device, shown = self.device, self.codes[rows]
        shown = shown.clone() if is_tensor(shown) else shown.copy()
        with _taken_back(device) as take_back:
            answer = device._meter.calls.make(
                lambda: self.ask(shown, rows), device.timeout, take_back
            )
            frames = _own(answer, (len(shown), self.n_columns), device)
            if device.checks_frames and frames.size:
                _check_values(device, frames, self.codes[rows], self.has_reference)
        return frames

    def _persist(self, rows):
        """Return the frames of one batch, after as many attempts as the device allows."""
        device = self.device
        for attempt in range(device.n_retries + 1):
            if attempt:
                device._sleep(device.retry_wait * 2 ** (attempt - 1))
            try:
                return self._attempt(rows)
            except _NO_FAULTS:
                raise
            except (BadFrames, *device.fault_types) as error:
                fault = error
        if isinstance(fault, DeviceFault):  # of the device inside this one: it has said it all
            device._meter.add(0 if fault.partial is None else len(fault.partial))
            fault.partial = self._so_far(fault.partial)
            raise fault
        raise self._fault(fault) from fault

    def _fault(self, error):
        device = self.device
        name, kind = type(device).__name__, type(error).__name__
        reason = str(error) if isinstance(error, BadFrames) else f"{kind}: {error}"
        attempts = f", {device.n_retries + 1} times in a row" if device.n_retries else ""
        return DeviceFault(
            f"{name} failed at pass {device.n_passes + 1} (code {self.n_done + 1} of the "
            f"{len(self.codes)} of this call){attempts}: {reason}. The frames of the "
            f"{self.n_done} codes before are in the attribute `partial` of this error.",
            device=name,
            n_passes=device.n_passes,
            partial=self._so_far(),
        )

    def _so_far(self, more=None):
        """Return the frames of the codes that were answered, or None."""
        parts = [part for part in (self.frames[: self.n_done], more) if part is not None]
        frames = np.concatenate(parts)
        return frames if len(frames) else None


@contextmanager
def _taken_back(device):
    """Take back, from those who write answers down, what a context that fails has asked."""
    mark = device._mark()

    def take_back():
        device._take_back(mark)

    try:
        yield take_back
    except BaseException:
        take_back()
        raise


def _own(answer, shape, device):
    """Return an answer as native floats, in memory that nobody else writes to."""
    frames = answer if is_tensor(answer) else np.asarray(answer)
    if frames.shape != shape:
        raise BadFrames(
            f"frames of shape {frames.shape} came back where {shape} was "
            "asked for (frames were dropped, or the region of interest is another)"
        )
    if is_tensor(frames):
        return frames  # of those who take tensors, and make them anew
    if frames.dtype.kind not in "fiub":
        raise BadFrames(f"frames of type {frames.dtype} came back, which are not intensities")
    is_wide = frames.dtype.kind == "f" and frames.dtype.itemsize > 4
    dtype = np.float64 if is_wide else np.float32
    with np.errstate(over="ignore"):  # an infinity is found by those who look at values
        return np.array(frames, dtype=dtype, order="C", copy=device._is_foreign or None)


def _check_values(device, frames, codes, has_reference):
    lowest, highest = frames.min(axis=1), frames.max(axis=1)
    if not (lowest.min() >= device.floor and np.isfinite(highest.max())):  # not: NaN is False
        raise BadFrames("intensities that are negative or not finite came back")
    popcounts = codes.sum(axis=1, dtype=np.int64)
    lit = (popcounts > 0) | has_reference
    n_pixels = frames.shape[1]
    _refuse(lit & (highest == 0) & _must_be_seen(device, popcounts, n_pixels), "are all zero")
    constant = lit & (lowest == highest) & (highest > 0)
    _refuse(constant & (n_pixels >= _MIN_PIXELS), "have one value in all pixels")
    if device.full_scale is not None:
        # A count times the gain may fall short of it by a rounding error.
        full = np.mean(frames >= (1 - _ROUNDING) * device.full_scale, axis=1)
        _refuse(full > _MOST_SATURATED, "are saturated in most pixels")
    _refuse(_repeats(device._meter.last, frames, codes), "repeat the frame before, of another code")


def _repeats(last, frames, codes):
    """Which frames repeat the one before, pixel by pixel, although the code is another.

    The first is compared with the last of the call before, by the pixels that both have.
    """
    again = np.zeros(len(frames), dtype=bool)
    if frames.shape[1] < _MIN_REPEATED:
        return again
    again[1:] = (frames[1:] == frames[:-1]).all(axis=1) & (codes[1:] != codes[:-1]).any(axis=1)
    if last is not None:
        code, frame = last
        width = min(len(frame), frames.shape[1])
        again[0] = width >= _MIN_REPEATED and (
            np.array_equal(frames[0, :width], frame[:width]) and _differ(codes[0], code)
        )
    if again.any():  # two frames of a few faint pixels may well be the same
        again[again] = np.count_nonzero(frames[again], axis=1) >= _MIN_PIXELS
    return again


def _differ(first, second):
    """Whether two codes are different; bits that one lacks are 0."""
    width = min(len(first), len(second))
    return (first[:width] != second[:width]).any() or first[width:].any() or second[width:].any()


def _must_be_seen(device, popcounts, n_pixels):
    """Whether that no pixel reaches half a count of the camera is next to impossible.

    Intensities are exponentially distributed with the popcount as their mean.
    """
    share = -np.expm1(-device.count / (2 * np.maximum(popcounts, 1)))
    with np.errstate(divide="ignore"):
        return n_pixels * np.log(share) < np.log(_NEVER)


def _refuse(bad, what):
    if bad.any():
        raise BadFrames(
            f"{bad.sum()} of {len(bad)} frames {what} (the first is number "
            f"{np.argmax(bad) + 1}), although their codes are lit"
        )
