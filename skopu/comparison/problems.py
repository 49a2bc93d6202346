"""What methods are compared on: data sets, checked for splitting."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from skopu.datasets import load_dataset

CLASSIFICATION, REGRESSION = "classification", "regression"
MAX_ROWS = 3000  # of a set by name, as in the published comparisons of these
LARGEST = 1e150  # numbers are squared, and sums of squares must be finite
_MIN_ROWS = 20  # fewer leave no room for five folds inside the training part

_BUNDLED = {
    "diabetes": (load_diabetes, REGRESSION),
    "breast_cancer": (load_breast_cancer, CLASSIFICATION),
    "wine": (load_wine, CLASSIFICATION),
    "digits": (load_digits, CLASSIFICATION),
    "iris": (load_iris, CLASSIFICATION),
}
BUNDLED = tuple(_BUNDLED)


class InputError(ValueError):
    """Input with which no comparison can be made; the message is one line for the user."""


@dataclass(frozen=True)
class Problem:
    """A data set with its task.

    Parameters
    ----------
    name : str
        How reports call it.
    X : ndarray or DataFrame of shape (n_samples, n_columns)
        Rows. The runner standardises the columns on the training part of each split.
    y : ndarray of shape (n_samples,)
        Floats for regression, class numbers for classification.
    task : {"classification", "regression"}
        What is predicted.
    preprocessor : transformer or None, default=None
        Makes numbers of X. It is cloned and fitted on the training part of each split.
    classes : tuple of str, default=()
        Labels of the class numbers, for messages.
    notes : tuple of str, default=()
        What was done to the data, for the user.
    is_test : ndarray of shape (n_samples,) of bool, or None, default=None
        Rows that are held out whatever the split; None: they are drawn at random.
    """

    name: str
    X: object
    y: np.ndarray
    task: str
    preprocessor: object = None
    classes: tuple = ()
    notes: tuple = ()
    is_test: np.ndarray | None = None

    @property
    def is_classification(self):
        """Whether classes are predicted."""
        return self.task == CLASSIFICATION

    @property
    def error_name(self):
        """The error that is measured."""
        return "error rate" if self.is_classification else "MSE of the standardised target"

    def with_note(self, note, **changes):
        """Return a copy with one more note and with ``changes``."""
        return replace(self, notes=(*self.notes, note), **changes)


def load_bundled(name):
    """Load a data set that comes with scikit-learn.

    Parameters
    ----------
    name : str
        One of ``BUNDLED``.

    Returns
    -------
    problem : Problem
    """
    load, task = _BUNDLED[name]
    X, y = load(return_X_y=True)
    classes = tuple(map(str, np.unique(y))) if task == CLASSIFICATION else ()
    return Problem(name, X, y, task, classes=classes)


def load_named(name, data_home=None, max_rows=MAX_ROWS):
    """Load a data set of the papers, by name.

    Parameters
    ----------
    name : str
        Of :func:`skopu.datasets.load_dataset`; "mocap@user2" holds out the rows of the last
        user.
    data_home : str or None, default=None
        Folder of the files; None: as ``load_dataset`` finds them.
    max_rows : int or None, default=3000
        Rows kept, the first of ``default_rng(0).permutation(n)``; None: all. Small sets are
        permuted too, since the splits of a seed depend on the order of the rows.

    Returns
    -------
    problem : Problem
    """
    data = load_dataset(name.partition("@")[0], data_home=data_home)
    X, y = np.asarray(data.data, dtype=np.float64), data.target
    rows = np.random.default_rng(0).permutation(len(y))[:max_rows]
    X, y = X[rows], y[rows]
    is_test = data.user[rows] == data.user.max() if name.endswith("@user2") else None
    if y.dtype.kind == "f":
        return Problem(name, X, y.astype(np.float64), REGRESSION)
    classes, codes = np.unique(y, return_inverse=True)
    labels = tuple(map(str, classes))
    return Problem(name, X, codes, CLASSIFICATION, classes=labels, is_test=is_test)


def subsample(problem, max_rows, seed=0):
    """Keep at most ``max_rows`` random rows, and say so in a note.

    Parameters
    ----------
    problem : Problem
        Data set.
    max_rows : int
        Rows to keep; a smaller set is returned as it is.
    seed : int, default=0
        The rows are the first of ``default_rng(seed).permutation(n)``.

    Returns
    -------
    problem : Problem
    """
    n_rows = len(problem.y)
    if n_rows <= max_rows:
        return problem
    rows = np.random.default_rng(seed).permutation(n_rows)[:max_rows]
    X = problem.X.iloc[rows] if hasattr(problem.X, "iloc") else problem.X[rows]
    note = f"{max_rows} of {n_rows} rows are used, drawn at random (change with --max-rows)."
    is_test = None if problem.is_test is None else problem.is_test[rows]
    return problem.with_note(note, X=X, y=problem.y[rows], is_test=is_test)


def check_splittable(problem, test_size):
    """Raise ``InputError`` if the rows cannot be split and learned from.

    Parameters
    ----------
    problem : Problem
        Data set.
    test_size : float
        Share of the rows held out by each split.
    """
    n_rows = len(problem.y)
    if n_rows < _MIN_ROWS:
        raise InputError(
            f"{problem.name} has {n_rows} usable row(s), and a comparison needs {_MIN_ROWS} or "
            "more: add rows."
        )
    if problem.is_classification:
        _check_classes(problem, n_test=int(np.ceil(test_size * n_rows)))
    elif np.abs(problem.y).max() >= LARGEST:
        raise InputError(
            f"the target of {problem.name} holds numbers of {LARGEST:g} and more, whose squares "
            "overflow: give it in larger units."
        )
    elif np.ptp(problem.y) == 0:
        raise InputError(
            f"the target of {problem.name} is constant ({problem.y[0]:g} in every row), so "
            "there is nothing to predict: choose another --target."
        )


def _check_classes(problem, n_test):
    """Stratified splits need two rows of each class, and room for each class in both parts."""
    numbers, counts = np.unique(problem.y, return_counts=True)
    labels = [problem.classes[number] for number in numbers]
    if len(labels) == 1:
        raise InputError(
            f"the target of {problem.name} has one class only ({labels[0]!r} in every row), so "
            "there is nothing to predict: choose another --target."
        )
    single = [label for label, count in zip(labels, counts) if count == 1]
    if single:
        raise InputError(
            f"{len(single)} of the {len(labels)} classes of {problem.name} have a single row "
            f"(such as {single[0]!r}), which cannot be both learned and tested: remove or merge "
            "them, raise --max-rows if it left out the others, or use --task regression if the "
            "target is a quantity."
        )
    if len(labels) > min(n_test, len(problem.y) - n_test):
        raise InputError(
            f"{problem.name} has {len(labels)} classes but only {n_test} of {len(problem.y)} "
            "rows in the test part: change --test-size, or merge classes."
        )
