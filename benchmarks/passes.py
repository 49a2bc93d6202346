"""What a pass buys: error against the passes that a row takes, through a device.

A cross-fitted ensemble shows from one thresholded code to eight codes of ten draws each;
End-to-End, trained by REINFORCE, one code of as many draws as there are passes; beside them the
ensemble in closed form and kernel ridge, tuned, which take none. D = 4096 features a code.

With default budgets, thirteen sets and three seeds this takes hours; ``--max-iter`` and
``--max-rows`` make it short. Errors are appended to a file as splits end, so that a run that was
cut goes on. Ensembles through a device share one training, which takes no pass.
"""

import json
import sys
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from protocol import (
    add_runs,
    end_to_end,
    is_classification,
    make_parser,
    mean_error,
    read_entries,
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


def share_training(model, shared):
    """Let a fit take what another has trained, if it is of the same rows: all but the passes."""
    train = model._train

    def once(*args):
        if "trained" not in shared:
            shared["trained"] = train(*args)
        return shared["trained"]

    model._train = once


def measure(name, seed, rows, options):
    """Return the test errors of all rows of the table for one split."""
    X, X_test, y, y_test = split(options.data, name, seed, options.max_rows)
    found, shared = {}, {}
    for method, passes in rows:
        model = make(method, passes, y, X.shape[1], options, seed)
        if method == "Cross-fitted" and passes:
            share_training(model, shared)
        found[name, method, passes, seed] = error_of(model, X, y, X_test, y_test)
    return found


def error_of(model, X, y, X_test, y_test):
    """Return the test error of a fit; of a grid search on classes, by one column each."""
    if isinstance(model, GridSearchCV) and is_classification(y):
        labels = np.unique(y)
        scores = model.fit(X, (y[:, None] == labels).astype(float)).predict(X_test)
        return mean_error(labels[scores.argmax(axis=1)], y_test)
    return mean_error(model.fit(X, y).predict(X_test), y_test)


def load_results(path):
    """Return errors measured before, by set, method, passes and seed."""
    return {tuple(entry["key"]): entry["error"] for entry in read_entries(path)}


def main():
    """Print a Markdown table: a row a method and number of passes, a column a set."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--device", choices=DEVICES, default="simulated")
    parser.add_argument("--max-rows", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--max-iter", type=int, help="minibatches of the training")
    parser.add_argument("--draws", default="1,10", help="of End-to-End; default: %(default)s")
    parser.add_argument("--results", type=Path, default="passes.jsonl")
    options = resolve(parser)
    rows = [("kernel ridge", 0), ("Cross-fitted", 0), *(("Cross-fitted", p) for p in SHOWN)]
    rows += [("End-to-End", int(draws)) for draws in options.draws.split(",") if draws]
    found = load_results(options.results)
    jobs = [(name, seed) for name in options.sets for seed in options.seeds]
    jobs = [job for job in jobs if any((job[0], *row, job[1]) not in found for row in rows)]
    splits = Parallel(options.n_jobs, return_as="generator")(
        delayed(measure)(*job, rows, options) for job in jobs
    )
    with options.results.open("a") as file:
        for errors in tqdm(splits, total=len(jobs), unit="split", file=sys.stderr):
            lines = [json.dumps({"key": key, "error": error}) for key, error in errors.items()]
            file.write("\n".join(lines) + "\n")
            file.flush()
            found.update(errors)
    print("| method | passes a row | " + " | ".join(options.sets) + " |")
    print("|---|---:|" + "---:|" * len(options.sets))
    for row in rows:
        errors = [np.mean([found[name, *row, s] for s in options.seeds]) for name in options.sets]
        print(f"| {row[0]} | {row[1]} | " + " | ".join(f"{error:.4g}" for error in errors) + " |")


if __name__ == "__main__":
    main()
