"""The one door to scikit-learn's private helpers, so that a rename is mended here."""

from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import TypeVar, cast

import numpy as np
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as openmp_threads
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in as check_names
from sklearn.utils.validation import _check_sample_weight
from sklearn.utils.validation import validate_data as _validate_data

from skopu._core.places import is_tensor, place_of, to_host
from skopu._core.process_state import KeptState

REAL = (np.float64, np.float32)  # dtypes of rows that are kept; others become the first

__all__ = [
    "REAL",
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_layer_sizes",
    "check_names",
    "check_weights",
    "fit_context",
    "openmp_threads",
    "validate_data",
    "validate_params",
]

Method = TypeVar("Method", bound=Callable)


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Method], Method]:
    """Return scikit-learn's decorator of methods that fit, and leave the process as it was.

    Its own configuration is part of that: cut at the wrong moment, it would check no parameters
    any more, of any estimator.
    """

    def decorate(fit):
        checked = _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)(fit)

        @wraps(fit)
        def fit_keeping_state(*args, **kwargs):
            try:
                with KeptState():
                    return checked(*args, **kwargs)
            except Exception as error:
                # numpy makes a ValueError of one that comes while it reads a buffer.
                if isinstance(error.__cause__, KeyboardInterrupt):
                    raise error.__cause__ from error
                raise

        return cast("Method", fit_keeping_state)

    return decorate


def validate_data(estimator, /, *arrays, takes_tensors=False, **options):
    """Validate as scikit-learn does, and leave one entry for each cell of a sparse X.

    Several entries of one cell count as their sum, which is not seen where values are looked at
    one by one: whether all are 0 or 1, how many lie above a threshold. A torch tensor becomes an
    array, or stays what it is if it is X and the estimator takes tensors.
    """
    if is_tensor(arrays[0]) and takes_tensors:
        return _validate_tensor(estimator, *arrays, **options)
    checked = _validate_data(estimator, *map(to_host, arrays), **options)
    if isinstance(checked, tuple):
        return _one_entry_a_cell(checked[0]), *checked[1:]
    return _one_entry_a_cell(checked)


def _validate_tensor(estimator, X, *y, **options):
    """Validate a tensor where it is; y becomes an array."""
    if X.is_floating_point() and not place_of(X).xp.isfinite(X).all():
        raise ValueError("Input X contains NaN or infinity.")
    checked = _validate_data(estimator, _bytes_like(X), *map(to_host, y), **options)
    return (X, *checked[1:]) if y else X


def _bytes_like(X):
    """Return an array of the shape of a tensor, without memory, to be looked at in its place."""
    return np.broadcast_to(np.uint8(0), tuple(X.shape))


def _one_entry_a_cell(X):
    if not issparse(X) or X.has_canonical_format:
        return X
    X = X.copy()  # it may be the user's own
    X.sum_duplicates()
    return X


def validate_params(estimator):
    """Check the types and ranges of an estimator's parameters, as its ``fit`` would."""
    estimator._validate_params()


def check_weights(sample_weight, X):
    """Return float64 weights of shape (n,), ones if None; refuse negative or all-zero ones."""
    X = _bytes_like(X) if is_tensor(X) else X
    weights = _check_sample_weight(
        to_host(sample_weight), X, dtype="float64", ensure_non_negative=True
    )
    if not weights.any():  # scikit-learn refuses these itself from 1.8 on
        raise ValueError("Sample weights must contain at least one non-zero number.")
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise ValueError(
                "sample_weight adds up to more than a float can hold: divide it by its maximum."
            )
    return weights


def check_layer_sizes(sizes, min_layers=0):
    """Return the sizes of hidden layers, an int or a sequence of int, as a list of int."""
    found = np.atleast_1d(sizes)
    whole = found.ndim == 1 and all(
        isinstance(size, Integral) and size >= 1 for size in found.tolist()
    )
    if not whole or len(found) < min_layers:
        none = " or () for no hidden layer" if min_layers == 0 else ""
        raise ValueError(
            f"hidden_layer_sizes={sizes!r} must hold whole numbers above 0, such as (128,){none}."
        )
    return [int(size) for size in found]
