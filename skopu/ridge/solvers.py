r"""Ridge regression: solvers, and leave-one-out errors for many penalties at once.

Everything here is in float64 whatever the features are, because the normal equations square
their condition number. Shapes: features ``Phi`` (n, D), kernel ``K`` (n, n), targets ``Y``
(n, q), weights of the rows ``weights`` (n,), all positive.

With an intercept the minimiser of

.. math:: \sum_i w_i \|y_i - b - W^\top \phi_i\|^2 + \alpha \|W\|^2

is found from features and targets centred at their weighted means, a chunk of rows at a time:
see :mod:`skopu.ridge.normal_equations`.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.sparse import issparse
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot

from skopu.exceptions import RidgeConditionWarning
from skopu.ridge.normal_equations import NormalEquations, check_finite
from skopu.ridge.penalty_path import PenaltyScan, penalties_to_try, residuals_left_out

_JITTERS = 10.0 ** np.arange(-14, -5)  # relative to the mean of the diagonal
_CHUNK_ROWS = 4096


class Readout(NamedTuple):
    """A linear model: predictions are ``Phi @ coef + intercept``.

    For a kernel solution ``coef`` holds the dual coefficients and predictions are
    ``K @ coef + intercept``.
    """

    coef: np.ndarray  # (D, q), or (n, q)
    intercept: np.ndarray  # (q,)


class PenaltyChoice(NamedTuple):
    """The best penalty by exact leave-one-out error, with what it was chosen from."""

    alpha: float
    alphas: np.ndarray  # (n_alphas,)
    errors: np.ndarray  # (n_alphas,), weighted mean squared error over rows and outputs
    predictions: np.ndarray  # (n, q), each row predicted without itself, at the best alpha
    readout: Readout  # at the best alpha


def solve_positive(A, B):
    """Solve ``A X = B`` for a symmetric A that should be positive definite, by Cholesky.

    Parameters
    ----------
    A : ndarray of shape (m, m)
    B : ndarray of shape (m, q)

    Returns
    -------
    X : ndarray of shape (m, q)

    Raises
    ------
    ValueError
        If A holds NaN or infinity.

    Warns
    -----
    RidgeConditionWarning
        If A is numerically singular, with the amount added to the diagonal; if it is
        indefinite, that the least-squares solution was taken.
    """
    check_finite(A)
    size = float(np.mean(np.diag(A))) or 1.0
    for jitter in (0.0, *_JITTERS):
        try:
            # No overwrite: the next rung of the ladder needs A as it was.
            factor = linalg.cho_factor(A + jitter * size * np.eye(len(A)) if jitter else A)
        except linalg.LinAlgError:
            continue
        if jitter:
            _warn(
                f"singular ridge system: solved after adding {jitter * size:.1e} to its diagonal; "
                "a larger alpha avoids this."
            )
        return linalg.cho_solve(factor, B)
    _warn(
        "indefinite ridge system: the least-squares solution is taken; a kernel must have "
        "non-negative eigenvalues, or alpha must outweigh the negative ones."
    )
    return linalg.lstsq(A, B)[0]


def _warn(message):
    warnings.warn(message, RidgeConditionWarning, stacklevel=3)


def solve_primal(Phi, Y, alpha, weights, fit_intercept):
    """Ridge readout from the D x D normal equations; for n >= D.

    ``alpha`` is a float or one per target, shape (q,). Returns a ``Readout``.
    """
    return solve_equations(_sum_rows(Phi, Y, weights), alpha, fit_intercept)


def solve_equations(equations, alpha, fit_intercept):
    """Ridge readout from ``NormalEquations``, as ``solve_primal``.

    What rounding to 7 bits has added to the diagonal acts as a penalty: it is taken off
    ``alpha``, down to zero.
    """
    gram, cross, mean, y_mean = equations.system(fit_intercept)
    coef = _solve_per_alpha(gram, cross, alpha, equations.excess)
    return Readout(coef, y_mean - mean @ coef)


def _sum_rows(Phi, Y, weights):
    """Sum features in memory; only a chunk of them is in float64 at a time."""
    equations = NormalEquations()
    for rows in gen_batches(Phi.shape[0], _CHUNK_ROWS):
        equations.add(Phi[rows], Y[rows], weights[rows])
    return equations


def solve_dual(Phi, Y, alpha, weights, fit_intercept):
    """Ridge readout from the n x n kernel of the features; for n < D. Returns a ``Readout``."""
    Phi, shift = _shift(Phi, weights, fit_intercept)
    K = safe_sparse_dot(Phi, Phi.T, dense_output=True)
    dual, intercept = solve_kernel(K, Y, alpha, weights, fit_intercept)
    coef = safe_sparse_dot(Phi.T, dual, dense_output=True)
    return Readout(coef, intercept - shift @ coef)


def solve_kernel(K, Y, alpha, weights, fit_intercept):
    """Kernel ridge: a ``Readout`` with dual coefficients, for predictions from K(X, X_fit)."""
    share, root = _centring(weights, fit_intercept)
    system = _centred_kernel(K, share) * np.outer(root, root)
    y_mean = share @ Y
    dual = _solve_per_alpha(system, root[:, None] * (Y - y_mean), alpha) * root[:, None]
    dual -= share[:, None] * dual.sum(0)
    return Readout(dual, y_mean - share @ (K @ dual))


def loo_features(Phi, Y, weights, fit_intercept, alphas=None):
    """Choose the penalty by leave-one-out error and return a ``PenaltyChoice``.

    One eigendecomposition of the smaller Gram matrix serves every penalty, see ``PenaltyScan``.

    ``alphas`` : penalties to try; None: 41 from 1e-9 to 10 times the mean eigenvalue.
    """
    if Phi.shape[0] < Phi.shape[1]:
        return loo_wide(Phi, Y, weights, fit_intercept, alphas)
    scan = PenaltyScan(_sum_rows(Phi, Y, weights), fit_intercept, alphas)
    chunks = gen_batches(Phi.shape[0], _CHUNK_ROWS)
    left_out = [scan.left_out(Phi[rows], Y[rows], weights[rows]) for rows in chunks]
    left_out = np.concatenate(left_out, axis=1)
    alpha, errors, readout = scan.choose(np.square(left_out).sum(axis=(1, 2)))
    best = scan.unscaled(left_out[np.argmin(errors)], weights)
    return PenaltyChoice(alpha, scan.alphas, errors, Y - best, Readout(*readout))


def loo_wide(Phi, Y, weights, fit_intercept, alphas=None, generalised=False):
    """``loo_features`` by the n x n kernel; for n < D."""
    Phi, shift = _shift(Phi, weights, fit_intercept)
    K = safe_sparse_dot(Phi, Phi.T, dense_output=True)
    removed = shift @ shift
    chosen = loo_kernel(K, Y, weights, fit_intercept, alphas, generalised, removed)
    dual, intercept = chosen.readout
    coef = safe_sparse_dot(Phi.T, dual, dense_output=True)
    return chosen._replace(readout=Readout(coef, intercept - shift @ coef))


def loo_kernel(K, Y, weights, fit_intercept, alphas=None, generalised=False, removed=0.0):
    """``loo_features`` for a kernel matrix; the readout holds dual coefficients.

    ``generalised`` : judge by generalised cross-validation instead.
    ``removed`` : squared norm of a vector that was subtracted from all features beforehand.
    """
    share, root = _centring(weights, fit_intercept)
    system = _centred_kernel(K, share) * np.outer(root, root)
    check_finite(system)
    eigenvalues, vectors = linalg.eigh(system)
    y_mean = share @ Y
    eigenvalues = np.maximum(eigenvalues, 0)
    P = vectors * np.sqrt(eigenvalues)
    size = weights @ (np.diag(K) + removed)
    alphas = penalties_to_try(alphas, eigenvalues, len(weights), size)
    targets = root[:, None] * (Y - y_mean)
    unit = np.abs(targets).max() or 1.0  # errors are compared in units that cannot overflow
    targets /= unit
    left_out = residuals_left_out(
        P, eigenvalues, targets, P.T @ targets, share, alphas, generalised
    )
    errors = np.square(left_out).sum(axis=(1, 2)) / (weights.sum() * Y.shape[1])
    best = int(np.argmin(errors))
    alpha, errors = float(alphas[best]), errors * unit**2
    predictions = Y - unit * left_out[best] / root[:, None]
    scaled = vectors.T @ (root[:, None] * (Y - y_mean))
    dual = root[:, None] * (vectors @ (scaled / (eigenvalues + alpha)[:, None]))
    dual -= share[:, None] * dual.sum(0)
    readout = Readout(dual, y_mean - share @ (K @ dual))
    return PenaltyChoice(alpha, alphas, errors, predictions, readout)


def _mean(Phi, share):
    """Mean of the features with these shares, float64."""
    mean = np.zeros(Phi.shape[1])
    for rows in gen_batches(Phi.shape[0], _CHUNK_ROWS):
        mean += Phi[rows].astype(np.float64).T @ share[rows]
    return mean


def _shift(Phi, weights, fit_intercept):
    """Float64 features with their mean subtracted if they are dense, and what was subtracted."""
    if issparse(Phi):
        return Phi.astype(np.float64), np.zeros(Phi.shape[1])
    share, _ = _centring(weights, fit_intercept)
    mean = _mean(Phi, share)
    return Phi - mean, mean


def _centring(weights, fit_intercept):
    """Each row's share in the mean (zeros without intercept) and the root of its weight."""
    share = weights / weights.sum() if fit_intercept else np.zeros_like(weights)
    return share, np.sqrt(weights)


def _centred_kernel(K, share):
    """Kernel of the features minus their weighted mean."""
    row = K @ share
    return K - row[:, None] - row[None, :] + share @ row


def _solve_per_alpha(system, targets, alpha, excess=0.0):
    """Solve (system + alpha) for all targets, once for each distinct penalty.

    ``excess`` is on the diagonal of the system already.
    """
    alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), targets.shape[1:])
    solution = np.empty_like(targets, dtype=np.float64)
    diagonal = np.diag_indices(len(system))
    for value in np.unique(alpha):
        columns = alpha == value
        shifted = system.copy()
        shifted[diagonal] += np.maximum(value - excess, 0)
        solution[:, columns] = solve_positive(shifted, targets[:, columns])
    return solution
