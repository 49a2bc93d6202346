"""The data sets of the comparison, and others that lie in files."""

from pathlib import Path

import numpy as np

from skopu.comparison.problems import (
    CLASSIFICATION,
    MAX_ROWS,
    REGRESSION,
    InputError,
    Problem,
    load_named,
)

SETS = ("boston", "energy", "yacht", "airfoil", "powerplant", "naval", "protein")
SETS += ("eeg", "mocap", "mocap@user2", "miniboo", "credit", "german")
SMALL_SETS = ("boston", "energy", "yacht", "airfoil", "german")


def load(name, folder, max_rows=MAX_ROWS):
    """Return a set of the papers, or the arrays X and y of a file with that name.

    Parameters
    ----------
    name : str
        One of ``SETS``, or of a file ``name.npz``: a target of floats is a regression, one of
        whole numbers their classes.
    folder : str or None
        Where the files are; sets of one's own may be in its subfolder ``more``.
    max_rows : int or None, default=3000
        Rows kept, the first of ``default_rng(0).permutation(n)``; None: all.
    """
    if name in SETS:
        return load_named(name, folder, max_rows)
    with np.load(_find(name, folder)) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"]
    rows = np.random.default_rng(0).permutation(len(y))[:max_rows]
    X, y = X[rows], y[rows]
    if y.dtype.kind == "f":
        return Problem(name, X, y.astype(np.float64), REGRESSION)
    classes, codes = np.unique(y, return_inverse=True)
    return Problem(name, X, codes, CLASSIFICATION, classes=tuple(map(str, classes)))


def _find(name, folder):
    """Return the path of a set's file."""
    paths = [Path(folder or ".", part, f"{name}.npz") for part in ("", "more")]
    for path in paths:
        if path.exists():
            return path
    raise InputError(
        f"{name!r} is no set of the papers ({', '.join(SETS)}), and there is neither "
        f"{paths[0]} nor {paths[1]}, a file with arrays X and y."
    )
