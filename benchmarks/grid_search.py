"""The paper's pipelines, each tuned by GridSearchCV, beside a tuned Gaussian process.

End-to-End, Isolated, feedback alignment and the autoencoder, each within scikit-learn's grid search
over three folds of the training part; the Gaussian process (RBF on the inputs as they are) has its
marginal likelihood. Protocol: that of ``protocol.py``. Errors are means and standard deviations
over seeds; what was chosen is printed for each seed on the standard error.

    SKOPU_DATA=folder python benchmarks/grid_search.py
    SKOPU_DATA=folder python benchmarks/grid_search.py --quick

A search is 19 fits of a pipeline, some five minutes of a core for the supervised ones.
"""

import sys
from itertools import product

import numpy as np
from protocol import add_runs, is_classification, make_parser, mean_error, resolve, split
from sklearn.model_selection import GridSearchCV
from tqdm import tqdm

from skopu.comparison.methods import METHODS, Settings
from skopu.comparison.problems import CLASSIFICATION, REGRESSION
from skopu.comparison.report import format_error

SETS = "boston,yacht,german"
SUPERVISED = {
    "binarizer__n_bits": [32, 64],
    "binarizer__scaler": ["standard", "quantile"],
    "binarizer__encoder_penalty": [1e-3, 1e-2, 1e-1],
}
OTHERS = {
    "binarizer__n_bits": [32, 64, 128],
    "binarizer__scaler": ["standard", "quantile"],
}
GRIDS = {
    "end-to-end": SUPERVISED,
    "isolated": SUPERVISED,
    "dfa": OTHERS,
    "autoencoder": OTHERS,
    "gp": {},
}
QUICK = Settings(n_components=32, max_iter=10)


def fit(options, name, key, seed):
    """Return the test error of a tuned pipeline, and what its search has chosen."""
    X, X_test, y, y_test = split(options.data, name, seed, options.max_rows)
    task = CLASSIFICATION if is_classification(y) else REGRESSION
    model, grid = METHODS[key].make(task, options.settings, seed), GRIDS[key]
    if options.quick:
        grid = {name: values[:2] for name, values in list(grid.items())[:1]}
    if grid:
        model = GridSearchCV(model, grid, cv=3, n_jobs=options.n_jobs)
    model.fit(X, y)
    return mean_error(model.predict(X_test), y_test), getattr(model, "best_params_", {})


def main(argv=None):
    """Print a Markdown table."""
    options = parse(argv)
    errors = {}
    cases = list(product(options.sets, GRIDS, options.seeds))
    for name, key, seed in tqdm(cases, unit="search", file=sys.stderr):
        error, chosen = fit(options, name, key, seed)
        errors.setdefault((name, key), []).append(error)
        tqdm.write(f"{name}, {key}, seed {seed}: {error:.4g} {chosen}", file=sys.stderr)
    print(f"| method | {' | '.join(options.sets)} |\n|---|{'---:|' * len(options.sets)}")
    for key in GRIDS:
        found = [errors[name, key] for name in options.sets]
        cells = [format_error(np.mean(e), np.std(e, ddof=1) if len(e) > 1 else 0.0) for e in found]
        print(f"| {METHODS[key].label} | {' | '.join(cells)} |")


def parse(argv=None):
    """Return the options of the command line."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--quick", action="store_true", help="one seed, short: does it run?")
    options = resolve(parser, argv)
    options.settings, options.max_rows = Settings(), 3000
    if options.quick:
        options.settings, options.max_rows, options.seeds = QUICK, 150, options.seeds[:1]
    return options


if __name__ == "__main__":
    main()
