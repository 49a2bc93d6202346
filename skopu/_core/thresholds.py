"""Thresholds on columns: how many each gets, and where they cut."""

import numpy as np


def quantile_thresholds(X, n_bits):
    """Return columns and thresholds of at most so many bits, shared out over the columns of X.

    There are fewer if fewer tell all values of all columns (n, d) apart.
    """
    columns = [distinct_values(column, np.ones(len(X))) for column in X.T]
    shares = share_out(n_bits, [len(values) - 1 for values, _ in columns])
    cuts = [quantile_cuts(*column, share) for column, share in zip(columns, shares)]
    return np.repeat(np.arange(X.shape[1]), shares), np.concatenate(cuts)


def share_out(n_bits, capacities):
    """Return how many of the bits each column gets: even shares, none above its capacity.

    A bit that is left over goes to the column of the largest capacity, the first of several.
    """
    capacities = np.asarray(capacities)
    shares = np.zeros_like(capacities)
    open_columns = np.argsort(-capacities, kind="stable")
    left = n_bits
    while left:
        open_columns = open_columns[shares[open_columns] < capacities[open_columns]]
        if not len(open_columns):
            break
        rise = max(1, left // len(open_columns))
        raised = open_columns[:left]
        grown = np.minimum(shares[raised] + rise, capacities[raised])
        left -= int((grown - shares[raised]).sum())
        shares[raised] = grown
    return shares


def distinct_values(values, weights):
    """Return the different values of weight above 0, ascending, and their weights."""
    kept = weights > 0
    values, groups = np.unique(values[kept].astype(np.float64), return_inverse=True)
    return values, np.bincount(groups, weights=weights[kept], minlength=len(values))


def quantile_cuts(values, weights, n_cuts):
    """Return cuts between values, near the levels j / (n_cuts + 1) and all different."""
    below = np.cumsum(weights)[:-1] / weights.sum()
    wanted = np.arange(1, n_cuts + 1) / (n_cuts + 1)
    after = np.searchsorted(below, wanted).clip(0, len(below) - 1)
    before = (after - 1).clip(0)
    gaps = np.where(wanted - below[before] < below[after] - wanted, before, after)
    # Levels that fall on the same gap, as on a frequent value, move to its neighbours.
    steps = np.arange(n_cuts)
    gaps = np.maximum.accumulate(gaps - steps) + steps
    return between_values(values, np.minimum(gaps, len(below) - n_cuts + steps))


def between_values(values, gaps):
    """Return a number not below value i and below value i + 1, for each gap i."""
    low, high = values[gaps], values[gaps + 1]
    middle = low / 2 + high / 2
    # Half-way between neighbouring floats may round up to the larger one.
    return np.where(middle < high, middle, low)
