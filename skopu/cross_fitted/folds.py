"""Which rows are held out together."""

import numpy as np


def assign_folds(n_rows, n_folds, classes, seed):
    """Return the fold of each row, at random; every class is spread evenly if there are any.

    Parameters
    ----------
    n_rows, n_folds : int
    classes : ndarray of shape (n_rows,) or None
    seed : int

    Returns
    -------
    folds : ndarray of shape (n_rows,) of int
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    folds = np.empty(n_rows, dtype=int)
    folds[order] = np.arange(n_rows) % n_folds
    return folds


def assign_groups(groups, n_folds, seed):
    """Return the fold of each row such that no group is in two, the folds about equally large.

    Parameters
    ----------
    groups : ndarray of shape (n_rows,) of int
        Number of each row's group.
    n_folds : int
        Fewer are made if there are fewer groups.
    seed : int

    Returns
    -------
    folds : ndarray of shape (n_rows,) of int
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = np.zeros(min(n_folds, len(sizes)))
    fold_of = np.empty(len(sizes), dtype=int)
    for group in order:
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups]
