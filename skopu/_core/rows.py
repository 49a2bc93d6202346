"""Rows in canonical order, repeated ones merged.

An encoder trained by stochastic gradients would otherwise depend on the order of the rows, and
a weight of 2 would not equal a row given twice, as scikit-learn's contract for
``sample_weight`` asks.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from skopu._core.chunks import cached_chunks


class Rows(NamedTuple):
    """Rows that a model is trained on: validated, each different one once, in canonical order.

    A public ``fit`` makes them, once, and hands them to everything that trains.

    Attributes
    ----------
    X : ndarray or CSR matrix of shape (m, d)
    Y : ndarray of shape (m, q)
    weights : ndarray of shape (m,), positive
    kept : ndarray of shape (m,)
        Where the rows stood in what the user gave.
    """

    X: object
    Y: np.ndarray
    weights: np.ndarray
    kept: np.ndarray


def merge_repeated_rows(X, Y, weights):
    """Merge rows that agree in X and Y, adding their weights; drop rows of weight zero.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)

    Returns
    -------
    rows : Rows
        m <= n of them, in an order that depends on their set only.

    Notes
    -----
    Rows are compared by 64-bit hashes: at a million rows the chance that any two different
    ones are taken for equal is 3e-8, and the harm is one row left out of a training set.
    """
    kept, merged = distinct_rows(X, Y, weights)
    return Rows(X[kept], Y[kept], merged, kept)


def distinct_rows(X, Y, weights):
    """Return where the first of each set of equal rows stands, and the weights of the sets.

    As ``merge_repeated_rows``, in its order, but nothing is copied.
    """
    positive = np.flatnonzero(weights > 0)
    keys_x, keys_y = _hashes(X), _hashes(Y)
    # By X first: the scale of the targets then leaves the order as it is.
    order = positive[np.lexsort((keys_y[positive], keys_x[positive]))]
    keys = np.column_stack([keys_x[order], keys_y[order]])
    is_first = np.append(True, (keys[1:] != keys[:-1]).any(axis=1))
    kept = order[is_first]
    merged = np.bincount(np.cumsum(is_first) - 1, weights=weights[order])
    return kept, merged


def _hashes(X):
    """One uint64 a row, a sum over the non-zero entries of hashes of (column, value)."""
    n_samples, n_features = X.shape
    salts = np.random.Philox(key=n_features).random_raw(n_features) | np.uint64(1)
    keys = np.zeros(n_samples, dtype=np.uint64)
    for rows in cached_chunks(n_samples, n_features):
        if issparse(X):
            chunk = X[rows].tocoo()
            np.add.at(keys[rows], chunk.row, _mix(chunk.data) * salts[chunk.col])
        else:
            keys[rows] = (_mix(X[rows]) * salts).sum(axis=1, dtype=np.uint64)
    return keys


def _mix(values):
    """Scramble the bits of float64 values (the finaliser of SplitMix64); zero stays zero."""
    # Adding zero turns -0.0 into 0.0, which compares equal but has other bits.
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
