r"""Cross-fitting: folds, ridge paths judged on rows left out, and the choice of what to average.

Shapes: targets (n, q), weights (n,), penalties (a,). A penalty is relative: it is multiplied
by the trace of the centred, weighted kernel, so that one grid suits every data set and every
number of rows.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.linalg import lapack
from sklearn.utils import gen_batches

_CHUNK_ROWS = 2048
_JITTER = 1e-12  # relative, on the kernel of the landmarks


class RidgePath(NamedTuple):
    """Kernel ridge for many penalties: predictions are ``K @ dual[a] + intercept[a]``.

    Attributes
    ----------
    dual : ndarray of shape (a, m, q)
        For the m centres.
    intercept : ndarray of shape (a, q)
    """

    dual: np.ndarray
    intercept: np.ndarray


def ridge_path(kernel, rows, Y, weights, alphas, seed, max_rows=4096, n_centres=2048):
    """Fit kernel ridge with an intercept for every penalty.

    Exactly if there are at most ``max_rows`` rows; otherwise with ``n_centres`` of them, drawn
    at random, as centres (the Nystroem approximation), a chunk of rows at a time.

    Parameters
    ----------
    kernel : callable
        ``kernel(rows, centres)`` gives the kernel between rows, by their numbers.
    rows : ndarray of int
        What to fit to.
    Y : ndarray of shape (n, q)
        Targets of these rows.
    weights : ndarray of shape (n,)
    alphas : sequence of float
    seed : int
    max_rows, n_centres : int

    Returns
    -------
    path : RidgePath
    centres : ndarray of int
        Numbers of the rows that the dual coefficients belong to.
    """
    if len(rows) <= max_rows:
        return _exact_path(kernel(rows, rows), Y, weights, alphas), rows
    chosen = np.random.default_rng(seed).choice(len(rows), n_centres, replace=False)
    centres = rows[np.sort(chosen)]
    return _landmark_path(kernel, rows, centres, Y, weights, alphas), centres


class ShiftedSystem:
    """Solves (A + shift) X = B for a symmetric A and many shifts.

    One reduction to a tridiagonal matrix, A = Q T Q', serves every shift; it takes a quarter of
    the time of the eigendecomposition, and each solution then takes one product with Q.

    Parameters
    ----------
    A : ndarray of shape (m, m)
        It is overwritten.
    B : ndarray of shape (m, q)
    """

    def __init__(self, A, B):
        # Fortran order, or the reduction would work on a copy.
        A = np.asfortranarray(A)
        size, _ = lapack.dsytrd_lwork(len(A), lower=1)
        reduced, self._diagonal, self._beside, self._tau, _ = lapack.dsytrd(
            A, lower=1, lwork=int(size), overwrite_a=1
        )
        # The reflectors leave the first row alone and are stored like those of a QR.
        self._reflectors = reduced[1:, :-1]
        self._rotated = self._rotate(B, "T")

    def solve(self, shift):
        """Return X, shape (m, q)."""
        bands = np.zeros((3, len(self._diagonal)))
        bands[0, 1:], bands[2, :-1] = self._beside, self._beside
        bands[1] = self._diagonal + shift
        return self._rotate(linalg.solve_banded((1, 1), bands, self._rotated), "N")

    def _rotate(self, B, transposed):
        """Return Q B, or Q'B."""
        out = np.array(B, dtype=np.float64, order="F")
        if len(out) > 1:
            side = ("L", transposed, self._reflectors, self._tau)
            _, work, _ = lapack.dormqr(*side, out[1:], lwork=-1)
            out[1:], _, _ = lapack.dormqr(*side, out[1:], lwork=int(work[0]))
        return out


def _exact_path(K, Y, weights, alphas):
    share, root = weights / weights.sum(), np.sqrt(weights)
    row, mean = K @ share, share @ Y
    system = (K - row[:, None] - row + share @ row) * np.outer(root, root)
    total = np.trace(system) or 1.0
    shifted = ShiftedSystem(system, root[:, None] * (Y - mean))
    duals, intercepts = [], []
    for alpha in alphas:
        dual = root[:, None] * shifted.solve(alpha * total)
        dual -= share[:, None] * dual.sum(0)
        duals.append(dual)
        intercepts.append(mean - row @ dual)
    return RidgePath(np.array(duals), np.array(intercepts))


def _landmark_path(kernel, rows, centres, Y, weights, alphas):
    """Ridge on the features ``K(rows, centres) L^-T``, with L L' the kernel of the centres."""
    inner = kernel(centres, centres)
    inner[np.diag_indices_from(inner)] += _JITTER * np.trace(inner)
    factor = linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
    gram, cross, centre, mean = _feature_moments(kernel, rows, centres, factor, Y, weights)
    total = np.trace(gram) or 1.0
    shifted = ShiftedSystem(gram, cross)
    duals, intercepts = [], []
    for alpha in alphas:
        coef = shifted.solve(alpha * total)
        duals.append(linalg.solve_triangular(factor, coef, lower=True, trans="T"))
        intercepts.append(mean - centre @ coef)
    return RidgePath(np.array(duals), np.array(intercepts))


def _feature_moments(kernel, rows, centres, factor, Y, weights):
    """Centred Gram matrix and cross products of the features, and the means of these and of Y."""
    n_centres, total = len(centres), weights.sum()
    gram, cross = np.zeros((n_centres, n_centres)), np.zeros((n_centres, Y.shape[1]))
    sums, mean = np.zeros(n_centres), weights @ Y / total
    for chunk in gen_batches(len(rows), _CHUNK_ROWS):
        values = kernel(rows[chunk], centres)
        Phi = linalg.solve_triangular(factor, values.T, lower=True, check_finite=False).T
        weighted = Phi.T * weights[chunk]
        gram += weighted @ Phi
        cross += weighted @ (Y[chunk] - mean)
        sums += weighted.sum(axis=1)
    return gram - np.outer(sums, sums) / total, cross, sums / total, mean
