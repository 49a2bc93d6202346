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

import sys
import time

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, end_to_end, make_parser, mean_error, resolve, split, split_names
from tqdm import tqdm

from skopu import SupervisedBinarizer
from skopu.comparison.report import format_error

SETS = "boston,energy,yacht,airfoil,powerplant,naval,mocap@user2,eeg,eeg@full,credit,german"
METHODS = {  # gradient and prediction
    "exact-mean": ("exact", "mean"),
    "exact-draws": ("exact", "draws"),
    "loo-draws": ("loo", "draws"),
    "quadratic-draws": ("quadratic", "draws"),
}


def fit(folder, name, method, seed):
    """Return error, seconds and passes of one fit."""
    X, X_test, y, y_test = split(folder, name, seed)
    gradient, prediction = METHODS[method]
    scaler = "quantile" if name.endswith("@full") else "auto"
    binarizer = SupervisedBinarizer(gradient=gradient, scaler=scaler)
    model = end_to_end(y, binarizer, prediction=prediction, random_state=seed)
    start = time.process_time()
    predictions = model.fit(X, y).predict(X_test)
    seconds = time.process_time() - start
    return mean_error(predictions, y_test), seconds, model.n_passes_


def main():
    """Print a markdown table."""
    parser = add_runs(make_parser(__doc__, SETS))
    names = ",".join(METHODS)
    parser.add_argument("--methods", type=split_names, default="exact-mean,exact-draws", help=names)
    options = resolve(parser)
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
