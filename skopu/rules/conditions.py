"""Conditions on one column: what rules are made of."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from skopu._core.cuts import number_text, shortest_between


class Condition(NamedTuple):
    """``X[:, feature] operator value`` with operator "<=", ">" or "="."""

    feature: int
    operator: str
    value: float

    def holds(self, X):
        """Return where the condition is true, shape (n,)."""
        x = column(X, self.feature)
        if self.operator == "=":
            return x == self.value
        return x <= self.value if self.operator == "<=" else x > self.value

    def text(self, names):
        """Return the condition with the name of its column and its value in full."""
        return f"{names[self.feature]} {self.operator} {number_text(self.value)}"


def column(X, feature):
    """Return a column of a dense or CSC matrix, shape (n,)."""
    return X[:, [feature]].toarray().ravel() if issparse(X) else X[:, feature]


def make_conditions(X, weights, n_thresholds):
    """Return the conditions that rules may use, each followed by its negation.

    A column of two whole numbers, such as an indicator, is asked for one or the other; any
    other is compared with ``n_thresholds`` cuts at its quantiles; a constant one is left out.

    Parameters
    ----------
    X : ndarray or CSC matrix of shape (n, d)
    weights : ndarray of shape (n,)
        Weights of the rows, for the quantiles.
    n_thresholds : int

    Returns
    -------
    conditions : list of Condition
    """
    conditions = []
    for feature in range(X.shape[1]):
        values, inverse = np.unique(column(X, feature), return_inverse=True)
        if len(values) == 2 and (values == np.rint(values)).all():
            conditions += [Condition(feature, "=", float(v)) for v in values[::-1]]
            continue
        shares = np.cumsum(np.bincount(inverse, weights=weights))
        for cut in _cuts(values, shares / shares[-1], n_thresholds):
            conditions += [Condition(feature, operator, cut) for operator in (">", "<=")]
    return conditions


def condition_matrix(X, conditions):
    """Return the truth of conditions as zeros and ones, uint8 of shape (n, K)."""
    truths = np.empty((X.shape[0], len(conditions)), dtype=np.uint8)
    for number, condition in enumerate(conditions):
        truths[:, number] = condition.holds(X)
    return truths


def _cuts(values, shares, n_thresholds):
    """Cuts between distinct sorted values, at those nearest to evenly spaced quantiles."""
    if len(values) <= n_thresholds + 1:
        below = np.arange(len(values) - 1)
    else:
        levels = np.arange(1, n_thresholds + 1) / (n_thresholds + 1)
        # The share of rows at or below each value but the last, nearest to each level.
        below = np.unique(np.abs(shares[:-1, None] - levels).argmin(axis=0))
    return [shortest_between(values[i], values[i + 1]) for i in below]
