"""Errors and warnings that skopu raises beside scikit-learn's own."""


class NotBinaryError(ValueError):
    """Something other than 0 and 1 was offered to a device."""


class DeviceLimitError(ValueError):
    """More bits or more components were asked of a device than it has."""


class DeviceFault(RuntimeError):  # noqa: N818 - a fault is what engineers call it
    """A device did not answer, or not with the frames it was asked for.

    The message names the device and the pass. ``partial`` holds what was answered before, so
    that nothing has to be measured twice.

    Parameters
    ----------
    message : str
    device : str, default=""
        Class of the device.
    n_passes : int, default=0
        Codes that the device had answered in all when it failed.
    partial : ndarray of shape (n_answered, n_columns) or None, default=None
        Frames of the first codes of the call that failed.
    """

    def __init__(self, message, *, device="", n_passes=0, partial=None):
        super().__init__(message)
        self.device, self.n_passes, self.partial = device, n_passes, partial


class NotRecordedError(DeviceFault):
    """A replay was asked for a frame that is not in the recording."""


class PassBudgetError(RuntimeError):
    """A device's budget of passes does not allow the next call; nothing of it was sent."""


class RecordingError(ValueError):
    """A file is not a recording, or has been changed since it was made."""


class RecordingWarning(UserWarning):
    """A recording ends in the middle of a block, as after a crash; the rest of it is used."""


class IncompatiblePartsError(ValueError):
    """Two parts (gradient, objective, device) cannot work together."""


class CameraWarning(UserWarning):
    """A camera saw too much or too little light; the message gives the measured fraction."""


class InterruptedFitWarning(UserWarning):
    """A fit was cut short; the estimator keeps the best state it had reached."""


class RidgeConditionWarning(UserWarning):
    """A ridge system was singular or indefinite; the message says how it was solved."""
