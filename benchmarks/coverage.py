"""Coverage of intervals and sets: do they hold what they promise, and how wide are they.

For each set and split: the share of test targets in ``predict_interval`` (or of labels in
``predict_set``) of a cross-fitted ensemble, and the mean width in standard deviations of the
target (or the mean number of labels). Beside it intervals of boosting and of kernel ridge, tuned,
by the same method, written out here; and those of MAPIE's CrossConformalRegressor, if MAPIE is
installed.

With 20 splits, 8 sets and default budgets this takes hours: ``--max-iter`` and ``--max-rows`` make
it short, and splits are appended to a file as they end, so that a run that was cut goes on. A share
is printed with the standard deviation over the splits; with n rows fitted and m tested, one of
splits that do not overlap would be sqrt(c (1 - c) (1 / n + 1 / m)) for coverage c.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, is_classification, make_parser, read_entries, resolve, split
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold
from tqdm import tqdm

from skopu import CrossFittedOPUClassifier, CrossFittedOPURegressor
from skopu.cross_fitted.conformal import Residuals

SETS = "boston,energy,yacht,powerplant,airfoil,eeg,miniboo,german"


def ensemble_of_folds(make_model, X, y, X_test, coverage, seed):
    """Return CV+ intervals (m, 2) of any regressor, from four folds."""
    folds, left_out, predictions = np.empty(len(y), dtype=int), np.empty(len(y)), []
    for fold, (rows, held_out) in enumerate(KFold(4, shuffle=True, random_state=seed).split(X)):
        model = make_model().fit(X[rows], y[rows])
        folds[held_out], left_out[held_out] = fold, model.predict(X[held_out])
        predictions.append(model.predict(X_test))
    residuals = Residuals(np.abs(y - left_out)[:, None], folds, np.ones(len(y)))
    predictions = np.array(predictions)[:, :, None]
    ends = residuals.lower(predictions, coverage), residuals.upper(predictions, coverage)
    return np.hstack(ends)


def tuned_kernel_ridge(n_columns):
    """Return kernel ridge whose alpha and gamma are searched for."""
    grid = {"alpha": np.logspace(-6, 1, 8), "gamma": np.logspace(-2, 1, 4) / n_columns}
    return GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=4)


def boosting_of_folds(X, y, X_test, coverage, seed):
    """Return CV+ intervals of boosting."""
    return ensemble_of_folds(HistGradientBoostingRegressor, X, y, X_test, coverage, seed)


def kernel_ridge_of_folds(X, y, X_test, coverage, seed):
    """Return CV+ intervals of kernel ridge."""
    return ensemble_of_folds(lambda: tuned_kernel_ridge(X.shape[1]), X, y, X_test, coverage, seed)


def mapie(X, y, X_test, coverage, seed):
    """Return MAPIE's intervals of boosting."""
    from mapie.regression import CrossConformalRegressor

    boosting = HistGradientBoostingRegressor()
    model = CrossConformalRegressor(boosting, confidence_level=coverage, cv=4)
    return model.fit_conformalize(X, y).predict_interval(X_test)[1][..., 0]


PEERS = {
    "boosting, CV+": boosting_of_folds,
    "kernel ridge, CV+": kernel_ridge_of_folds,
    "boosting, MAPIE": mapie,
}


def measure(name, seed, options):
    """Return {method: (share held, width)} of one split."""
    X, X_test, y, y_test = split(options.data, name, seed, options.max_rows)
    settings = {"max_iter": options.max_iter or "auto", "random_state": seed}
    if is_classification(y):
        model = CrossFittedOPUClassifier(**settings).fit(X, y)
        sets = model.predict_set(X_test, options.coverage)
        hits = sets[np.arange(len(y_test)), np.searchsorted(model.classes_, y_test)]
        return {"Cross-fitted": (float(hits.mean()), float(sets.sum(axis=1).mean()))}
    model = CrossFittedOPURegressor(**settings).fit(X, y)
    found = {"Cross-fitted": model.predict_interval(X_test, options.coverage)}
    for peer in options.peers:
        found[peer] = PEERS[peer](X, y, X_test, options.coverage, seed)
    return {
        method: (float(np.mean((low <= y_test) & (y_test <= high))), float(np.mean(high - low)))
        for method, (low, high) in ((method, ends.T) for method, ends in found.items())
    }


def show(names, seeds, found):
    """Print a row for each set and method."""
    print("| set | method | share held | width, or labels |")
    print("|---|---|---:|---:|")
    for name in names:
        for method in found[name, seeds[0]]:
            shares, widths = np.array([found[name, seed][method] for seed in seeds]).T
            print(
                f"| {name} | {method} | {shares.mean():.3f} +- {shares.std():.3f} "
                f"| {widths.mean():.3f} |"
            )


def peers_wanted(text):
    """Return names of peers, without MAPIE where it is not installed."""
    names = [name.strip() for name in text.split(";") if name.strip()]
    if not find_spec("mapie"):
        print("MAPIE is not installed: it does not take part", file=sys.stderr)
        names = [name for name in names if "MAPIE" not in name]
    return names


def main():
    """Measure what is missing, and print a Markdown table."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.set_defaults(seeds=list(range(20)))
    parser.add_argument("--coverage", type=float, default=0.9, help="default: %(default)s")
    parser.add_argument("--max-rows", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--max-iter", type=int, help="minibatches of the ensemble")
    parser.add_argument("--peers", type=peers_wanted, default="; ".join(PEERS), help="%(default)s")
    parser.add_argument("--results", type=Path, default="coverage.jsonl")
    options = resolve(parser)
    found = {(e["set"], e["seed"]): e["found"] for e in read_entries(options.results)}
    jobs = [(name, seed) for seed in options.seeds for name in options.sets]
    jobs = [job for job in jobs if job not in found]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(measure)(*job, options) for job in jobs
    )
    with options.results.open("a") as file:
        for job, own in zip(jobs, tqdm(fits, total=len(jobs), unit="split", file=sys.stderr)):
            file.write(json.dumps({"set": job[0], "seed": job[1], "found": own}) + "\n")
            file.flush()
            found[job] = own
    show(options.sets, options.seeds, found)


if __name__ == "__main__":
    main()
