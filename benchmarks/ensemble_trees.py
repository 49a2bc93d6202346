"""What trees add to a cross-fitted ensemble: errors and mean ranks over many sets.

The ensemble, without the codes of trees and without columns weighed by them, kernel ridge (tuned),
boosting and, if it is installed, CatBoost, on every set that is found: those of the papers, and
any regression set of arrays X and y in the subfolder ``more`` of the data folder. Protocol as in
``protocol``. Fits are appended to a file as they end, so that a run that was cut goes on:

    SKOPU_DATA=folder python benchmarks/ensemble_trees.py                  # 23 sets, 3 seeds, hours
    SKOPU_DATA=folder python benchmarks/ensemble_trees.py --sets wine,boston --max-rows 600

With ``--max-iter`` the ensembles are trained for fewer minibatches.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, is_classification, make_parser, mean_error, read_entries, resolve
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC
from tqdm import tqdm
from uci.ranks import mean_ranks
from uci.sets import load

from skopu import CrossFittedOPUClassifier, CrossFittedOPURegressor
from skopu.comparison.runner import split_problem

SETS = (
    "boston,energy,yacht,powerplant,protein,naval,airfoil,eeg,mocap,mocap@user2,miniboo,credit,"
    "german,autompg,concrete,machine,parkinsons,pol,pumadyn32nm,servo,skillcraft,stock,wine"
)
VARIANTS = {
    "Cross-fitted": {},
    "Cross-fitted, no trees": {"trees": False},
    "Cross-fitted, no relevance": {"scaler": "both"},
}
METHODS = "; ".join([*VARIANTS, "kernel", "boosting", "CatBoost"])


def tuned_kernel(y, n_columns):
    """Return kernel ridge, or for classes a support vector machine, with a grid."""
    gammas = np.logspace(-2, 1, 7) / n_columns
    if is_classification(y):
        return GridSearchCV(SVC(), {"C": np.logspace(-1, 3, 5), "gamma": gammas}, cv=5)
    grid = {"alpha": np.logspace(-8, 1, 10), "gamma": gammas}
    return GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=5)


def make(method, y, n_columns, seed, max_iter):
    """Return an estimator with default settings."""
    classes = is_classification(y)
    if method in VARIANTS:
        model = CrossFittedOPUClassifier if classes else CrossFittedOPURegressor
        return model(**VARIANTS[method], max_iter=max_iter or "auto", random_state=seed)
    if method == "kernel":
        return tuned_kernel(y, n_columns)
    if method == "boosting":
        model = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        return model(random_state=seed)
    catboost = import_module("catboost")
    model = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    return model(random_seed=seed, verbose=0, thread_count=1, allow_writing_files=False)


def measure(name, method, seed, options):
    """Return the entry of one fit."""
    parts = split_problem(load(name, options.data, options.max_rows), seed)
    model = make(method, parts.y, parts.X.shape[1], seed, options.max_iter)
    found = np.ravel(model.fit(parts.X, parts.y).predict(parts.X_test))
    error = mean_error(found, parts.y_test)
    return {"set": name, "method": method, "seed": seed, "error": error}


def show(sets, methods, seeds, found):
    """Print errors, a row a set, then the mean ranks."""
    print("| set | " + " | ".join(methods) + " |")
    print("|---|" + "---:|" * len(methods))
    means = np.array(
        [[np.mean([found[name, m, seed] for seed in seeds]) for m in methods] for name in sets]
    )
    for name, row in zip(sets, means):
        print(f"| {name} | " + " | ".join(f"{error:.4g}" for error in row) + " |")
    print("| mean rank | " + " | ".join(f"{rank:.2f}" for rank in mean_ranks(means)) + " |")


def main():
    """Measure what is missing, and print the table."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--max-rows", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--max-iter", type=int, help="minibatches of the ensembles")
    parser.add_argument("--methods", default=METHODS, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default="ensemble_trees.jsonl")
    options = resolve(parser)
    methods = [name.strip() for name in options.methods.split(";")]
    try:
        import_module("catboost")
    except ImportError:
        print("CatBoost is not installed: it does not take part", file=sys.stderr)
        methods = [method for method in methods if method != "CatBoost"]
    keys = [(name, m, seed) for name in options.sets for m in methods for seed in options.seeds]
    found = {(e["set"], e["method"], e["seed"]): e["error"] for e in read_entries(options.results)}
    missing = [key for key in keys if key not in found]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(measure)(*key, options) for key in missing
    )
    with options.results.open("a") as file:
        for entry in tqdm(fits, total=len(missing), unit="fit", file=sys.stderr):
            file.write(json.dumps(entry) + "\n")
            file.flush()
            found[entry["set"], entry["method"], entry["seed"]] = entry["error"]
    show(options.sets, methods, options.seeds, found)


if __name__ == "__main__":
    main()
