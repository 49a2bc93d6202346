r"""Kernel ridge whose alphas are judged on rows left out; approximately where rows are many.

Here an alpha is relative: it is multiplied by the trace of the centred, weighted kernel, so that
one grid suits every data set and every number of rows.

An alpha takes a Cholesky factorisation. Few are asked for, since the error is a smooth function
of log alpha; for many of them :func:`skopu.ridge.solvers.solve_path` has one reduction to a
tridiagonal matrix, which runs at the speed of the memory.
"""

import numpy as np

from skopu._core.chunks import row_chunks
from skopu._core.places import dtype_name, place_of, to_host
from skopu.ridge.algebra import (
    cholesky,
    diagonal_of,
    multiply_lower,
    solve_lower,
    solve_triangular,
)
from skopu.ridge.normal_equations import NormalEquations, check_finite
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
        ``kernel.among(rows)`` its lower triangle, in new arrays or tensors. Where these are, the
        systems are solved.
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
    K : ndarray or Tensor of shape (n, n)
        Its lower triangle; it is overwritten.
    centres : ndarray of shape (n,) of int
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    """

    def __init__(self, K, centres, Y, weights):
        place, dtype = place_of(K), dtype_name(K)
        self.centres = centres
        self._share = weights / weights.sum()
        self._root = np.sqrt(weights)[:, None]
        size = weights @ to_host(diagonal_of(K))
        row = to_host(multiply_lower(K, place.put(self._share, dtype)))
        self._row = row.astype(np.float64)
        self._mean = self._share @ Y
        self._targets = place.put(self._root * (Y - self._mean), dtype)
        K -= place.put(self._row, dtype)[:, None]
        K -= place.put(self._row - self._share @ self._row, dtype)
        if (weights != weights[0]).any() or weights[0] != 1:
            root = place.put(self._root, dtype)
            K *= root
            K *= root.T
        self._matrix, self._diagonal = K, place.copy(diagonal_of(K))
        diagonal = to_host(self._diagonal)
        self._scale = float(diagonal.sum(dtype=np.float64))
        # Of rows that are all alike to the kernel rounding is left, in sum negative or not.
        self._is_constant = self._scale <= 10 * np.finfo(diagonal.dtype).eps * size

    def solve(self, alpha):
        """Return the ``LinearReadout`` for an alpha, relative to the trace."""
        if self._is_constant:
            return LinearReadout(np.zeros(self._targets.shape), self._mean)
        solution = _solve_shifted(self._matrix, self._diagonal, alpha * self._scale, self._targets)
        dual = self._root * to_host(solution).astype(np.float64)
        dual -= self._share[:, None] * dual.sum(0)
        return LinearReadout(dual, self._mean - self._row @ dual)


def _solve_shifted(matrix, own, shift, targets):
    """Solve for targets with the lower triangle of a matrix, its diagonal raised by ``shift``.

    A shift that the precision does not tell from zero is raised until it does: the readout is
    judged on rows left out, as one with another alpha would be.
    """
    factor, precision = place_of(matrix).xp.empty_like(matrix), np.finfo(dtype_name(own)).eps
    while True:
        factor[...] = matrix
        diagonal_of(factor)[...] = own + shift
        solution = solve_lower(factor, targets)
        if solution is not None:
            return solution
        shift = max(10 * shift, precision * float(own.sum()))


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
        inner = kernel.between(centres, centres)
        place = place_of(inner)
        self._factor = _factor(place.cast(inner, "float64"))
        equations = NormalEquations("float64")
        for chunk in row_chunks(len(rows)):
            values = place.cast(kernel.between(rows[chunk], centres).T, "float64")
            Phi = solve_triangular(self._factor, values).T
            equations.add(Phi, Y[chunk], weights[chunk])
        self._system = FeatureSystem(equations, fit_intercept=True)
        self._scale = float(self._system.matrix.trace()) or 1.0

    def solve(self, alpha):
        """Return the ``LinearReadout`` for an alpha, relative to the trace."""
        matrix = self._system.matrix
        place, shift = place_of(matrix), alpha * self._scale
        solution = _solve_shifted(matrix, diagonal_of(matrix), shift, self._system.targets)
        coef, intercept = self._system.readout(solution)
        dual = solve_triangular(self._factor, place.put(coef), is_transposed=True)
        return LinearReadout(to_host(dual), intercept)


def _factor(kernel):
    """Return the lower factor of a kernel of centres, its diagonal raised by as little as it takes.

    Of few bits, centres span more than the features have directions, and a kernel in single
    precision is negative in the others, as far as its rounding goes.
    """
    check_finite(kernel)
    diagonal, jitter = diagonal_of(kernel), _JITTER
    own, size = place_of(kernel).copy(diagonal), float(kernel.trace()) or 1.0
    while True:
        diagonal[...] = own + jitter * size
        factor = cholesky(kernel)
        if factor is not None:
            return factor
        jitter *= 10
