"""The alpha of a kernel ridge: as it was given, or the best of many."""

from numbers import Real
from typing import NamedTuple

import numpy as np

from skopu.ridge.leave_one_out import LeaveOneOut
from skopu.ridge.posterior import Posterior
from skopu.ridge.readout import LinearReadout
from skopu.ridge.solvers import solve
from skopu.ridge.systems import system_of_features

CHOICES = {"loo", "gcv"}  # values of alpha that have it chosen


class Solution(NamedTuple):
    """A readout, the alpha it has, and the error it was chosen by (None if it was given).

    With the ``Posterior``, if variances are asked for.
    """

    readout: LinearReadout
    alpha: object
    error: float | None
    posterior: Posterior | None = None


class Alpha:
    """What the parameters ``alpha`` and ``alphas`` say, checked for a number of targets.

    Parameters
    ----------
    alpha : float, array-like of shape (q,), "loo" or "gcv"
    alphas : array-like of shape (a,) or None
    n_targets : int
    has_posterior : bool, default=False
        Whether solutions come with what variances take.
    """

    def __init__(self, alpha, alphas, n_targets, has_posterior=False):
        self._has_posterior = has_posterior
        self.value = alpha if isinstance(alpha, (str, Real)) else _given(alpha, n_targets)
        self.is_chosen = isinstance(alpha, str)
        self.takes_rows_again = self.is_chosen and alpha == "loo"
        self._alphas = _grid(alphas) if self.is_chosen and alphas is not None else None

    def solve(self, system, errors_of=None, pieces=None):
        """Return the ``Solution`` of a ridge system, which is overwritten.

        Parameters
        ----------
        system : FeatureSystem or KernelSystem
        errors_of : callable or None
            For "loo": gives for a ``LeaveOneOut`` the sums of its errors over rows that are read
            again, or None if that was cut short. A system of sums without it, whose rows have
            gone by, is judged as for "gcv".
        pieces : iterable of (Phi, Y, weights), or None
            The rows of a system of sums, if they are in memory: for the noise.
        """
        if not self.is_chosen:
            return self._solve_given(system, pieces)
        scan, sums = LeaveOneOut(system, self._alphas), None
        if self.takes_rows_again and system.is_all_rows:
            sums = scan.errors()
        elif self.takes_rows_again and errors_of is not None:
            sums = errors_of(scan)
        choice = scan.choose(scan.gcv() if sums is None else sums)
        posterior = self._posterior(scan, choice.alpha, pieces)
        return Solution(choice.readout, choice.alpha, float(choice.errors.min()), posterior)

    def _solve_given(self, system, pieces):
        """Return the ``Solution`` for the alpha that was given."""
        matrix = system.matrix + 0 if self._has_posterior else None
        readout, posterior = solve(system, self.value), None
        if self._has_posterior:
            system.matrix = matrix
            scan = LeaveOneOut(system, np.unique(np.atleast_1d(self.value)))
            posterior = self._posterior(scan, self.value, pieces)
        return Solution(readout, self.value, None, posterior)

    def _posterior(self, scan, alpha, pieces):
        if not self._has_posterior:
            return None
        if not np.min(alpha) > 0:
            raise ValueError(
                "compute_std=True needs alpha above 0, the precision of the weights before any row "
                f"was seen; got {alpha}. Give a small one, or 'loo'."
            )
        return Posterior(scan, alpha, pieces)

    def leave_out(self, Phi, Y, weights, fit_intercept, gram):
        """Return the ``Solution`` for features, and predictions (n, q) of rows left out of it.

        One factorisation gives both, also for an alpha that was given.
        """
        system = system_of_features(Phi, Y, weights, fit_intercept, gram)
        scan = LeaveOneOut(system, self._alphas if self.is_chosen else [self.value])
        rows = () if system.is_all_rows else (Phi, Y, weights)
        choice = scan.choose(scan.gcv() if self.value == "gcv" else scan.errors(*rows))
        error = float(choice.errors.min()) if self.is_chosen else None
        posterior = self._posterior(scan, choice.alpha, [rows] if rows else None)
        predictions = scan.predictions(choice.alpha, Y, weights, Phi)
        return Solution(choice.readout, choice.alpha, error, posterior), predictions


def _given(alpha, n_targets):
    alpha = np.asarray(alpha, dtype=np.float64)
    if alpha.shape not in ((), (1,), (n_targets,)) or not (alpha >= 0).all():
        raise ValueError(
            f"alpha must be a non-negative number, one for each of the {n_targets} "
            f"target(s), 'loo' or 'gcv'; got an array of shape {alpha.shape}: "
            f"{str(alpha)[:80]}."
        )
    return alpha


def _grid(alphas):
    alphas = np.asarray(alphas, dtype=np.float64)
    if alphas.ndim != 1 or not alphas.size or not (alphas > 0).all():
        raise ValueError(
            f"alphas must hold positive numbers, shape (n_alphas,); got {str(alphas)[:80]}."
        )
    return alphas
