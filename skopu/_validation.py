"""The one door to scikit-learn's private helpers, so that a rename is mended here."""

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_weights",
    "fit_context",
    "validate_data",
]


def check_weights(sample_weight, X):
    """Return float64 weights of shape (n,), ones if None; refuse negative or all-zero ones."""
    return _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
