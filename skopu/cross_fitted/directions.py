"""A few targets in the place of many, for encoders only."""

import numpy as np
from scipy import linalg

MAX_DIRECTIONS = 8
_ENOUGH = 0.95  # share of the targets' variance with which principal directions suffice


def few_directions(Y, weights, seed):
    """Return at most eight combinations of targets, from which codes learn what matters to all.

    The cost of training grows with the number of outputs, while codes serve every output alike:
    readouts for all of them are solved afterwards at once. Correlated quantities have a few
    principal directions, and those are taken; targets of many classes have none, and get random
    ones of equal weight: each tells half of the classes from the other half, as a code that
    corrects errors does (Dietterich and Bakiri, "Solving multiclass learning problems via
    error-correcting output codes", 1995).

    Parameters
    ----------
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    seed : int

    Returns
    -------
    targets : ndarray of shape (n, min(q, 8))
        Y itself if q is at most 8; otherwise of mean 0, the largest variance being 1.
    """
    n_outputs = Y.shape[1]
    if n_outputs <= MAX_DIRECTIONS:
        return Y
    share = weights / weights.sum()
    centred = Y - share @ Y
    values, vectors = linalg.eigh((centred.T * share) @ centred)
    directions = vectors[:, -MAX_DIRECTIONS:]
    if values[-MAX_DIRECTIONS:].sum() < _ENOUGH * values.sum():
        directions = _random_halves(n_outputs, seed)
    targets = centred @ directions
    # One scale for all: a direction in which nothing varies must not be blown up.
    return targets / (np.sqrt(share @ np.square(targets)).max() or 1.0)


def _random_halves(n_outputs, seed):
    """Signs (q, 8), half of them positive in each column, no column the other's opposite."""
    rng = np.random.default_rng(seed)
    halves = np.where(np.arange(n_outputs) < n_outputs // 2, 1.0, -1.0)
    columns = []
    while len(columns) < MAX_DIRECTIONS:
        column = rng.permutation(halves)
        if all(abs(column @ other) < n_outputs for other in columns):
            columns.append(column)
    return np.column_stack(columns)
