"""Bits of grown trees: the splits of a boosted ensemble, or the leaves of a forest."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skopu._core.cuts import number_text, shortest_between
from skopu._core.interrupts import restoring


class SplitBits(NamedTuple):
    """Bit j is ``X[:, columns[j]] <= thresholds[j]``; ordered by column, then by threshold.

    Attributes
    ----------
    columns : ndarray of shape (k,) of int
    thresholds : ndarray of shape (k,)
    gains : ndarray of shape (k,)
        What each split took off the loss, over all trees that have it; they add up to 1.
    """

    columns: np.ndarray
    thresholds: np.ndarray
    gains: np.ndarray

    @property
    def n_bits(self):
        """k, number of bits."""
        return len(self.columns)

    @property
    def n_splits(self):
        """Number of splits."""
        return len(self.columns)

    def shares(self, n_columns):
        """Return each column's share (n_columns,) of the gains."""
        return np.bincount(self.columns, self.gains, n_columns)

    def attributes(self):
        """Return what the binarizer shows of them."""
        return {f"{name}_": part for name, part in self._asdict().items()}

    def dense(self, X):
        """Return booleans (n, k) of rows."""
        values = X[:, self.columns]
        return (values.toarray() if issparse(values) else values) <= self.thresholds

    def sparse(self, X):
        """Return the same as a CSR matrix."""
        return csr_matrix(self.dense(X), dtype=np.uint8)

    def names(self, columns):
        """Return what each bit says, given the names of the columns."""
        cuts = zip(self.columns, self.thresholds)
        return [f"{columns[column]} <= {number_text(cut)}" for column, cut in cuts]


class LeafBits:
    """Bit j is whether a row falls into leaf j, the leaves of all trees in a row.

    Parameters
    ----------
    forest : fitted forest of scikit-learn
    """

    def __init__(self, forest):
        self.forest = forest
        is_leaf = [tree.children_left < 0 for tree in self._trees()]
        # Of each tree's first node among those of all, and each node's bit if it is a leaf.
        self._starts = np.cumsum([0, *map(len, is_leaf[:-1])])[:, None]
        self._bits = np.cumsum(np.concatenate(is_leaf)) - 1
        self.n_bits = int(self._bits[-1]) + 1

    @property
    def n_splits(self):
        """Number of splits of all trees."""
        return self.n_bits - len(self._starts)

    def shares(self, n_columns):
        """Return each column's share (n_columns,) of the gains."""
        return self.forest.feature_importances_

    def attributes(self):
        """Return what the binarizer shows of them."""
        return {"forest_": self.forest}

    def _trees(self):
        return [grown.tree_ for grown in self.forest.estimators_]

    def places(self, X):
        """Return the bits that are 1, (n, t): a row's leaf in each of the trees."""
        # The forest's own method makes a job of each tree: one row then takes forty times as long.
        with np.errstate(over="ignore"):  # what is beyond float32 is beyond every cut
            X = (csr_matrix if issparse(X) else np.ascontiguousarray)(X, dtype=np.float32)
        leaves = np.stack([tree.apply(X) for tree in self._trees()])
        return self._bits[leaves + self._starts].T

    def sparse(self, X):
        """Return codes as a CSR matrix (n, k), of as many ones a row as there are trees."""
        places = self.places(X)
        ones = np.ones(places.size, dtype=np.uint8)
        starts = np.arange(len(places) + 1) * len(self._starts)
        return csr_matrix((ones, places.ravel(), starts), shape=(len(places), self.n_bits))

    def dense(self, X):
        """Return the same as an array."""
        return self.sparse(X).toarray()

    def names(self, columns):
        """Return what each bit says: its tree, and the bounds on the way to the leaf."""
        paths = [
            (number, bounds)
            for number, tree in enumerate(self._trees())
            for bounds in _bounds_of_leaves(tree)
        ]
        # Cuts are drawn at random: digits beyond the sixth seldom say anything.
        for digits in (6, 17):
            names = [f"tree {n}: {_bounds_text(bounds, columns, digits)}" for n, bounds in paths]
            if len(set(names)) == len(names):
                break
        return names


def _bounds_of_leaves(tree):
    """Return, for each leaf in the order of its number, {column: (above, up to)}."""
    found, waiting = {}, [(0, {})]
    while waiting:
        node, bounds = waiting.pop()
        if tree.children_left[node] < 0:
            found[node] = bounds
            continue
        column, cut = int(tree.feature[node]), float(tree.threshold[node])
        low, high = bounds.get(column, (-np.inf, np.inf))
        waiting.append((tree.children_left[node], {**bounds, column: (low, min(high, cut))}))
        waiting.append((tree.children_right[node], {**bounds, column: (max(low, cut), high)}))
    return [found[leaf] for leaf in sorted(found)]


