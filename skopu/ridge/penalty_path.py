"""Errors of many ridge penalties from one factorisation: leave-one-out and its approximation."""

import numpy as np
from scipy import linalg
from scipy.sparse import issparse
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot

from skopu.ridge.normal_equations import check_finite

_ROUNDING = 1e-24  # share of the features' size that rounding may leave of constant ones
_SCAN_ROWS = 2048
LOO_GRID = np.logspace(-9, 1, 41)  # penalties tried, relative to the mean eigenvalue


class PenaltyScan:
    r"""Errors of many penalties from one eigendecomposition of the normal equations.

    With :math:`P \Lambda^{-1} P^\top` the kernel of the scaled, centred features, the hat matrix
    is :math:`H = P (\Lambda + \alpha)^{-1} P^\top` (plus the intercept's part), and the
    residual of row i left out is :math:`r_i / (1 - H_{ii})`. The rows of P are made from those of
    the features, so the exact errors take a second pass over them, in chunks; the generalised
    cross-validation takes none.

    Parameters
    ----------
    equations : NormalEquations
    fit_intercept : bool
    alphas : array-like of shape (n_alphas,) or None, default=None
        Penalties to try; None: 41 from 1e-9 to 10 times the mean eigenvalue.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
    """

    def __init__(self, equations, fit_intercept, alphas=None):
        gram, self._cross, self._mean, self._y_mean = equations.system(fit_intercept)
        check_finite(gram)
        size = np.trace(gram) + equations.weight * (self._mean @ self._mean)
        values, self._vectors = linalg.eigh(gram, overwrite_a=True)
        self._values = np.maximum(values, 0)
        self.alphas = penalties_to_try(alphas, self._values, equations.n_rows, size)
        # Residuals are compared in units that cannot overflow.
        self._unit = equations.target_norm.max() or 1.0
        self._projected = self._vectors.T @ (self._cross / self._unit)
        self._weight = equations.weight if fit_intercept else np.inf
        self._total = equations.weight * equations.n_targets
        self._n_rows, self._fit_intercept = equations.n_rows, fit_intercept
        self._norms = equations.target_norm / self._unit
        if not fit_intercept:
            shift = np.sqrt(equations.weight) * equations.target_mean / self._unit
            self._norms = np.hypot(self._norms, shift)
        self._dtype = np.float64 if equations.gram_kind == "float64" else np.float32

    def left_out(self, Phi, Y, weights):
        """Return scaled residuals (n_alphas, n, q) of rows left out, times the roots of weights.

        Parameters
        ----------
        Phi : ndarray or sparse matrix of shape (n, D)
        Y : ndarray of shape (n, q)
        weights : ndarray of shape (n,)
        """
        root = np.sqrt(weights)
        vectors = self._vectors.astype(self._dtype, copy=False)
        if issparse(Phi):
            P = safe_sparse_dot(Phi, vectors, dense_output=True) - self._mean @ vectors
        else:
            P = np.subtract(Phi, self._mean, dtype=self._dtype) @ vectors
        P = np.multiply(P, root[:, None], out=P, casting="same_kind")
        targets = root[:, None] * ((Y - self._y_mean) / self._unit)
        # The intercept adds root_i^2 / sum(w) to the diagonal of the hat matrix.
        share = weights / self._weight
        return residuals_left_out(P, self._values, targets, self._projected, share, self.alphas)

    def errors(self, Phi, Y, weights):
        """Return the sums of squared residuals (n_alphas,) of rows left out, scaled."""
        sums = np.zeros(len(self.alphas))
        for rows in gen_batches(len(Y), _SCAN_ROWS):
            left_out = self.left_out(Phi[rows], Y[rows], weights[rows])
            sums += np.square(left_out).sum(axis=(1, 2))
        return sums

    def gcv(self):
        r"""Return what ``errors`` adds up to if every row has the mean leverage.

        .. math:: \sum_i w_i r_i^2 / (1 - \mathrm{tr} H / n)^2
        """
        shrink = 1 / (self._values + self.alphas[:, None])
        fitted = (shrink * (2 - self._values * shrink)) @ np.square(self._projected)
        residual = np.maximum(np.square(self._norms) - fitted, 0).sum(axis=1)
        leverage = (shrink @ self._values + self._fit_intercept) / self._n_rows
        return residual / np.square(np.maximum(1 - leverage, 1e-12))

    def choose(self, sums):
        """Return the best penalty, all mean squared errors, and coef and intercept at the best.

        Parameters
        ----------
        sums : ndarray of shape (n_alphas,)
            Of ``errors`` over all rows, or from ``gcv``.
        """
        alpha = float(self.alphas[np.argmin(sums)])
        shrunk = (self._vectors.T @ self._cross) / (self._values + alpha)[:, None]
        coef = self._vectors @ shrunk
        intercept = self._y_mean - self._mean @ coef
        return alpha, sums / self._total * self._unit**2, (coef, intercept)

    def unscaled(self, left_out, weights):
        """Return residuals in the units of the targets from ``left_out`` of one penalty."""
        return self._unit * left_out / np.sqrt(weights)[:, None]


def penalties_to_try(alphas, eigenvalues, n_rows, size):
    """Penalties to try; ``size``: weighted sum of squared norms of the uncentred features."""
    if alphas is not None:
        return np.asarray(alphas, dtype=np.float64)
    total = eigenvalues.sum()
    if total <= _ROUNDING * size:
        # Constant features, but for rounding: a penalty of the size of that would fit it.
        total = size or 1.0
    return LOO_GRID * (total / n_rows)


def residuals_left_out(P, eigenvalues, targets, projected, share, alphas, generalised=False):
    """Residuals (n_alphas, n, q) of rows left out, from the factor P (n, r) of the hat matrix.

    ``generalised`` : take the mean leverage for each row's own.
    """
    shrink = 1 / (eigenvalues + alphas[:, None])
    leverage = shrink.astype(P.dtype) @ np.square(P).T + share
    if generalised:
        leverage = leverage.mean(axis=1, keepdims=True)
    weights = shrink[:, :, None] * projected  # (n_alphas, r, q)
    fitted = P @ weights.astype(P.dtype).transpose(1, 0, 2).reshape(P.shape[1], -1)
    fitted = fitted.reshape(len(P), len(alphas), -1).transpose(1, 0, 2)
    # Leverage 1 up to rounding: the row is fitted whatever its target, its error is unknown.
    return (targets - fitted) / np.maximum(1 - leverage, 1e-12)[:, :, None]
