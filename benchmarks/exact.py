"""Exact training against training through the device, as a Markdown table.

Protocol: that of ``protocol.py``; ``mocap@user2`` trains on the rows of users 0 and 1 and tests on
user 2's, ``eeg@full`` takes all rows and ``scaler="quantile"``. Default settings throughout.
Methods: exact training with the closed-form mean at prediction, exact training with ten draws (as
on hardware), End-to-End through the device with leave-one-out or ``quadratic`` and ten draws.
Errors are mean +- sd over seeds; processor time is of ``fit`` and ``predict``; passes are codes
through the device in ``fit``.

    export SKOPU_DATA=folder
    python benchmarks/exact.py
    python benchmarks/exact.py --methods exact-draws,loo-draws --sets boston,energy,yacht
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from protocol import MAX_ROWS, load_problem, split_names, split_numbers
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from skopu import EndToEndOPUClassifier, EndToEndOPURegressor, SupervisedBinarizer
from skopu.comparison.report import format_error

SETS = "boston,energy,yacht,airfoil,powerplant,naval,mocap@user2,eeg,eeg@full,credit,german"
METHODS = {  # gradient and prediction
    "exact-mean": ("exact", "mean"),
    "exact-draws": ("exact", "draws"),
    "loo-draws": ("loo", "draws"),
    "quadratic-draws": ("quadratic", "draws"),
}


def read(folder, name):
    """Return the arrays of a set; classes as integers, quantities as floats."""
    with np.load(Path(folder) / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def split(folder, name, seed):
    """Return training and test rows and targets, standardised on the training part."""
    base, _, part = name.partition("@")
    if part == "user2":
        arrays = read(folder, base)
        rows = np.random.default_rng(0).permutation(len(arrays["y"]))[:MAX_ROWS]
        X, y, held_out = (arrays[key][rows] for key in ("X", "y", "user"))
        train, test = held_out != 2, held_out == 2
        parts = X[train], X[test], y[train], y[test]
    else:
        if part == "full":
            arrays = read(folder, base)
            X, y = arrays["X"], arrays["y"]
        else:
            problem = load_problem(folder, base)
            X, y = problem.X, problem.y
        classes = y if y.dtype.kind in "iu" else None
        parts = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=classes)
    X, X_test, y, y_test = parts
    scaler = StandardScaler().fit(X.astype(np.float64))
    if y.dtype.kind == "f":
        mean, sd = y.mean(), y.std()
        y, y_test = (y - mean) / sd, (y_test - mean) / sd
    return scaler.transform(X), scaler.transform(X_test), y, y_test


def fit(folder, name, method, seed):
    """Return error, seconds and passes of one fit."""
    X, X_test, y, y_test = split(folder, name, seed)
    gradient, prediction = METHODS[method]
    scaler = "quantile" if name.endswith("@full") else "standard"
    model = EndToEndOPURegressor if y.dtype.kind == "f" else EndToEndOPUClassifier
    model = model(
        SupervisedBinarizer(gradient=gradient, scaler=scaler),
        prediction=prediction,
        random_state=seed,
    )
    start = time.process_time()
    predictions = model.fit(X, y).predict(X_test)
    seconds = time.process_time() - start
    wrong = (predictions - y_test) ** 2 if y.dtype.kind == "f" else predictions != y_test
    return np.mean(wrong), seconds, model.n_passes_


def main():
    """Print a markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("SKOPU_DATA"), help="folder of sets")
    parser.add_argument("--sets", type=split_names, default=SETS)
    parser.add_argument("--seeds", type=split_numbers, default="0,1,2")
    names = ",".join(METHODS)
    parser.add_argument("--methods", type=split_names, default="exact-mean,exact-draws", help=names)
    parser.add_argument("--n-jobs", type=int, default=-1)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or the environment variable SKOPU_DATA must name the folder of sets")
    jobs = [(n, m, s) for n in options.sets for m in options.methods for s in options.seeds]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(fit)(options.data, *job) for job in jobs
    )
    found = dict(zip(jobs, tqdm(fits, total=len(jobs), unit="fit", file=sys.stderr)))
    print("| set | method | test error | processor s | device passes |\n|---|---|---|---:|---:|")
    for name in options.sets:
        for method in options.methods:
            errors, seconds, passes = zip(*(found[name, method, s] for s in options.seeds))
            error = format_error(np.mean(errors), np.std(errors, ddof=1))
            cost = f"{np.mean(seconds):.1f} | {np.mean(passes):,.0f}"
            print(f"| {name} | {method} | {error} | {cost} |")


if __name__ == "__main__":
    main()
