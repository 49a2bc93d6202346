"""What each scaling of the inputs makes of End-to-End, and which one "auto" chooses.

By REINFORCE, or with ``--gradient exact`` exactly, with default settings but ``scaler``; the starts
of a seed are the same. Protocol: that of ``protocol.py``, with few rows, since these are what it
takes to tell columns apart. Errors are mean +- sd over seeds.

    SKOPU_DATA=folder python benchmarks/scalings.py
"""

import sys

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, end_to_end, make_parser, mean_error, resolve
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm
from uci.sets import load

from skopu import SupervisedBinarizer
from skopu.comparison.report import format_error
from skopu.comparison.runner import split_problem

SETS = "pumadyn32nm,parkinsons,stock,pol,boston,energy,concrete,eeg,german"
SCALERS = ("standard", "quantile", "relevance", "auto")


def fit(options, name, scaler, seed):
    """Return the error of one fit, and the scaling that it took."""
    parts = split_problem(load(name, options.data, options.max_rows), seed)
    binarizer = SupervisedBinarizer(scaler=scaler, gradient=options.gradient)
    prediction = {"prediction": "mean"} if options.gradient == "exact" else {}
    model = end_to_end(parts.y, binarizer, random_state=seed, **prediction).fit(parts.X, parts.y)
    error = mean_error(np.ravel(model.predict(parts.X_test)), parts.y_test)
    return error, name_of(model.binarizer_.scaler_, parts.X)


def name_of(scaler, X):
    """Return the name of a fitted scaling of columns X."""
    if not isinstance(scaler, StandardScaler):
        return "quantile"
    spreads = scaler.transform(X).std(axis=0)[X.std(axis=0) > 0]
    return "standard" if np.allclose(spreads, 1, atol=1e-3) else "relevance"


def main():
    """Print a markdown table."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--max-rows", type=int, default=750, help="default: %(default)s")
    parser.add_argument("--gradient", default="loo", help="default: %(default)s")
    options = resolve(parser)
    jobs = [(n, c, s) for n in options.sets for c in SCALERS for s in options.seeds]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(fit)(options, *job) for job in jobs
    )
    found = dict(zip(jobs, tqdm(fits, total=len(jobs), unit="fit", file=sys.stderr)))
    print(f"| set | {' | '.join(SCALERS)} | chosen |\n|---|{'---:|' * len(SCALERS)}---|")
    for name in options.sets:
        cells = []
        for scaler in SCALERS:
            errors, chosen = zip(*(found[name, scaler, seed] for seed in options.seeds))
            spread = np.std(errors, ddof=1) if len(errors) > 1 else 0.0
            cells.append(format_error(np.mean(errors), spread))
        print(f"| {name} | {' | '.join(cells)} | {', '.join(chosen)} |")


if __name__ == "__main__":
    main()
