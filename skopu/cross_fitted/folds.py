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
