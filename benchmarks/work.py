"""The pieces of work that ``revisions.py`` times, each in a process of its own.

A piece of work is an entry of ``WORK``: adding one takes a name, a data set and two or three short
functions. Only the public interface is used, so that the same file runs on any revision. The
process prints one line of JSON:

    PYTHONPATH=tree python benchmarks/work.py "DFAClassifier, digits/16" arrays.npz --seed 0
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from machine import cpu_seconds, forget_peak, machine, peak_megabytes
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

import skopu
from skopu import (
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    DFAClassifier,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    NeuralDNFClassifier,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu.devices import SimulatedOPU

QUICK_STEPS = 20
WARM_UP_ROWS, WARM_UP_STEPS = 60, 3


@dataclass(frozen=True)
class Work:
    """What is timed, and what is not.

    Parameters
    ----------
    data : str
        A set of ``protocol.py``, with the number of rows to keep after a colon.
    setup : callable
        ``setup(data, seed)`` returns what the work is done on. Not timed.
    work : callable
        ``work(made, data)`` is timed, after a warm-up on a few rows.
    error : callable or None
        ``error(result, data)``: the test error of what the work returned. Not timed.
    loops : int
        How often the work is done; seconds are those of one time.
    is_long : bool
        Whether it is left out unless it is asked for.
    """

    data: str
    setup: Callable
    work: Callable
    error: Callable | None = None
    loops: int = 1
    is_long: bool = False


def fit(model, data):
    """Fit a model to the training part."""
    return model.fit(data.X, data.y)


def error_of(model, data):
    """Error rate, or mean squared error of the standardised target, on the test part."""
    predicted = model.predict(data.X_test)
    if is_classifier(model):
        return float(np.mean(predicted != data.y_test))
    return float(np.mean((predicted - data.y_test) ** 2))


def error_of_codes(binarizer, data):
    """Return the error of ridge on features of the codes, penalty by leave-one-out."""
    ridge = OPUKernelRidgeClassifier if data.y.dtype.kind == "i" else OPUKernelRidge
    readout = make_pipeline(OPURandomFeatures(1024), ridge(alpha="loo"))
    readout.fit(binarizer.transform(data.X), data.y)
    return error_of(make_pipeline(binarizer, readout), data)


def fits(method, sets, make, error=error_of, **options):
    """Return the work of fitting a model, for each of several sets, by name."""
    return {
        f"{method}, {name.partition(':')[0]}": Work(name, make, fit, error, **options)
        for name in sets
    }


def binarizer(data, seed, **options):
    return SupervisedBinarizer(random_state=seed, **options)


def end_to_end(data, seed, **options):
    model = EndToEndOPUClassifier if data.y.dtype.kind == "i" else EndToEndOPURegressor
    return model(random_state=seed, **options)


def exact(data, seed):
    return end_to_end(data, seed, binarizer=SupervisedBinarizer(gradient="exact"))


def chain(data, seed):
    """Return the pipeline of the papers, with its defaults."""
    return Pipeline(
        [
            ("b", SupervisedBinarizer(random_state=seed)),
            ("f", OPURandomFeatures()),
            ("r", OPUKernelRidge(alpha="loo")),
        ]
    )


def cross_fitted(data, seed):
    model = CrossFittedOPUClassifier if data.y.dtype.kind == "i" else CrossFittedOPURegressor
    return model(random_state=seed)


def predicts(method, make, n_rows, loops=1):
    """Return the work of predicting rows by a model that was trained for a few steps."""

    def setup(data, seed):
        rows = np.random.default_rng(seed).integers(len(data.X), size=n_rows)
        noise = 1e-3 * np.random.default_rng(seed).standard_normal((n_rows, data.X.shape[1]))
        return shorten(make(data, seed)).fit(data.X, data.y), data.X[rows] + noise

    def work(made, data):
        return made[0].predict(made[1])

    return {f"{method}, predict {n_rows:,} row(s)": Work("diabetes", setup, work, loops=loops)}


def projection(medium, shape, n_components):
    """Return the work of a device alone."""

    def setup(data, seed):
        codes = np.random.default_rng(seed).integers(0, 2, size=shape, dtype=np.uint8)
        opu = SimulatedOPU(medium=medium)
        opu.project(codes[:1], n_components)  # draws the matrix, which is kept
        return opu, codes

    def work(made, data):
        return made[0].project(made[1], n_components)

    name = f"projection, {medium}, {shape[0]:,} x {shape[1]:,} to {n_components:,}"
    return {name: Work("diabetes", setup, work)}


def linear_ridge(data, seed):
    return OPUKernelRidge(kernel="linear", alpha="loo")


REGRESSIONS, TWO_KINDS = ("diabetes", "energy"), ("diabetes", "energy", "breast_cancer")
WORK = {
    **fits("SupervisedBinarizer", TWO_KINDS, binarizer, error_of_codes),
    **fits("End-to-End", TWO_KINDS, end_to_end),
    **fits("exact", TWO_KINDS, exact),
    **fits("three-step chain", REGRESSIONS, chain),
    **fits(
        "Cross-fitted",
        ("diabetes", "protein:3000", "eeg:3000", "mocap:3000", "26 classes:3000"),
        cross_fitted,
    ),
    **fits(
        "DFAClassifier",
        ["digits/16"],
        lambda data, seed: DFAClassifier((128, 128), max_iter=40, random_state=seed),
    ),
    **fits(
        "NeuralDNFClassifier",
        ["breast_cancer"],
        lambda data, seed: NeuralDNFClassifier(random_state=seed),
    ),
    **fits("ridge, alpha=loo", ["sines:3000"], linear_ridge),
    **projection("gaussian", (8192, 784), 4096),
    **projection("structured", (128, 100_000), 100_000),
    **predicts("End-to-End", end_to_end, 1, loops=50),
    **predicts("End-to-End", end_to_end, 100_000),
    **predicts("Cross-fitted", cross_fitted, 1, loops=50),
    **predicts("Cross-fitted", cross_fitted, 100_000),
    **{
        f"{name}, all rows": work
        for name, work in fits("Cross-fitted", ["protein"], cross_fitted, is_long=True).items()
    },
}


def shorten(model, n_steps=QUICK_STEPS):
    """Return a copy that trains for a few steps, as far as it has a number of steps."""
    steps = [name for name in model.get_params() if name.endswith("max_iter")]
    return clone(model).set_params(**dict.fromkeys(steps, n_steps))


def measure(work, data, seed, quick):
    """Do the work; return seconds, peak memory in MB and the error."""
    warm_up = few_rows(data)
    made = work.setup(warm_up, seed)
    work.work(shorten(made, WARM_UP_STEPS) if hasattr(made, "get_params") else made, warm_up)
    made = work.setup(data, seed)
    if quick and hasattr(made, "get_params"):
        made = shorten(made)
    loops = 1 if quick else work.loops
    forget_peak()
    cpu, wall = cpu_seconds(), time.perf_counter()
    for _ in range(loops):
        result = work.work(made, data)
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    found = {"cpu": cpu / loops, "wall": wall / loops, "peak": peak_megabytes()}
    return {**found, "error": None if work.error is None else work.error(result, data)}


def few_rows(data):
    """Return some training rows, of every class, to import, choose and cache what a fit needs."""
    order = np.argsort(data.y, kind="stable")
    rows = np.unique(order[np.linspace(0, len(order) - 1, WARM_UP_ROWS).astype(int)])
    return SimpleNamespace(X=data.X[rows], y=data.y[rows], X_test=data.X_test, y_test=data.y_test)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=WORK)
    parser.add_argument("arrays", help=".npz file with X, y, X_test and y_test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see it run")
    options = parser.parse_args(argv)
    with np.load(options.arrays) as arrays:
        data = SimpleNamespace(**arrays)
    import torch

    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        found = measure(WORK[options.name], data, options.seed, options.quick)
    tree = str(Path(skopu.__file__).parent.parent)
    print(json.dumps({**found, "tree": tree, "machine": machine()}))


if __name__ == "__main__":
    main()
