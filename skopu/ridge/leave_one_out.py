r"""Errors of rows left out for many alphas, from one eigendecomposition of a ridge system.

With :math:`P (\Lambda + \alpha)^{-1} P^\top` the hat matrix H (plus the intercept's part, a
row's share of the weights), the residual of row i left out is :math:`r_i / (1 - H_{ii})`.
Generalised cross-validation takes the mean of all H_ii for each of them.
"""

import warnings
from typing import NamedTuple

import numpy as np

from skopu._core.chunks import row_chunks
from skopu._core.places import HOST, dtype_name, place_of, to_host
from skopu.exceptions import RidgeConditionWarning
from skopu.ridge.algebra import eigh
from skopu.ridge.normal_equations import check_finite
from skopu.ridge.readout import LinearReadout
from skopu.ridge.systems import system_of_features

# Residuals are made for all alphas at once, so that a chunk takes 41 times what it holds.
_MAX_ROWS = 2048
# Leverage 1 up to rounding: the row is fitted whatever its target, its error is unknown.
_LEAST_SLACK = 1e-12
ALPHA_GRID = np.logspace(-9, 1, 41)  # alphas tried, relative to the mean eigenvalue


class AlphaChoice(NamedTuple):
    """The best alpha, with what it was chosen from.

    Attributes
    ----------
    alpha : float
    alphas : ndarray of shape (a,)
    errors : ndarray of shape (a,)
        Weighted mean squared errors over rows and targets.
    readout : LinearReadout
        At the best alpha.
    """

    alpha: float
    alphas: np.ndarray
    errors: np.ndarray
    readout: LinearReadout


