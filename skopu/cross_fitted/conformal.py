r"""Intervals and sets that hold a share of new targets, from rows left out.

Cross-conformal prediction: with :math:`f_{-k}` the ensemble that has not seen fold k, and residuals
:math:`R_i = |y_i - f_{-k(i)}(x_i)|`, the interval at x goes from a low quantile over i of
:math:`f_{-k(i)}(x) - R_i` to a high one of :math:`f_{-k(i)}(x) + R_i` (CV+). It holds a new target
with a probability of at least :math:`2c - 1 - (1 - 2/K)/(n/K + 1)` for coverage c, whatever the
distribution, and of about c as a rule (Barber, Candes, Ramdas, Tibshirani, "Predictive inference
with the jackknife+", 2021). Here the average was chosen on the same residuals, which the theorem
does not know.

Where rows come in groups each group counts once, its rows sharing that (Lee, Barber, Willett,
"Distribution-free inference with hierarchical data", 2023).
"""

import numpy as np

from skopu._core.chunks import cached_chunks


class Residuals:
    """Scores of rows left out, with what each counts.

    Parameters
    ----------
    scores : ndarray of shape (n, q)
    folds : ndarray of shape (n,) of int
    weights : ndarray of shape (n,)
    groups : ndarray of shape (n,) of int, or None
    """

    def __init__(self, scores, folds, weights, groups=None):
        self.scores, self.folds = scores, folds
        if groups is not None:
            weights = weights / np.bincount(groups, weights=weights)[groups]
        self.weights = weights
        # A new row counts as one: a group where there are groups, else a row of mean weight.
        self.own_weight = 1.0 if groups is not None else weights.mean()

    def upper(self, predictions, coverage):
        """Return the upper ends (m, q) of intervals about predictions (K, m, q) by each fold.

        They are infinite if there are too few rows for the coverage.
        """
        ends = np.empty(predictions.shape[1:])
        for rows in cached_chunks(len(ends), len(self.scores)):
            for output in range(ends.shape[1]):
                values = predictions[self.folds, rows, output] + self.scores[:, output, None]
                ends[rows, output] = self._quantile(values, coverage)
        return ends

    def lower(self, predictions, coverage):
        """Return the lower ends (m, q)."""
        return -self.upper(-predictions, coverage)

    def _quantile(self, values, coverage):
        """Return the least value (m,) of values (n, m) that a share of the weight is not above."""
        order = np.argsort(values, axis=0)
        reached = np.cumsum(self.weights[order], axis=0)
        needed = coverage * (reached[-1] + self.own_weight)
        # Sums of equal weights must reach what they are to reach.
        place = (reached < needed * (1 - 1e-12)).sum(axis=0)
        sorted_values = np.take_along_axis(values, order, axis=0)
        ends = np.vstack([sorted_values, np.full(values.shape[1], np.inf)])
        return np.take_along_axis(ends, place[None], axis=0)[0]

    def ranks(self, scores):
        """Return p-values (m, c): the share of rows left out whose score is not below.

        Parameters
        ----------
        scores : ndarray of shape (K, m, c)
            Of new rows with each label, by the models of each fold.
        """
        total = np.zeros(scores.shape[1:])
        for fold, own in enumerate(scores):
            members = self.folds == fold
            sorted_scores = np.sort(self.scores[members, 0])
            order = np.argsort(self.scores[members, 0])
            below = np.concatenate([[0.0], np.cumsum(self.weights[members][order])])
            total += below[-1] - below[np.searchsorted(sorted_scores, own, side="left")]
        return (total + self.own_weight) / (self.weights.sum() + self.own_weight)


def check_coverage(coverage):
    """Raise ValueError unless it is a share."""
    if not 0 < coverage < 1:
        raise ValueError(
            f"coverage={coverage!r} must be above 0 and below 1, such as 0.9: the share of new "
            "targets that intervals or sets are to hold."
        )
