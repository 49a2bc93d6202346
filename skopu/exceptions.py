"""Errors and warnings that skopu raises beside scikit-learn's own."""


class NotBinaryError(ValueError):
    """Something other than 0 and 1 was offered to a device."""


class DeviceLimitError(ValueError):
    """More bits or more components were asked of a device than it has."""


class IncompatiblePartsError(ValueError):
    """Two parts (gradient, objective, device) cannot work together."""


class CameraWarning(UserWarning):
    """A camera saw too much or too little light; the message gives the measured fraction."""


class InterruptedFitWarning(UserWarning):
    """A fit was cut short; the estimator keeps the best state it had reached."""


class RidgeConditionWarning(UserWarning):
    """A ridge system was singular or indefinite; the message says how it was solved."""
