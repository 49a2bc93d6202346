"""The one door to scikit-learn's private helpers, so that a rename is mended here."""

import numpy as np
from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_weights",
    "fit_context",
    "validate_data",
    "validate_params",
]


def validate_params(estimator):
    """Check the types and ranges of an estimator's parameters, as its ``fit`` would."""
    estimator._validate_params()


def check_weights(sample_weight, X):
    """Return float64 weights of shape (n,), ones if None; refuse negative or all-zero ones."""
    weights = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise ValueError(
                "sample_weight adds up to more than a float can hold: divide it by its maximum."
            )
    return weights
