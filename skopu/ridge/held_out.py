r"""Kernel ridge for many alphas, to be judged on rows left out; approximately where rows are many.

Here an alpha is relative: it is multiplied by the trace of the centred, weighted kernel, so that
one grid suits every data set and every number of rows.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from skopu._core.chunks import row_chunks
from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.solvers import solve_path
from skopu.ridge.systems import FeatureSystem, KernelSystem

_JITTER = 1e-12  # relative, on the kernel of the landmarks


class RidgePath(NamedTuple):
    """Kernel ridge for many alphas: predictions are ``K @ dual[a] + intercept[a]``.

    Attributes
    ----------
    dual : ndarray of shape (a, m, q)
        For the m centres.
    intercept : ndarray of shape (a, q)
    """

    dual: np.ndarray
    intercept: np.ndarray


def ridge_path(kernel, rows, Y, weights, alphas, seed, max_rows=4096, n_centres=2048):
    """Fit kernel ridge with an intercept for every alpha.

    Exactly if there are at most ``max_rows`` rows; otherwise with ``n_centres`` of them, drawn
    at random, as centres (the Nystroem approximation), a chunk of rows at a time.

    Parameters
    ----------
    kernel : callable
        ``kernel(rows, centres)`` gives the kernel between rows, by their numbers: a new array.
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
        system = KernelSystem(kernel(rows, rows), Y, weights, True, overwrite_K=True)
        return _relative_path(system, alphas), rows
    chosen = np.random.default_rng(seed).choice(len(rows), n_centres, replace=False)
    centres = rows[np.sort(chosen)]
    return _landmark_path(kernel, rows, centres, Y, weights, alphas), centres


def _relative_path(system, alphas):
    total = np.trace(system.matrix) or 1.0
    readouts = solve_path(system, [alpha * total for alpha in alphas])
    return RidgePath(*map(np.array, zip(*readouts)))


def _landmark_path(kernel, rows, centres, Y, weights, alphas):
    """Ridge on the features ``K(rows, centres) L^-T``, with L L' the kernel of the centres."""
    inner = kernel(centres, centres)
    inner[np.diag_indices_from(inner)] += _JITTER * np.trace(inner)
    factor = linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
    equations = NormalEquations()
    for chunk in row_chunks(len(rows)):
        values = kernel(rows[chunk], centres)
        Phi = linalg.solve_triangular(factor, values.T, lower=True, check_finite=False).T
        equations.add(Phi, Y[chunk], weights[chunk])
    coef, intercept = _relative_path(FeatureSystem(equations, fit_intercept=True), alphas)
    dual = [linalg.solve_triangular(factor, each, lower=True, trans="T") for each in coef]
    return RidgePath(np.array(dual), intercept)
