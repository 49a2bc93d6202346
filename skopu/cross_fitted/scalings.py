"""In which scalings encoders see the inputs: each by a scaler, one with columns weighed."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from skopu._core.scaling import apply_scaler, fit_scaler
from skopu.binarizers.relevance import MIN_ROWS, check_dense, column_weights
from skopu.cross_fitted.trees import KINDS, grow

RELEVANCE = "relevance"
_FOREST = "small leaves"  # the kind of trees that says it


class Scaling(NamedTuple):
    """A scaling of the inputs.

    Attributes
    ----------
    name : {"standard", "quantile", "relevance"}
    scaler : int
        Which of the scalers it takes; "relevance" shares that of "standard".
    X : {ndarray, CSR matrix} of shape (n, d)
        All rows, scaled.
    column_weights : ndarray of shape (K, d) or None
        What the columns are multiplied by for the encoders of each fold; None: nothing.
    """

    name: str
    scaler: int
    X: object
    column_weights: np.ndarray | None = None


def names_of(scaler, X):
    """Return the names of the scalings that a parameter stands for, on rows X."""
    if scaler == "both":
        return ["standard", "quantile"]
    if scaler != "auto":
        if scaler == RELEVANCE:
            check_dense(X)
        return [scaler]
    if issparse(X):
        return ["standard"]
    return ["standard", "quantile", *([RELEVANCE] if X.shape[0] >= MIN_ROWS else [])]


def fit_scalers(names, X, weights, seed):
    """Return the scalers that scalings of these names take, fitted, and the rows by each."""
    kinds = dict.fromkeys("standard" if name == RELEVANCE else name for name in names)
    scalers = [fit_scaler(kind, X, weights, seed) for kind in kinds]
    return scalers, [apply_scaler(scaler, X) for scaler in scalers]


def make_scalings(names, copies, targets, weights, folds, bits, seed):
    """Return the ``Scaling`` of each name.

    Parameters
    ----------
    names : list of str
    copies : list of {ndarray, CSR matrix} of shape (n, d)
        The rows by each scaler, in the order of ``fit_scalers``.
    targets : ndarray of shape (n, q')
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,) of int
    bits : dict of str to list
        Of trees that are grown, by kind and fold: their forest is taken, if it is there.
    seed : int
        Of a forest that is not.
    """
    plain = [name for name in names if name != RELEVANCE]
    scalings = [Scaling(name, number, copies[number]) for number, name in enumerate(plain)]
    if RELEVANCE in names:
        kinds = {_FOREST: KINDS[_FOREST]}
        if _FOREST not in bits:
            bits = grow(copies[0], targets, weights, folds, kinds, seed)
        n_folds, n_columns = folds.max() + 1, copies[0].shape[1]
        own = [column_weights(one.forest.feature_importances_) for one in bits.get(_FOREST, ())]
        own = np.array(own) if own else np.ones((n_folds, n_columns))
        scalings.append(Scaling(RELEVANCE, 0, copies[0], own))
    return scalings
