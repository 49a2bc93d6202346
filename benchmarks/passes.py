"""What a pass buys: error against the passes that a row takes, through a device.

A cross-fitted ensemble shows from one thresholded code to eight codes of ten draws each;
End-to-End, trained by REINFORCE, one code of as many draws as there are passes; beside them the
ensemble in closed form and kernel ridge, tuned, which take none. D = 4096 features a code.

Every cell is a fit of its own: with default budgets, thirteen sets and three seeds this takes
hours. ``--max-iter`` and ``--max-rows`` make it short.
"""

import sys

import numpy as np
from joblib import Parallel, delayed
from protocol import (
    add_runs,
    end_to_end,
    is_classification,
    make_parser,
    mean_error,
    resolve,
    split,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from tqdm import tqdm

from skopu import CrossFittedOPUClassifier, CrossFittedOPURegressor, SupervisedBinarizer
from skopu.devices import Camera, SimulatedOPU

SETS = "boston,energy,yacht,powerplant,protein,naval,airfoil,eeg,mocap,mocap@user2,miniboo,credit"
SETS += ",german"
# Passes a row: codes and draws of each, None for the threshold.
SHOWN = {1: (1, None), 2: (2, None), 5: (5, None), 10: (5, 2), 20: (4, 5), 80: (8, 10)}
DEVICES = {
    "simulated": SimulatedOPU,
    "structured": lambda: SimulatedOPU(medium="structured"),
    "camera": lambda: SimulatedOPU(camera=Camera()),
}


def ensemble(y, options, seed, **settings):
    """Return a cross-fitted ensemble for these targets."""
    model = CrossFittedOPUClassifier if is_classification(y) else CrossFittedOPURegressor
    device = DEVICES[options.device]()
    settings.update(max_iter=options.max_iter or "auto", random_state=seed)
    return model(opu=device, **settings)


def kernel_ridge(y, n_columns):
    """Return tuned kernel ridge on targets; of classes, on one column each."""
    grid = {"alpha": np.logspace(-8, 1, 10), "gamma": np.logspace(-2, 1, 7) / n_columns}
    return GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=5)


def make(method, passes, y, n_columns, options, seed):
    """Return the estimator of a row of the table."""
    if method == "Cross-fitted":
        if not passes:
            return ensemble(y, options, seed)
        n_codes, n_draws = SHOWN[passes]
        prediction = "threshold" if n_draws is None else "draws"
        shown = {"prediction": prediction, "n_codes": n_codes, "n_draws": n_draws or 1}
        return ensemble(y, options, seed, **shown)
    if method == "kernel ridge":
        return kernel_ridge(y, n_columns)
    binarizer = SupervisedBinarizer(
        n_components=4096, max_iter=options.max_iter or 3000, opu=DEVICES[options.device]()
    )
    prediction = "threshold" if passes == 1 else "draws"
    return end_to_end(y, binarizer, prediction=prediction, n_draws=passes, random_state=seed)


def measure(name, method, passes, seed, options):
    """Return the test error of one fit."""
    X, X_test, y, y_test = split(options.data, name, seed, options.max_rows)
    model = make(method, passes, y, X.shape[1], options, seed)
    if method == "kernel ridge" and is_classification(y):
        labels = np.unique(y)
        scores = model.fit(X, (y[:, None] == labels).astype(float)).predict(X_test)
        return mean_error(labels[scores.argmax(axis=1)], y_test)
    return mean_error(model.fit(X, y).predict(X_test), y_test)


def main():
    """Print a Markdown table: a row a method and number of passes, a column a set."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--device", choices=DEVICES, default="simulated")
    parser.add_argument("--max-rows", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--max-iter", type=int, help="minibatches of the training")
    parser.add_argument("--draws", default="1,10", help="of End-to-End; default: %(default)s")
    options = resolve(parser)
    rows = [("kernel ridge", 0), ("Cross-fitted", 0), *(("Cross-fitted", p) for p in SHOWN)]
    rows += [("End-to-End", int(draws)) for draws in options.draws.split(",") if draws]
    jobs = [(name, *row, seed) for row in rows for name in options.sets for seed in options.seeds]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(measure)(*job, options) for job in jobs
    )
    found = dict(zip(jobs, tqdm(fits, total=len(jobs), unit="fit", file=sys.stderr)))
    print("| method | passes a row | " + " | ".join(options.sets) + " |")
    print("|---|---:|" + "---:|" * len(options.sets))
    for row in rows:
        errors = [np.mean([found[name, *row, s] for s in options.seeds]) for name in options.sets]
        print(f"| {row[0]} | {row[1]} | " + " | ".join(f"{error:.4g}" for error in errors) + " |")


if __name__ == "__main__":
    main()
