r"""Kernel ridge whose alphas are judged on rows left out; approximately where rows are many.

Here an alpha is relative: it is multiplied by the trace of the centred, weighted kernel, so that
one grid suits every data set and every number of rows.

An alpha takes a Cholesky factorisation. Few are asked for, since the error is a smooth function
of log alpha; for many of them :func:`skopu.ridge.solvers.solve_path` has one reduction to a
tridiagonal matrix, which runs at the speed of the memory.
"""

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

from skopu._core.chunks import row_chunks
from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.readout import LinearReadout
from skopu.ridge.systems import FeatureSystem

_JITTER = 1e-12  # relative, on the kernel of the landmarks
MAX_ROWS, N_CENTRES = 4096, 2048


def ridge_on_rows(kernel, rows, Y, weights, seed):
    """Return kernel ridge with an intercept, to be solved for the alphas that are asked.

    Exactly if there are at most 4096 rows; otherwise with 2048 of them, drawn at random, as
    centres (the Nystroem approximation), a chunk of rows at a time.

    Parameters
    ----------
    kernel : object
        ``kernel.between(rows, centres)`` gives the kernel between rows, by their numbers, and
        ``kernel.among(rows)`` its lower triangle, in new arrays.
    rows : ndarray of int
        What to fit to.
    Y : ndarray of shape (n, q)
        Targets of these rows.
    weights : ndarray of shape (n,)
    seed : int

    Returns
    -------
    ridge : FullRidge or CentredRidge
        With ``centres``, the numbers of the rows that dual coefficients belong to, and
        ``solve(alpha)``, which gives a ``LinearReadout``.
    """
    if len(rows) <= MAX_ROWS:
        return FullRidge(kernel.among(rows), rows, Y, weights)
    chosen = np.random.default_rng(seed).choice(len(rows), N_CENTRES, replace=False)
    return CentredRidge(kernel, rows, rows[np.sort(chosen)], Y, weights)


class FullRidge:
    """Kernel ridge with all rows as centres, in the precision of the kernel.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Its lower triangle; it is overwritten.
    centres : ndarray of shape (n,) of int
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    """

    def __init__(self, K, centres, Y, weights):
        self.centres = centres
        symv = blas.dsymv if K.dtype == np.float64 else blas.ssymv
        self._share = weights / weights.sum()
        self._root = np.sqrt(weights)[:, None]
        self._row = symv(1.0, K.T, self._share.astype(K.dtype), lower=0).astype(np.float64)
        self._mean = self._share @ Y
        self._targets = self._root * (Y - self._mean)
        K -= self._row.astype(K.dtype)[:, None]
        K -= (self._row - self._share @ self._row).astype(K.dtype)
        if (weights != weights[0]).any() or weights[0] != 1:
            K *= self._root.astype(K.dtype)
            K *= self._root.T.astype(K.dtype)
        self._matrix, self._diagonal = K, np.diag(K).copy()
        self._scale = float(self._diagonal.sum(dtype=np.float64)) or 1.0

    def solve(self, alpha):
        """Return the ``LinearReadout`` for an alpha, relative to the trace."""
        targets = self._targets.astype(self._matrix.dtype)
        solution = _solve_shifted(self._matrix, self._diagonal, alpha * self._scale, targets)
        dual = self._root * solution.astype(np.float64)
        dual -= self._share[:, None] * dual.sum(0)
        return LinearReadout(dual, self._mean - self._row @ dual)


def _solve_shifted(matrix, own, shift, targets):
    """Solve for targets with the lower triangle of a matrix, its diagonal raised by ``shift``.

    A shift that the precision does not tell from zero is raised until it does: the readout is
    judged on rows left out, as one with another alpha would be.
    """
    potrf, potrs = lapack.get_lapack_funcs(("potrf", "potrs"), (matrix,))
    factor, diagonal = np.empty_like(matrix), np.diag_indices(len(matrix))
    while True:
        factor[...] = matrix
        factor[diagonal] = own + own.dtype.type(shift)
        # LAPACK's order is by columns: to it, the lower triangle is the upper one of the transpose.
        found, failed = potrf(factor.T, lower=0, clean=0, overwrite_a=1)
        if not failed:
            return potrs(found, targets, lower=0)[0]
        shift = max(10 * shift, np.finfo(own.dtype).eps * own.sum())


class CentredRidge:
    """Kernel ridge with some rows as centres: on the features ``K(rows, centres) L^-T``.

    L L' is the kernel of the centres.

    Parameters
    ----------
    kernel : object
        As in :func:`ridge_on_rows`.
    rows, centres : ndarray of int
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    """

    def __init__(self, kernel, rows, centres, Y, weights):
        self.centres = centres
        inner = kernel.between(centres, centres).astype(np.float64)
        inner[np.diag_indices_from(inner)] += _JITTER * np.trace(inner)
        self._factor = linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
        equations = NormalEquations()
        for chunk in row_chunks(len(rows)):
            values = kernel.between(rows[chunk], centres).T.astype(np.float64)
            Phi = linalg.solve_triangular(self._factor, values, lower=True, check_finite=False).T
            equations.add(Phi, Y[chunk], weights[chunk])
        self._system = FeatureSystem(equations, fit_intercept=True)
        self._scale = np.trace(self._system.matrix) or 1.0

    def solve(self, alpha):
        """Return the ``LinearReadout`` for an alpha, relative to the trace."""
        matrix = self._system.matrix
        shift = alpha * self._scale
        solution = _solve_shifted(matrix, np.diag(matrix), shift, self._system.targets)
        coef, intercept = self._system.readout(solution)
        dual = linalg.solve_triangular(self._factor, coef, lower=True, trans="T")
        return LinearReadout(dual, intercept)