class LeaveOneOut:
    """Errors of many alphas.

    Parameters
    ----------
    system : FeatureSystem or KernelSystem
        Its matrix is overwritten.
    alphas : array-like of shape (a,) or None, default=None
        What to try; None: 41 from 1e-9 to 10 times the mean eigenvalue.

    Attributes
    ----------
    alphas : ndarray of shape (a,)
    """

    def __init__(self, system, alphas=None):
        check_finite(system.matrix)
        place = place_of(system.matrix)
        values, self._vectors = eigh(place.cast(system.matrix, "float64"))
        system.matrix = None
        self._system, self._values = system, np.maximum(values, 0)
        # Directions that a kernel which is not positive would fit with the wrong sign.
        self._is_negative = values < -system.rounding(values)
        # But for rounding, which an alpha of its size would fit.
        self._is_constant = self._values.sum() <= system.rounding_of_constants
        self.alphas = self._alphas_to_try(alphas)
        # Residuals are compared in units that cannot overflow.
        self._unit = system.target_norms.max() or 1.0
        rotated = to_host(self._vectors.T @ (system.targets / self._unit))
        # P'T, that is: the rows of a kernel system are those of V, scaled.
        self._projected = rotated
        if system.is_all_rows:
            self._projected = np.sqrt(self._values)[:, None] * rotated

    def _alphas_to_try(self, alphas):
        if alphas is not None:
            return np.asarray(alphas, dtype=np.float64)
        total = (self._system.size or 1.0) if self._is_constant else self._values.sum()
        return ALPHA_GRID * (total / self._system.n_rows)

    def residuals(self, rows, alphas=None, leverage=None):
        """Return residuals (a, n, q) of rows left out, scaled, times the roots of their weights.

        Parameters
        ----------
        rows : slice or (Phi, Y, weights)
            As the system's ``hat_rows`` takes them.
        alphas : ndarray of shape (a,) or None
            None: all.
        leverage : ndarray of shape (a,) or None
            Used in the place of each row's own.
        """
        alphas = self.alphas if alphas is None else alphas
        place = HOST if isinstance(rows, slice) else place_of(rows[0])
        if place != place_of(self._vectors):  # rows of a worker with a card of its own
            self._vectors = place.put(self._vectors)
        P, targets, share = self._system.hat_rows(rows, self._values, self._vectors)
        shrink = self._shrink(alphas)
        xp, dtype = place.xp, dtype_name(P)
        if leverage is None:
            leverage = place.put(shrink, dtype) @ xp.square(P).T + share
        else:
            leverage = place.put(leverage)[:, None]
        weights = shrink[:, :, None] * self._projected  # (a, m, q)
        weights = weights.transpose(1, 0, 2).reshape(weights.shape[1], -1)
        fitted = P @ place.put(weights, dtype)
        fitted = xp.swapaxes(fitted.reshape(len(P), len(alphas), -1), 0, 1)
        residuals = targets / self._unit - fitted
        return residuals / xp.clip(1 - leverage, _LEAST_SLACK, None)[:, :, None]

    def errors(self, Phi=None, Y=None, weights=None, leverage=None):
        """Return the sums of squared residuals (a,) of rows left out, scaled.

        Of the rows given, which is what sums of features need, or of all rows of a kernel.
        """
        sums = np.zeros(len(self.alphas))
        for part in row_chunks(self._system.n_rows if Y is None else len(Y), _MAX_ROWS):
            rows = part if Y is None else (Phi[part], Y[part], weights[part])
            residuals = self.residuals(rows, leverage=leverage)
            sums += to_host((residuals * residuals).sum(axis=(1, 2)))
        return sums

    @property
    def system(self):
        """The system, without its matrix."""
        return self._system

    @property
    def values(self):
        """Eigenvalues of the system, (m,)."""
        return self._values

    @property
    def vectors(self):
        """Eigenvectors of the system, (m, m)."""
        return self._vectors

    def noise(self, alpha, pieces=None):
        """Return the sums (q,) over rows of residual times residual left out, with weights.

        Parameters
        ----------
        alpha : float
        pieces : iterable of (Phi, Y, weights), or None
            All rows, for sums of features; None: each has the mean leverage.
        """
        system, alphas = self._system, np.array([alpha])
        if pieces is None and not system.is_all_rows:
            residual, leverage = self._residual_norms(alphas)
            return residual[0] / max(1 - leverage[0], _LEAST_SLACK) * self._unit**2
        parts = row_chunks(system.n_rows, _MAX_ROWS) if system.is_all_rows else pieces
        # A residual left out times the residual: the latter has leverage zero.
        products = (
            self.residuals(part, alphas)[0] * self.residuals(part, alphas, np.zeros(1))[0]
            for part in parts
        )
        return self._unit**2 * sum(to_host(product.sum(0)) for product in products)

    def gcv(self):
        r"""Return what ``errors`` adds up to if every row has the mean leverage.

        .. math:: \sum_i w_i r_i^2 / (1 - \mathrm{tr} H / n)^2
        """
        residual, leverage = self._residual_norms(self.alphas)
        if self._system.is_all_rows:
            # A difference of norms, as below, would lose the residuals of rows that are nearly
            # interpolated: there may be fewer of them than features.
            return self.errors(leverage=leverage)
        return residual.sum(axis=1) / np.square(np.maximum(1 - leverage, _LEAST_SLACK))

    def _residual_norms(self, alphas):
        """Return sums (a, q) of squared residuals, scaled, and the mean leverages (a,)."""
        system, shrink = self._system, self._shrink(alphas)
        fitted = (shrink * (2 - self._values * shrink)) @ np.square(self._projected)
        norms = system.target_norms / self._unit
        leverage = (shrink @ self._values + system.fit_intercept) / system.n_rows
        return np.maximum(np.square(norms) - fitted, 0), leverage

    def choose(self, sums):
        """Return the ``AlphaChoice`` for sums of errors (a,) over all rows, or from ``gcv``."""
        system, best = self._system, int(np.argmin(sums))
        alpha = float(self.alphas[best])
        place = place_of(self._vectors)
        rotated = to_host(self._vectors.T @ place.put(system.targets))
        rotated *= self._shrink(self.alphas[best : best + 1]).T
        if self._is_constant:
            rotated[...] = 0
        elif self._is_negative.any():
            # Their errors were judged without these directions, which a small alpha would blow up.
            rotated[self._is_negative] = 0
            warnings.warn(
                f"{self._is_negative.sum()} of the {len(rotated)} eigenvalues of the kernel are "
                "negative: alpha is chosen, and the readout solved, without their directions. Give "
                "an alpha above their size to have them too.",
                RidgeConditionWarning,
                stacklevel=2,
            )
        readout = system.readout(self._vectors @ place.put(rotated))
        errors = sums / (system.weight * system.targets.shape[1]) * self._unit**2
        return AlphaChoice(alpha, self.alphas, errors, readout)

    def _shrink(self, alphas):
        """Return 1 / (eigenvalue + alpha), shape (a, m).

        At an alpha of zero, directions that the rows do not have are left alone.
        """
        sums = self._values + alphas[:, None]
        real = sums > len(self._values) * np.finfo(float).eps * self._values.max()
        return np.divide(1, sums, out=np.zeros_like(sums), where=real | (alphas[:, None] > 0))

    def predictions(self, alpha, Y, weights, Phi=None):
        """Return predictions (n, q) of all rows, each by the readout that leaves it out."""
        left_out = []
        for part in row_chunks(len(Y)):
            rows = part if self._system.is_all_rows else (Phi[part], Y[part], weights[part])
            left_out.append(to_host(self.residuals(rows, np.array([alpha]))[0]))
        return Y - self._unit * np.concatenate(left_out) / np.sqrt(weights)[:, None]


def leave_out(Phi, Y, weights, fit_intercept, alphas=None):
    """Choose alpha for features in memory, and predict each row without itself.

    Parameters
    ----------
    Phi : ndarray or sparse matrix of shape (n, D)
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    fit_intercept : bool
    alphas : array-like of shape (a,) or None, default=None

    Returns
    -------
    choice : AlphaChoice
    predictions : ndarray of shape (n, q)
        At the best alpha.
    """
    system = system_of_features(Phi, Y, weights, fit_intercept)
    scan = LeaveOneOut(system, alphas)
    sums = scan.errors() if system.is_all_rows else scan.errors(Phi, Y, weights)
    choice = scan.choose(sums)
    return choice, scan.predictions(choice.alpha, Y, weights, Phi)
