"""The evidence for the defaults: one setting changed at a time, under the protocol of ``run.py``.

Prints, for each estimator and each changed setting, the error on every set divided by that of
the defaults, and the geometric mean of these ratios; above 1, the default is better. The sets are
small ones or the first rows of large ones, smooth and noisy, so that the study is quick.

    SKOPU_DATA=folder python benchmarks/uci/defaults.py defaults.jsonl
"""

import sys
from functools import partial

import numpy as np
from results import Results
from run import make_parser, resolve
from tqdm import tqdm

from skopu import (
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    SupervisedBinarizer,
)
from skopu.comparison.methods import Method, Settings
from skopu.comparison.problems import CLASSIFICATION, load_named
from skopu.comparison.runner import run

SETS = ["boston", "energy", "airfoil", "german", "eeg"]
MAX_ROWS = 1000
DRAWS = {
    "defaults": {},
    "n_bits=32": {"n_bits": 32},
    "n_bits=128": {"n_bits": 128},
    "n_components=512": {"n_components": 512},
    "n_components=2048": {"n_components": 2048},
    "max_iter=750": {"max_iter": 750},
    "max_iter=3000": {"max_iter": 3000},
    "learning_rate=0.02": {"learning_rate": 0.02},
    "learning_rate=0.1": {"learning_rate": 0.1},
    "readout_learning_rate=0.003": {"readout_learning_rate": 0.003},
    "readout_learning_rate=0.03": {"readout_learning_rate": 0.03},
    "objective=isolated": {"objective": "isolated"},
    "objective=0.1": {"objective": 0.1},
    "scaler=quantile": {"scaler": "quantile"},
    "encoder_penalty=0.001": {"encoder_penalty": 0.001},
    "gradient=quadratic": {"gradient": "quadratic"},
}
ENSEMBLE = {
    "defaults": {},
    "n_bits=32": {"n_bits": 32},
    "n_bits=128": {"n_bits": 128},
    "cv=4": {"cv": 4},
    "cv=8": {"cv": 8},
    "n_best=1": {"n_best": 1},
    "n_best=5": {"n_best": 5},
    "scaler=standard": {"scaler": "standard"},
    "scaler=quantile": {"scaler": "quantile"},
    "max_iter=600": {"max_iter": 600},
    "max_iter=2400": {"max_iter": 2400},
    "learning_rate=0.02": {"learning_rate": 0.02},
}


def make_draws(task, settings, seed, changes):
    """Return an end-to-end estimator with ten draws and changed settings of its binarizer."""
    model = EndToEndOPUClassifier if task == CLASSIFICATION else EndToEndOPURegressor
    return model(SupervisedBinarizer(**changes), random_state=seed)


def make_ensemble(task, settings, seed, changes):
    """Return a cross-fitted ensemble with changed settings."""
    model = CrossFittedOPUClassifier if task == CLASSIFICATION else CrossFittedOPURegressor
    return model(**changes, random_state=seed)


METHODS = {
    f"{family}: {name}": Method(name, partial(make, changes=changes))
    for family, make, variants in (
        ("End-to-End, ten draws", make_draws, DRAWS),
        ("Cross-fitted", make_ensemble, ENSEMBLE),
    )
    for name, changes in variants.items()
}


def main(argv=None):
    """Run what is missing, then print the tables."""
    parser = make_parser(__doc__)
    parser.set_defaults(
        sets=SETS, max_rows=MAX_ROWS, seeds=[0, 1], results="defaults.jsonl", methods=list(METHODS)
    )
    options = resolve(parser, argv, METHODS)
    settings = Settings()
    results = Results(options.results, settings, options.max_rows)
    done = {(record.problem, record.method, record.split) for record in results.read()}
    problems = [load_named(name, options.data, options.max_rows) for name in options.sets]
    methods = {name: METHODS[name] for name in options.methods}
    n_fits = len(problems) * len(methods) * len(options.seeds)
    fits = run(problems, methods, settings, options.seeds, n_jobs=options.n_jobs, skip=done)
    for record in tqdm(fits, total=n_fits, initial=len(done), unit="fit", file=sys.stderr):
        results.append(record)
    print_tables(options.sets, options.seeds, results.read())


def print_tables(sets, seeds, records):
    """Print ratios of mean errors to those of the defaults."""
    errors = {}
    for record in records:
        if record.error is not None and record.split in seeds:
            errors.setdefault((record.problem, record.method), []).append(record.error)
    means = {key: np.mean(values) for key, values in errors.items() if len(values) == len(seeds)}
    for family in dict.fromkeys(name.partition(": ")[0] for name in METHODS):
        print(f"| {family} | " + " | ".join([*sets, "geometric mean"]) + " |")
        print("|---|" + "---:|" * (len(sets) + 1))
        for name in METHODS:
            if name.startswith(family) and all((s, name) in means for s in sets):
                base = f"{family}: defaults"
                ratios = [means[s, name] / means[s, base] for s in sets]
                shown = [f"{ratio:.2f}" for ratio in [*ratios, np.exp(np.mean(np.log(ratios)))]]
                print(f"| {METHODS[name].label} | " + " | ".join(shown) + " |")
        print()


if __name__ == "__main__":
    main()
