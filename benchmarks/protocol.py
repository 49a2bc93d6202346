"""What the studies in this folder share: protocol, data sets and options.

Protocol: at most 3000 rows, the first of ``numpy.random.default_rng(0).permutation(n)``; seeds
0, 1, 2 for ``train_test_split(test_size=0.2)`` and for the methods; classes split in proportion;
columns (and the target of a regression) standardised on the training part, constant columns
divided by 1. Errors: mean squared error of the standardised target, or error rate. The comparison
of all methods under it is ``uci/run.py``.
"""

import argparse
import json
import os
from contextlib import suppress

import numpy as np
from sklearn.datasets import load_digits, make_classification

from skopu import EndToEndOPUClassifier, EndToEndOPURegressor
from skopu.comparison.problems import (
    BUNDLED,
    CLASSIFICATION,
    MAX_ROWS,
    REGRESSION,
    Problem,
    load_bundled,
    load_named,
    subsample,
)
from skopu.comparison.runner import split_problem


def load_problem(folder, name, max_rows=MAX_ROWS):
    """Return a data set with the rows that the protocol asks for.

    Parameters
    ----------
    folder : str or None
        Of the sets that do not come with scikit-learn and are not made.
    name : str
        One that comes with scikit-learn, one of ``MADE``, or one of the papers.
    max_rows : int, str or None, default=3000
        Rows kept; None or "": all, as for a name that ends with "@full".
    """
    name, _, part = name.partition("@full")
    max_rows = int(max_rows) if max_rows and not part else None
    if name in BUNDLED or name in MADE:
        problem = MADE[name]() if name in MADE else load_bundled(name)
        return problem if max_rows is None else subsample(problem, max_rows)
    return load_named(name, folder, max_rows)


def split(folder, name, seed, max_rows=MAX_ROWS):
    """Return training and test rows and targets, standardised on the training part.

    They come as X, X_test, y, y_test, in the order of ``train_test_split``.
    """
    parts = split_problem(load_problem(folder, name, max_rows), seed)
    return parts.X, parts.X_test, parts.y, parts.y_test


def end_to_end(y, binarizer, **options):
    """Return the end-to-end model for these targets."""
    model = EndToEndOPUClassifier if is_classification(y) else EndToEndOPURegressor
    return model(binarizer, **options)


def is_classification(y):
    """Whether the targets are numbers of classes."""
    return y.dtype.kind in "iu"


def mean_error(predictions, y):
    """Error rate, or mean squared error."""
    wrong = predictions != y if is_classification(y) else (predictions - y) ** 2
    return float(np.mean(wrong))


def sines():
    """Return rows with many columns and a smooth target, for ridge regression."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 1024))
    y = np.sin(X[:, :8]).sum(1) + X @ rng.standard_normal(1024) / 32 + rng.standard_normal(4000)
    return Problem("sines", X, y, REGRESSION)


def many_classes():
    """Return 26 classes in 16 columns: the size of UCI's letters."""
    X, y = make_classification(
        4000, 16, n_informative=12, n_classes=26, n_clusters_per_class=1, random_state=0
    )
    return Problem("26 classes", X, y, CLASSIFICATION, classes=tuple(map(str, range(26))))


def few_pixels():
    """Return the digits of scikit-learn with pixels from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return Problem("digits/16", X / 16, y, CLASSIFICATION, classes=tuple(map(str, range(10))))


MADE = {"sines": sines, "26 classes": many_classes, "digits/16": few_pixels}


def make_parser(description, sets):
    """Return a parser of the options that studies share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKOPU_DATA")
    parser.add_argument("--data", default=data, help="folder of .npz files (default: $SKOPU_DATA)")
    parser.add_argument("--sets", type=split_names, default=sets, help="default: %(default)s")
    return parser


def add_runs(parser):
    """Add the options of a study of several fits a set."""
    parser.add_argument("--seeds", type=split_numbers, default="0,1,2", help="default: %(default)s")
    parser.add_argument("--n-jobs", type=int, default=-1, help="fits at a time; -1: one a core")
    return parser


def resolve(parser, argv=None):
    """Read the command line."""
    options = parser.parse_args(argv)
    if options.data is None:
        parser.error("--data or the environment variable SKOPU_DATA must name the folder of sets")
    return options


def read_entries(path):
    """Yield the objects of a file of one JSON object a line, without lines that were cut."""
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def split_names(text):
    """Return comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def split_numbers(text):
    """Return comma-separated whole numbers."""
    return [int(number) for number in split_names(text)]
