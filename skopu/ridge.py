r"""Ridge regression: solvers, and leave-one-out errors for many penalties at once.

Everything here is in float64 whatever the features are, because the normal equations square
their condition number. Shapes: features ``Phi`` (n, D), kernel ``K`` (n, n), targets ``Y``
(n, q), weights of the rows ``weights`` (n,), all positive.

With an intercept the minimiser of

.. math:: \sum_i w_i \|y_i - b - W^\top \phi_i\|^2 + \alpha \|W\|^2

is found from features and targets centred at their weighted means, without copying the
features: :math:`\Phi_c^\top \Omega \Phi_c = \Phi^\top \Omega \Phi - (\sum w) \mu \mu^\top`.
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
    if not np.isfinite(A).all():
        raise ValueError(
            "the ridge system holds NaN or infinite values: the features or kernel overflowed; "
            "scale the inputs or lower gamma."
        )
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
    gram, cross, mean, y_mean = _normal_equations(Phi, Y, weights, fit_intercept)
    coef = _solve_per_alpha(gram, cross, alpha)
    return Readout(coef, y_mean - mean @ coef)


def solve_dual(Phi, Y, alpha, weights, fit_intercept):
    """Ridge readout from the n x n kernel of the features; for n < D. Returns a ``Readout``."""
    Phi = Phi.astype(np.float64)
    K = safe_sparse_dot(Phi, Phi.T, dense_output=True)
    dual, intercept = solve_kernel(K, Y, alpha, weights, fit_intercept)
    return Readout(safe_sparse_dot(Phi.T, dual, dense_output=True), intercept)


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
    n_samples, n_features = Phi.shape
    if n_samples < n_features:
        Phi = Phi.astype(np.float64)
        K = safe_sparse_dot(Phi, Phi.T, dense_output=True)
        chosen = loo_kernel(K, Y, weights, fit_intercept, alphas)
        coef = safe_sparse_dot(Phi.T, chosen.readout.coef, dense_output=True)
        return chosen._replace(readout=chosen.readout._replace(coef=coef))
    gram, cross, mean, y_mean = _normal_equations(Phi, Y, weights, fit_intercept)
    eigenvalues, vectors = linalg.eigh(gram)
    share, root = _centring(weights, fit_intercept)
    P = safe_sparse_dot(Phi, vectors, dense_output=True) - mean @ vectors
    P *= root[:, None]
    alpha, alphas, errors, predictions = _scan(P, eigenvalues, Y, y_mean, share, root, alphas)
    coef = vectors @ ((vectors.T @ cross) / (np.maximum(eigenvalues, 0) + alpha)[:, None])
    readout = Readout(coef, y_mean - mean @ coef)
    return PenaltyChoice(alpha, alphas, errors, predictions, readout)


def loo_kernel(K, Y, weights, fit_intercept, alphas=None):
    """``loo_features`` for a kernel matrix; the readout holds dual coefficients."""
    share, root = _centring(weights, fit_intercept)
    system = _centred_kernel(K, share) * np.outer(root, root)
    eigenvalues, vectors = linalg.eigh(system)
    y_mean = share @ Y
    P = vectors * np.sqrt(np.maximum(eigenvalues, 0))
    alpha, alphas, errors, predictions = _scan(P, eigenvalues, Y, y_mean, share, root, alphas)
    scaled = vectors.T @ (root[:, None] * (Y - y_mean))
    dual = root[:, None] * (vectors @ (scaled / (np.maximum(eigenvalues, 0) + alpha)[:, None]))
    dual -= share[:, None] * dual.sum(0)
    readout = Readout(dual, y_mean - share @ (K @ dual))
    return PenaltyChoice(alpha, alphas, errors, predictions, readout)


def _scan(P, eigenvalues, Y, y_mean, share, root, alphas):
    """Leave-one-out errors of every penalty from the factor P (n, r) of the hat matrix."""
    eigenvalues = np.maximum(eigenvalues, 0)
    if alphas is None:
        # With nothing to fit (all features constant) any positive penalty is as good.
        alphas = LOO_GRID * (eigenvalues.sum() / len(root) or 1.0)
    targets = root[:, None] * (Y - y_mean)
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
    return float(alpha), np.asarray(alphas), np.array(errors), Y - left_out / root[:, None]


def _normal_equations(Phi, Y, weights, fit_intercept):
    """Weighted, centred Gram matrix (D, D), cross products (D, q), and the two means.

    Rows are converted to float64 a chunk at a time, so the features are never copied whole.
    """
    n_samples, n_features = Phi.shape
    share, _ = _centring(weights, fit_intercept)
    y_mean = share @ Y
    mean = np.zeros(n_features)
    gram, cross = np.zeros((n_features, n_features)), np.zeros((n_features, Y.shape[1]))
    for rows in gen_batches(n_samples, _CHUNK_ROWS):
        chunk = Phi[rows].astype(np.float64)
        weighted = chunk.T @ diags(weights[rows]) if issparse(chunk) else chunk.T * weights[rows]
        mean += chunk.T @ share[rows]
        gram += safe_sparse_dot(weighted, chunk, dense_output=True)
        cross += safe_sparse_dot(weighted, Y[rows] - y_mean, dense_output=True)
    gram -= weights.sum() * np.outer(mean, mean)
    return gram, cross, mean, y_mean


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
