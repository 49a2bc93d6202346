"""Frames from a device that can fail: in turn, in batches, looked at, and tried again."""

import numpy as np
from sklearn.utils import gen_batches

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


class BadFrames(Exception):  # noqa: N818 - never seen outside this module but as a cause
    """What came back is not what was asked for."""


def acquire(device, ask, codes, n_columns, *, is_lit=None):
    """Return the frames of codes, shape (n, n_columns).

    Parameters
    ----------
    device : OPUDevice
        Whose limits, budget and patience hold, and whose passes are counted.
    ask : callable
        From a slice of the codes to their frames.
    codes : ndarray of shape (n, k)
    n_columns : int
        Pixels asked for.
    is_lit : bool or None, default=None
        Whether every frame has light; None: those of codes with a one.

    Raises
    ------
    PassBudgetError
        If the budget is too small for these codes. None of them is sent.
    DeviceFault
        If the device fails more than ``n_retries`` times in a row.
    """
    with device._meter.lock as lock:
        device._check_budget(len(codes))
        if not len(codes):
            return ask(slice(0, 0))
        parts = []
        for rows in gen_batches(len(codes), device.max_batch or len(codes)):

            def one_batch(rows=rows):
                frames = lock.call(lambda: ask(rows), device.timeout)
                return check_frames(device, frames, codes[rows], n_columns, is_lit)

            parts.append(_persist(device, one_batch, parts, rows.start, len(codes)))
            device._meter.add(rows.stop - rows.start)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _persist(device, one_batch, parts, n_done, n_codes):
    """Return the frames of one batch, after as many attempts as the device allows."""
    for attempt in range(device.n_retries + 1):
        if attempt:
            device._sleep(device.retry_wait * 2 ** (attempt - 1))
        try:
            return one_batch()
        except _NO_FAULTS:
            raise
        except (BadFrames, *device.fault_types) as error:
            fault = error
    if isinstance(fault, DeviceFault):  # of the device inside this one: it has said it all
        device._meter.add(0 if fault.partial is None else len(fault.partial))
        fault.partial = _stack([*parts, fault.partial])
        raise fault
    name, kind = type(device).__name__, type(fault).__name__
    reason = str(fault) if isinstance(fault, BadFrames) else f"{kind}: {fault}"
    attempts = f", {device.n_retries + 1} times in a row" if device.n_retries else ""
    raise DeviceFault(
        f"{name} failed at pass {device.n_passes + 1} (code {n_done + 1} of the {n_codes} of "
        f"this call){attempts}: {reason}. The frames of the {n_done} codes before are in the "
        "attribute `partial` of this error.",
        device=name,
        n_passes=device.n_passes,
        partial=_stack(parts),
    ) from fault


def _stack(parts):
    parts = [part for part in parts if part is not None]
    return np.concatenate(parts) if parts else None


def check_frames(device, frames, codes, n_columns, is_lit=None):
    """Return frames as an array, or raise ``BadFrames`` saying what is wrong with them."""
    frames = np.asarray(frames)
    if frames.shape != (len(codes), n_columns):
        raise BadFrames(
            f"frames of shape {frames.shape} came back where ({len(codes)}, {n_columns}) was "
            "asked for (frames were dropped, or the region of interest is another)"
        )
    if frames.dtype.kind not in "fiub":
        raise BadFrames(f"frames of type {frames.dtype} came back, which are not intensities")
    if frames.dtype.kind != "f":
        frames = frames.astype(np.float32)
    if device.checks_frames and frames.size:
        _check_values(device, frames, codes, is_lit)
    return frames


def _check_values(device, frames, codes, is_lit):
    lowest, highest = frames.min(axis=1), frames.max(axis=1)
    if not (lowest.min() >= 0 and np.isfinite(highest.max())):  # not: NaN compares as False
        raise BadFrames("intensities that are negative or not finite came back")
    popcounts = codes.sum(axis=1, dtype=np.int64)
    lit = np.ones(len(codes), dtype=bool) if is_lit else popcounts > 0
    n_pixels = frames.shape[1]
    _refuse(lit & (highest == 0) & _must_be_seen(device, popcounts, n_pixels), "are all zero")
    constant = lit & (lowest == highest) & (highest > 0)
    _refuse(constant & (n_pixels >= _MIN_PIXELS), "have one value in all pixels")
    if device.full_scale is not None:
        full = np.mean(frames >= device.full_scale, axis=1)
        _refuse(full > _MOST_SATURATED, "are saturated in most pixels")
    if n_pixels >= _MIN_REPEATED and len(codes) > 1:
        again = (frames[1:] == frames[:-1]).all(axis=1) & (codes[1:] != codes[:-1]).any(axis=1)
        _refuse(again & (highest[1:] > 0), "repeat the frame before, of another code")


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
