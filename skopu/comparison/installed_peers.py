"""Peers of other packages, which ``pip install skopu[peers]`` brings; each with its defaults."""

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from sklearn.base import BaseEstimator, clone

from skopu.comparison.problems import CLASSIFICATION

_LOGGERS = ("lightning", "lightning.pytorch", "pytorch_lightning")


class QuietPeer(BaseEstimator):
    """An estimator that prints nothing, and whose predictions are one number a row.

    xRFM and RealMLP print every round; CatBoost predicts a column where classes are three or more.

    Parameters
    ----------
    estimator : estimator
        Fitted to the rows as they are.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        """Fit the estimator."""
        with _silence():
            self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def predict(self, X):
        """Predict labels or targets, shape (n,)."""
        with _silence():
            return np.ravel(self.estimator_.predict(X))


@contextmanager
def _silence():
    """Drop what is printed, logged below errors, or warned of for other programmers."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        yield


def make_catboost(task, settings, seed):
    """Return CatBoost, which writes no files."""
    catboost = _import("catboost")
    kind = catboost.CatBoostClassifier if task == CLASSIFICATION else catboost.CatBoostRegressor
    return QuietPeer(
        kind(random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False)
    )


def make_xrfm(task, settings, seed):
    """Return xRFM by pytabkit's default settings."""
    return _of_pytabkit("XRFM_D", task, seed)


def make_realmlp(task, settings, seed):
    """Return RealMLP by pytabkit's default settings."""
    return _of_pytabkit("RealMLP_TD", task, seed)


def _of_pytabkit(name, task, seed):
    suffix = "Classifier" if task == CLASSIFICATION else "Regressor"
    kind = getattr(_import("pytabkit"), f"{name}_{suffix}")
    return QuietPeer(kind(device="cpu", random_state=seed, n_threads=1))


def _import(package):
    with _silence():
        return import_module(package)


def why_missing(packages):
    """Return a sentence on the packages that are not installed, or None.

    Parameters
    ----------
    packages : sequence of str
        By the names they are imported by.

    Returns
    -------
    why : str or None
    """
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return None
    return f"left out: {' and '.join(missing)} not installed: pip install skopu[peers]"
