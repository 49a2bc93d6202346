"""Fits of every method on every split of every problem."""

import os
import signal
import time
import warnings
from functools import cache
from threading import RLock
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from skopu import SupervisedBinarizer
from skopu.comparison.installed_peers import why_missing
from skopu.comparison.methods import make_estimator
from skopu.comparison.stopping import die_with
from skopu.displays.passes import count_passes
from skopu.exceptions import InterruptedFitWarning


class Record(NamedTuple):
    """One fit: a problem, a method and a split, with what came of it."""

    problem: str
    method: str
    split: int  # seed of the split and of the method
    error: float | None = None  # None if it failed or was left out
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    n_passes: int | None = None  # codes through devices during fit; None without a device
    failure: str | None = None  # the exception
    left_out: str | None = None  # why the method was not tried
    warnings: tuple[str, ...] = ()
    cpu_seconds: float | None = None  # of the fit, in all threads of its process


class Split(NamedTuple):
    """Training and test parts, standardised on the training part."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def split_problem(problem, seed, test_size=0.2):
    """Split a problem and standardise it on the training part.

    Constant columns are divided by 1, and so is a target that is constant in the training
    part. Classes are split in proportion.

    Parameters
    ----------
    problem : Problem
        Data set.
    seed : int
        Seed of ``train_test_split``.
    test_size : float, default=0.2
        Share of the rows held out.

    Returns
    -------
    split : Split
    """
    X, X_test, y, y_test = _parts(problem, seed, test_size)
    steps = [] if problem.preprocessor is None else [clone(problem.preprocessor)]
    scaler = make_pipeline(*steps, StandardScaler())
    X, X_test = scaler.fit_transform(X), scaler.transform(X_test)
    if not problem.is_classification:
        mean, sd = y.mean(), y.std() or 1.0
        y, y_test = (y - mean) / sd, (y_test - mean) / sd
    return Split(X, y, X_test, y_test)


def _parts(problem, seed, test_size):
    """Return the training and test parts of X, then those of y."""
    if problem.is_test is not None:
        X, y, is_test = problem.X, problem.y, problem.is_test
        return X[~is_test], X[is_test], y[~is_test], y[is_test]
    strata = problem.y if problem.is_classification else None
    return train_test_split(
        problem.X, problem.y, test_size=test_size, random_state=seed, stratify=strata
    )


def run(problems, methods, settings, seeds, *, test_size=0.2, n_jobs=-1, skip=frozenset()):
    """Fit every method on every split of every problem.

    Parameters
    ----------
    problems : list of Problem
        Data sets; their names must differ.
    methods : dict of Method
        As in ``METHODS``, or some of it, or more.
    settings : Settings
        Sizes of the methods that use a device.
    seeds : sequence of int
        One split each; also the seed of the methods on that split.
    test_size : float, default=0.2
        Share of the rows held out.
    n_jobs : int, default=-1
        Fits done at the same time; -1: as many as there are cores.
    skip : set of (str, str, int), default=frozenset()
        Problem, method and seed of fits not to make, because their records are there.

    Yields
    ------
    record : Record
        In the order in which fits end. An exception of a fit becomes its ``failure``.
    """
    parent = os.getpid()
    tasks = (
        delayed(_fit_in_worker)(parent, problem, name, method, settings, seed, test_size)
        for problem in problems
        for name, method in methods.items()
        for seed in seeds
        if (problem.name, name, seed) not in skip
    )
    # Closing this generator closes that of joblib, which ends the workers in the midst of a fit.
    yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks)


def fit_once(problem, name, method, settings, seed, test_size=0.2):
    """Fit one method on one split.

    Parameters
    ----------
    problem : Problem
        Data set.
    name : str
        The method's key.
    method : Method
        The method.
    settings : Settings
        Sizes of the methods that use a device.
    seed : int
        Seed of the split and of the method.
    test_size : float, default=0.2
        Share of the rows held out.

    Returns
    -------
    record : Record
    """
    record = Record(problem.name, name, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            record = record._replace(**_measure(problem, method, settings, seed, test_size))
        except Exception as error:
            # Whatever one method does, the others' results must survive.
            record = record._replace(failure=_one_line(error))
    if any(issubclass(warning.category, InterruptedFitWarning) for warning in caught):
        # The estimator finished with what it had; the comparison must stop, not go on.
        raise KeyboardInterrupt
    messages = dict.fromkeys(_one_line(warning.message) for warning in caught)
    return record._replace(warnings=tuple(messages))


def _fit_in_worker(parent, *arguments):
    if os.getpid() != parent:
        _become_worker(parent)
    return fit_once(*arguments)


@cache
def _become_worker(parent):
    # Ctrl-C reaches every process of the terminal: the parent alone deals with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # tqdm's own lock is shared between processes, and leaks when workers are stopped.
    tqdm.set_lock(RLock())
    die_with(parent)


@cache
def _warm_up():
    """Train once in this process: loading torch takes seconds, which are no method's own."""
    SupervisedBinarizer(n_bits=2, n_components=2, max_iter=1).fit(np.eye(4), np.arange(4.0))


def _measure(problem, method, settings, seed, test_size):
    """Fields of a record: times, error and passes of one fit."""
    if why := why_missing(method.needs):
        return {"left_out": why}
    _warm_up()
    split = split_problem(problem, seed, test_size)
    limit = method.max_train_rows
    if limit is not None and len(split.X) > limit:
        return {"left_out": f"left out: n > {limit} (here {len(split.X)} training rows)"}
    estimator = make_estimator(method, problem.task, settings, seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    estimator.fit(split.X, split.y)
    fitted, cpu_seconds = time.perf_counter(), time.process_time() - cpu_start
    n_passes = count_passes(estimator)
    predicted = estimator.predict(split.X_test)
    predict_seconds = time.perf_counter() - fitted
    error = _error(problem, split.y_test, predicted)
    return {
        "error": error,
        "fit_seconds": fitted - start,
        "predict_seconds": predict_seconds,
        "n_passes": n_passes,
        "cpu_seconds": cpu_seconds,
    }


def _error(problem, y, predicted):
    wrong = predicted != y if problem.is_classification else np.square(predicted - y)
    error = float(np.mean(wrong))
    if not np.isfinite(error):
        raise FloatingPointError("predictions are not finite")
    return error


def _one_line(error):
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
