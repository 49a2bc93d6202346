r"""Ridge regression: solvers, and leave-one-out errors for many penalties at once.

Everything here is in float64 whatever the features are, because the normal equations square
their condition number. Shapes: features ``Phi`` (n, D), kernel ``K`` (n, n), targets ``Y``
(n, q), weights of the rows ``weights`` (n,), all positive.

With an intercept the minimiser of

.. math:: \sum_i w_i \|y_i - b - W^\top \phi_i\|^2 + \alpha \|W\|^2

is found from features and targets centred at their weighted means. Dense features are centred
a chunk of rows at a time; sparse ones stay as they are, and
:math:`\Phi_c^\top \Omega \Phi_c = \Phi^\top \Omega \Phi - (\sum w) \mu \mu^\top`.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.sparse import diags, issparse
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot

from skopu.exceptions import RidgeConditionWarning

_JITTERS = 10.0 ** np.arange(-14, -5)  # relative to the mean of the diagonal
_CHUNK_ROWS = 4096
_ROUNDING = 1e-24  # share of the features' size that rounding may leave of constant ones
LOO_GRID = np.logspace(-9, 1, 41)  # penalties tried by "loo", relative to the mean eigenvalue


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
    _check_finite(A)
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


def _check_finite(system):
    if not np.isfinite(system).all():
        raise ValueError(
            "the ridge system holds NaN or infinite values: the features or kernel overflowed; "
            "scale the inputs or lower gamma."
        )


def _warn(message):
    warnings.warn(message, RidgeConditionWarning, stacklevel=3)


def solve_primal(Phi, Y, alpha, weights, fit_intercept):
    """Ridge readout from the D x D normal equations; for n >= D.

    ``alpha`` is a float or one per target, shape (q,). Returns a ``Readout``.
    """
    gram, cross, mean, y_mean = _normal_equations(Phi, Y, weights, fit_intercept)
    coef = _solve_per_alpha(gram, cross, alpha)
    return Readout(coef, y_mean - mean @ coef)


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
    r"""Choose the penalty by leave-one-out error and return a ``PenaltyChoice``.

    One eigendecomposition of the smaller Gram matrix serves every penalty: with
    :math:`P \Lambda^{-1} P^\top` the kernel of the scaled, centred features, the hat matrix is
    :math:`H = P (\Lambda + \alpha)^{-1} P^\top` (plus the intercept's part), and the
    residual of row i left out is :math:`r_i / (1 - H_{ii})`.

    ``alphas`` : penalties to try; None: 41 from 1e-9 to 10 times the mean eigenvalue.
    """
    if Phi.shape[0] < Phi.shape[1]:
        return _loo_wide(Phi, Y, weights, fit_intercept, alphas)
    gram, cross, mean, y_mean = _normal_equations(Phi, Y, weights, fit_intercept)
    _check_finite(gram)
    eigenvalues, vectors = linalg.eigh(gram)
    share, root = _centring(weights, fit_intercept)
    P = np.empty(Phi.shape)
    for rows, chunk in _centred_chunks(Phi, mean):
        P[rows] = safe_sparse_dot(chunk, vectors, dense_output=True)
    if issparse(Phi):
        P -= mean @ vectors
    P *= root[:, None]
    size = np.trace(gram) + weights.sum() * (mean @ mean)
    alpha, alphas, errors, predictions = _scan(P, eigenvalues, Y, y_mean, share, root, alphas, size)
    coef = vectors @ ((vectors.T @ cross) / (np.maximum(eigenvalues, 0) + alpha)[:, None])
    readout = Readout(coef, y_mean - mean @ coef)
    return PenaltyChoice(alpha, alphas, errors, predictions, readout)


def _loo_wide(Phi, Y, weights, fit_intercept, alphas):
    """``loo_features`` by the n x n kernel."""
    Phi, shift = _shift(Phi, weights, fit_intercept)
    K = safe_sparse_dot(Phi, Phi.T, dense_output=True)
    chosen = loo_kernel(K, Y, weights, fit_intercept, alphas, shift @ shift)
    dual, intercept = chosen.readout
    coef = safe_sparse_dot(Phi.T, dual, dense_output=True)
    return chosen._replace(readout=Readout(coef, intercept - shift @ coef))


def loo_kernel(K, Y, weights, fit_intercept, alphas=None, removed=0.0):
    """``loo_features`` for a kernel matrix; the readout holds dual coefficients.

    ``removed`` : squared norm of a vector that was subtracted from all features beforehand.
    """
    share, root = _centring(weights, fit_intercept)
    system = _centred_kernel(K, share) * np.outer(root, root)
    _check_finite(system)
    eigenvalues, vectors = linalg.eigh(system)
    y_mean = share @ Y
    P = vectors * np.sqrt(np.maximum(eigenvalues, 0))
    size = weights @ (np.diag(K) + removed)
    alpha, alphas, errors, predictions = _scan(P, eigenvalues, Y, y_mean, share, root, alphas, size)
    scaled = vectors.T @ (root[:, None] * (Y - y_mean))
    dual = root[:, None] * (vectors @ (scaled / (np.maximum(eigenvalues, 0) + alpha)[:, None]))
    dual -= share[:, None] * dual.sum(0)
    readout = Readout(dual, y_mean - share @ (K @ dual))
    return PenaltyChoice(alpha, alphas, errors, predictions, readout)


def _scan(P, eigenvalues, Y, y_mean, share, root, alphas, size):
    """Leave-one-out errors of every penalty from the factor P (n, r) of the hat matrix.

    ``size`` : weighted sum of the squared norms of the features before centring.
    """
    eigenvalues = np.maximum(eigenvalues, 0)
    if alphas is None:
        total = eigenvalues.sum()
        if total <= _ROUNDING * size:
            # Constant features, but for rounding: a penalty of the size of that would fit it.
            total = size or 1.0
        alphas = LOO_GRID * (total / len(root))
    targets = root[:, None] * (Y - y_mean)
    peak = np.abs(targets).max() or 1.0  # errors are compared in units that cannot overflow
    targets = targets / peak
    projected, squares = P.T @ targets, np.square(P)
    best, errors = None, []
    for alpha in alphas:
        shrink = 1 / (eigenvalues + alpha)
        # The intercept adds root_i^2 / sum(w) to the diagonal, which is share_i.
        leverage = squares @ shrink + share
        residuals = targets - P @ (shrink[:, None] * projected)
        # Leverage 1 up to rounding: the row is fitted whatever its target, its error is unknown.
        left_out = residuals / np.maximum(1 - leverage, 1e-12)[:, None]
        errors.append(np.square(left_out).sum() / (np.square(root).sum() * Y.shape[1]))
        if best is None or errors[-1] < best[0]:
            best = (errors[-1], alpha, left_out)
    _, alpha, left_out = best
    predictions = Y - peak * left_out / root[:, None]
    return float(alpha), np.asarray(alphas), np.array(errors) * peak**2, predictions


def _normal_equations(Phi, Y, weights, fit_intercept):
    """Weighted, centred Gram matrix (D, D), cross products (D, q), and the two means.

    Rows are converted to float64 a chunk at a time, so the features are never copied whole.
    """
    n_features = Phi.shape[1]
    share, _ = _centring(weights, fit_intercept)
    y_mean, mean = share @ Y, _mean(Phi, share)
    gram, cross = np.zeros((n_features, n_features)), np.zeros((n_features, Y.shape[1]))
    for rows, chunk in _centred_chunks(Phi, mean):
        weighted = chunk.T @ diags(weights[rows]) if issparse(chunk) else chunk.T * weights[rows]
        gram += safe_sparse_dot(weighted, chunk, dense_output=True)
        cross += safe_sparse_dot(weighted, Y[rows] - y_mean, dense_output=True)
    if issparse(Phi):
        gram -= weights.sum() * np.outer(mean, mean)
    return gram, cross, mean, y_mean


def _mean(Phi, share):
    """Mean of the features with these shares, float64."""
    mean = np.zeros(Phi.shape[1])
    for rows in gen_batches(Phi.shape[0], _CHUNK_ROWS):
        mean += Phi[rows].astype(np.float64).T @ share[rows]
    return mean


def _centred_chunks(Phi, mean):
    """Yield slices of rows with their float64 features, minus the mean if these are dense.

    The mean of sparse features is taken out of their products instead, which loses digits
    where it is large beside their spread.
    """
    for rows in gen_batches(Phi.shape[0], _CHUNK_ROWS):
        chunk = Phi[rows].astype(np.float64)
        yield rows, chunk if issparse(chunk) else chunk - mean


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


def _solve_per_alpha(system, targets, alpha):
    """Solve (system + alpha) for all targets, once for each distinct penalty."""
    alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), targets.shape[1:])
    solution = np.empty_like(targets, dtype=np.float64)
    for value in np.unique(alpha):
        columns = alpha == value
        shifted = system + value * np.eye(len(system))
        solution[:, columns] = solve_positive(shifted, targets[:, columns])
    return solution