def _bounds_text(bounds, columns, digits):
    parts = []
    for column, (low, high) in sorted(bounds.items()):
        name, low_text, high_text = columns[column], f"{low:.{digits}g}", f"{high:.{digits}g}"
        if high == np.inf:
            parts.append(f"{name} > {low_text}")
        else:
            parts.append(f"{low_text} < " * (low > -np.inf) + f"{name} <= {high_text}")
    return " and ".join(parts)


def split_bits(rows, loss, settings, seed):
    """Grow a boosted ensemble and return the ``SplitBits`` of most gain.

    Parameters
    ----------
    rows : Rows
    loss : {"squared_error", "cross_entropy"}
    settings : object
        With ``n_bits``, ``n_estimators``, ``max_depth`` and ``min_samples_leaf``, all numbers (or
        None).
    seed : int
    """
    X = rows.X.toarray() if issparse(rows.X) else rows.X
    gains = {}
    for ensemble in _boost(X, rows, loss, settings, seed):
        # The public estimator has no way to its trees; scikit-learn reads these itself. The ones
        # of GradientBoosting are public and take a hundred times as long at 20,000 rows.
        nodes = [tree.nodes for trees in ensemble._predictors for tree in trees]
        nodes = np.concatenate(nodes)
        nodes = nodes[~nodes["is_leaf"].astype(bool)]
        for node in nodes:
            place = int(node["feature_idx"]), float(node["num_threshold"])
            gains[place] = gains.get(place, 0.0) + float(node["gain"])
    chosen = sorted(sorted(gains, key=lambda place: (-gains[place], place))[: settings.n_bits])
    total = sum(gains[place] for place in chosen)
    return SplitBits(
        np.array([column for column, _ in chosen], dtype=np.int64),
        _readable(X, chosen),
        np.array([gains[place] / total for place in chosen]),
    )


def _boost(X, rows, loss, settings, seed):
    """Yield fitted ensembles: one of a classifier, or one for each output."""
    options = {
        "max_iter": settings.n_estimators,
        "max_depth": settings.max_depth,
        "min_samples_leaf": settings.min_samples_leaf,
        "early_stopping": False,
        "random_state": seed,
    }
    # Weighted quantiles take 26 ms a column at 480 rows, where there are no weights 30 times less.
    weights = None if (rows.weights == rows.weights[0]).all() else rows.weights
    if loss == "cross_entropy":
        labels = rows.Y.argmax(axis=1)
        yield _grown(HistGradientBoostingClassifier(**options), X, labels, weights)
        return
    for targets in rows.Y.T:
        yield _grown(HistGradientBoostingRegressor(**options), X, targets, weights)


def _grown(ensemble, *rows):
    """Fit an ensemble of scikit-learn's, which may do so in threads.

    Each thread empties the filters of warnings, makes them anew and puts back what was there; of
    several the last may leave another's, or empty those of the caller. So they are given a copy.
    """
    with restoring(warnings.catch_warnings):
        return ensemble.fit(*rows)


def _readable(X, places):
    """Return thresholds of few digits that separate the same rows, for (column, cut)s."""
    cuts, number, values = np.empty(len(places)), None, None
    for i, (column, cut) in enumerate(places):
        if column != number:
            number, values = column, np.unique(X[:, column])
        after = np.searchsorted(values, cut, side="right")
        cuts[i] = shortest_between(*values[after - 1 : after + 1].astype(np.float64))
    return cuts


def leaf_bits(rows, settings, seed):
    """Grow a forest and return its ``LeafBits``.

    Squared error of columns of zeros and ones is, for classes, what Gini's impurity is: one kind
    of forest does for all targets. Parameters as those of ``split_bits``.
    """
    n_trees = min(settings.n_estimators, settings.n_bits // 2)
    forest = ExtraTreesRegressor(
        n_trees,
        max_depth=settings.max_depth,
        max_leaf_nodes=settings.n_bits // n_trees,
        min_samples_leaf=settings.min_samples_leaf,
        random_state=seed,
    )
    targets = rows.Y[:, 0] if rows.Y.shape[1] == 1 else rows.Y
    # A weight of 2 leaves the last bit of a standardised target other than a row given twice does,
    # and where rows are few that bit decides between splits that are as good.
    targets = targets.astype(np.float32).astype(np.float64)
    return LeafBits(_grown(forest, rows.X, targets, rows.weights))
