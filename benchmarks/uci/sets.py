"""The data sets of the comparison, as problems."""

import numpy as np
from skopu.datasets import load_dataset

from skopu.comparison.problems import CLASSIFICATION, REGRESSION, Problem

REGRESSION_SETS = ("boston", "energy", "yacht", "airfoil", "powerplant", "naval", "protein")
CLASSIFICATION_SETS = ("eeg", "mocap", "mocap@user2", "miniboo", "credit", "german")
SETS = REGRESSION_SETS + CLASSIFICATION_SETS
SMALL_SETS = ("boston", "energy", "yacht", "airfoil", "german")
MAX_ROWS = 3000


def load_problem(folder, name, max_rows=MAX_ROWS):
    """Return a problem.

    Parameters
    ----------
    folder : str or None
        Where the files are; None: as ``skopu.datasets`` finds them.
    name : str
        Of a data set; ``mocap@user2`` trains on the first two users and tests on the third.
    max_rows : int or None, default=3000
        Rows kept, the first of ``numpy.random.default_rng(0).permutation(n)``; None: all, in
        that order too, since the splits of a seed depend on the order of the rows.
    """
    data = load_dataset(name.partition("@")[0], data_home=folder)
    X, y = np.asarray(data.data, dtype=np.float64), data.target
    rows = np.random.default_rng(0).permutation(len(y))[:max_rows]
    X, y = X[rows], y[rows]
    is_test = data.user[rows] == data.user.max() if name.endswith("@user2") else None
    if y.dtype.kind == "f":
        return Problem(name, X, y.astype(np.float64), REGRESSION)
    classes, codes = np.unique(y, return_inverse=True)
    labels = tuple(map(str, classes))
    return Problem(name, X, codes, CLASSIFICATION, classes=labels, is_test=is_test)
