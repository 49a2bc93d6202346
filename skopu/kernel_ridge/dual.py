"""Kernel ridge by the exact kernel, solved in the dual as ``KernelRidge`` does."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, pairwise_kernels
from sklearn.utils import gen_batches

from skopu._core.places import HOST, to_host
from skopu._core.rows import distinct_rows
from skopu.kernels import opu_kernel
from skopu.ridge.systems import KernelSystem

KERNEL_NAMES = set(PAIRWISE_KERNEL_FUNCTIONS)
# Up to here the "rbf" kernel is exact if nothing else is asked: on one busy core with alpha given
# 0.5 s, with alpha chosen 10 s and 0.5 GB; twice the rows would take eight times as long.
MAX_EXACT_ROWS = 4096
_ROWS_OF_DIAGONAL = 16  # of a kernel known by its products only: few are computed for nothing


class KernelMap(NamedTuple):
    """From validated rows to their kernel with the rows that were fitted.

    Attributes
    ----------
    kernel : str or callable
        Any that ``pairwise_kernels`` takes, or "precomputed".
    params : dict
        Its parameters.
    X : {ndarray, sparse matrix} of shape (m, d) or None
        The rows that were fitted; None for "precomputed".
    """

    kernel: object
    params: dict
    X: object = None

    @property
    def is_precomputed(self):
        """Whether rows are rows of a kernel matrix already."""
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def place_for(self, X):
        """Return where the kernel is made: by scikit-learn, on the host."""
        return HOST

    def transform(self, X):
        """Return the kernel (n, m)."""
        X = to_host(X)
        return X if self.is_precomputed else self.between(X, self.X)

    def with_itself(self, X):
        """Return the kernel (n,) of each row with itself."""
        X = to_host(X)
        parts = (X[rows] for rows in gen_batches(X.shape[0], _ROWS_OF_DIAGONAL))
        return np.concatenate([np.diag(self.between(part)) for part in parts])

    def between(self, X, Y=None):
        """Return the kernel (n, m) of rows of X with rows of Y, or with each other."""
        if self.kernel is opu_kernel:
            # A function of two rows to pairwise_kernels, which would call it for every pair.
            return opu_kernel(X, Y, **self.params)
        X, Y = _short_indices(X), _short_indices(Y)
        return pairwise_kernels(X, Y, metric=self.kernel, filter_params=True, **self.params)


def _short_indices(X):
    """Return a sparse matrix with 32-bit indices where they do: "laplacian" takes no others."""
    if not issparse(X) or X.indices.dtype == np.int32 or max(X.nnz, *X.shape) >= 2**31:
        return X
    short = (part.astype(np.int32) for part in (X.indices, X.indptr))
    return type(X)((X.data, *short), shape=X.shape)


def fit_dual(kernel_map, X, Y, weights, alpha, fit_intercept):
    """Return the ``Solution``, with a dual coefficient for every row.

    Parameters
    ----------
    kernel_map : KernelMap
    X : {ndarray, sparse matrix} of shape (n, d)
        Rows, or the kernel (n, n) of them for "precomputed".
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
        Rows of weight zero get coefficient zero.
    alpha : Alpha
    fit_intercept : bool
    """
    kept = np.flatnonzero(weights > 0)
    own_weights, is_precomputed = weights[kept], kernel_map.is_precomputed
    if alpha.is_chosen and not is_precomputed:
        # Leaving one row out must leave out its repetitions.
        kept, own_weights = distinct_rows(X, Y, weights)
    if is_precomputed:
        K = X[np.ix_(kept, kept)]
    else:
        # All rows as they stand need no copy.
        K = kernel_map.between(X if len(kept) == len(Y) and (np.diff(kept) == 1).all() else X[kept])
    if K.dtype.kind != "f":
        K = K.astype(np.float64)
    system = KernelSystem(K, Y[kept], own_weights, fit_intercept, overwrite_K=True)
    solution = alpha.solve(system)
    if solution.posterior is not None:
        solution.posterior.scatter(kept, len(Y))
    dual = np.zeros(Y.shape)
    dual[kept] = solution.readout.coef
    return solution._replace(readout=solution.readout._replace(coef=dual))
