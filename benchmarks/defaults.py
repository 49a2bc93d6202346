"""Every estimator with its defaults: against predicting the mean, and against a small search.

The first fit that a person makes is ``Estimator().fit(X, y)`` on the columns as they come. On each
set a third of the rows is held out; the model is fitted with its defaults, and once more with the
best of a few changes of its main settings, one at a time, chosen on a quarter of the training
rows. Transformers are followed by ``OPUKernelRidge()``; ``OPURandomFeatures`` cuts at zero and is
given standardised columns. A row breaks the rule if its error is

- above that of predicting the mean, or the most frequent class, or
- above 1.5 times the error after the search,

by more than two standard errors of the difference over the rows held out.

Errors are mean squared errors in units of the variance of the training target, or error rates. The
exit status is 1 if a row breaks the rule.

    SKOPU_DATA=folder python benchmarks/defaults.py
    python benchmarks/defaults.py --quick
    python benchmarks/defaults.py --methods "End-to-End;Cross-fitted" --sets diabetes,wine

Every fit is appended to a file as it ends; a run that was cut goes on, if the source is the same.
``--page FILE`` writes the table for the documentation, too.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from protocol import load_problem, read_entries, split_names
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import (
    GridSearchCV,
    ShuffleSplit,
    StratifiedShuffleSplit,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm
from trees import ROOT, digest

import skopu
from skopu import OPUKernelRidge, OPUKernelRidgeClassifier, OPURandomFeatures, SupervisedBinarizer

BUNDLED = ("diabetes", "breast_cancer", "wine", "iris", "digits")
SHARED = ("boston", "energy", "yacht", "airfoil", "powerplant", "naval", "protein")
SHARED += ("eeg", "mocap", "miniboo", "credit", "german")
QUICK_SETS = ("diabetes", "wine")
MAX_ROWS, QUICK_ROWS = 600, 200
WORST_RATIO = 1.5
STANDARD_ERRORS = 2
METHODS_SIDE_BY_SIDE = 5  # in the documentation


class Method(NamedTuple):
    """An estimator for each task, and the changes of its settings that the search tries."""

    regressor: Callable | None
    classifier: Callable | None
    changes: tuple

    def make(self, is_classification):
        """Return the estimator with its defaults; None if there is none for the task."""
        make = self.classifier if is_classification else self.regressor
        return None if make is None else make()


def changes(prefix="", **values):
    """Return single changes of settings: one for each value of each."""
    return tuple({f"{prefix}{name}": [v]} for name, several in values.items() for v in several)


def before_ridge(transformer, *candidates):
    """Return the method of a transformer followed by ridge with its defaults."""
    ridge = changes("ridge__", alpha=(100.0,))
    both = (
        lambda readout=readout: Pipeline([("codes", transformer()), ("ridge", readout())])
        for readout in (OPUKernelRidge, OPUKernelRidgeClassifier)
    )
    return Method(*both, (*candidates, *ridge))


def chain(readout):
    """Return the pipeline of the papers."""
    steps = [("b", SupervisedBinarizer()), ("f", OPURandomFeatures()), ("r", readout())]
    return Pipeline(steps)


def closed_form(model):
    """Return the end-to-end model that never asks a device."""
    return model(SupervisedBinarizer(gradient="exact"), prediction="mean")


def pair(name, suffixes=("Regressor", "Classifier")):
    """Return the classes of an estimator for both tasks."""
    return [getattr(skopu, name + suffix) for suffix in suffixes]


BITS = changes("codes__", n_bits=(16, 256))
ENCODER = {"n_bits": (16,), "scaler": ("quantile",), "encoder_penalty": (1e-3,)}
RATES = {"learning_rate_init": (3e-3, 1e-2), "hidden_layer_sizes": ((256, 256),)}
METHODS = {
    "OPUKernelRidge": Method(
        *pair("OPUKernelRidge", ("", "Classifier")),
        changes(binarizer=(SupervisedBinarizer(16), SupervisedBinarizer(scaler="quantile"))),
    ),
    "chain": Method(
        lambda: chain(OPUKernelRidge),
        lambda: chain(OPUKernelRidgeClassifier),
        (*changes("b__", **ENCODER), *changes("r__", alpha=(100.0,))),
    ),
    "End-to-End": Method(
        *pair("EndToEndOPU"),
        changes("binarizer__", **ENCODER),
    ),
    "End-to-End, exact": Method(
        *(lambda model=model: closed_form(model) for model in pair("EndToEndOPU")),
        changes("binarizer__", **ENCODER),
    ),
    "Cross-fitted": Method(*pair("CrossFittedOPU"), changes(n_bits=(16,))),
    "DFA": Method(*pair("DFA"), changes(**RATES)),
    "DFA, ternary": Method(
        *(lambda m=model: m(error_encoding="ternary") for model in pair("DFA")),
        changes(**RATES, threshold=(0.01,)),
    ),
    "OPURandomFeatures": before_ridge(
        lambda: make_pipeline(StandardScaler(), OPURandomFeatures()),
        *changes("codes__opurandomfeatures__", n_components=(4096,), form=("raw",)),
    ),
    "HyperplaneBinarizer": before_ridge(skopu.HyperplaneBinarizer, *BITS),
    "ThermometerBinarizer": before_ridge(skopu.ThermometerBinarizer, *BITS),
    "AutoencoderBinarizer": before_ridge(skopu.AutoencoderBinarizer, *BITS),
    "DFABinarizer": before_ridge(skopu.DFABinarizer, *BITS),
    "BinaryAutoencoder": before_ridge(skopu.BinaryAutoencoder, *BITS),
    "BinaryMLPClassifier": Method(
        None,
        skopu.BinaryMLPClassifier,
        changes(hidden_layer_sizes=((64,),), learning_rate_init=(1e-3,), weight_optimizer=("ste",)),
    ),
    "NeuralDNFClassifier": Method(
        None,
        skopu.NeuralDNFClassifier,
        changes(n_rules=(5,), literal_penalty=(0.001, 0.1), weight_optimizer=("ste",)),
    ),
}


class Fit(NamedTuple):
    """What came of an estimator on a set."""

    problem: str
    method: str
    default: float | None = None
    tuned: float | None = None
    trivial: float | None = None  # error of predicting the mean, or the most frequent class
    over_tuned: float | None = None  # standard errors above 1.5 times the tuned error
    over_trivial: float | None = None  # the same above predicting the mean
    seconds: float | None = None  # of the default fit
    best: str = ""  # what the search chose
    failure: str | None = None

    @property
    def breaks(self):
        """Why the rule is broken; None if it is not."""
        if self.failure:
            return self.failure
        if self.over_trivial > STANDARD_ERRORS:
            return f"{self.default:.3g}, predicting the mean or majority {self.trivial:.3g}"
        if self.over_tuned > STANDARD_ERRORS:
            return f"{self.default:.3g}, after the search {self.tuned:.3g} ({self.best})"
        return None


def measure(problem, name, seed):
    """Fit an estimator with its defaults and after the search."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _measure(problem, name, seed)
    except Exception as error:
        return Fit(problem.name, name, failure=f"{type(error).__name__}: {error}"[:200])


def _measure(problem, name, seed):
    is_class = problem.is_classification
    strata = problem.y if is_class else None
    X, X_test, y, y_test = train_test_split(
        problem.X, problem.y, test_size=1 / 3, random_state=seed, stratify=strata
    )
    method = METHODS[name]
    model = seeded(method.make(is_class), seed)
    folds = StratifiedShuffleSplit if is_class else ShuffleSplit
    scoring = "accuracy" if is_class else "neg_mean_squared_error"
    cv = folds(1, test_size=0.25, random_state=seed)
    start = time.process_time()
    default = losses(model.fit(X, y), X_test, y_test, y)
    seconds = time.process_time() - start
    # An error of a candidate is an error of the benchmark, not a bad score.
    search = GridSearchCV(
        seeded(method.make(is_class), seed),
        [{}, *method.changes],
        scoring=scoring,
        cv=cv,
        error_score="raise",
    ).fit(X, y)
    tuned = losses(search, X_test, y_test, y)
    trivial = losses(
        (DummyClassifier if is_class else DummyRegressor)().fit(X, y), X_test, y_test, y
    )
    return Fit(
        problem.name,
        name,
        *(float(values.mean()) for values in (default, tuned, trivial)),
        *(standard_errors(default - worst) for worst in (WORST_RATIO * tuned, trivial)),
        seconds,
        ", ".join(f"{key}={value}" for key, value in search.best_params_.items()) or "defaults",
    )


def seeded(model, seed):
    """Return the model with every random state set."""
    states = [key for key in model.get_params() if key.endswith("random_state")]
    return model.set_params(**dict.fromkeys(states, seed))


def losses(model, X, y, y_train):
    """Return the loss of every row: wrong or not, or the square in units of the variance."""
    predicted = model.predict(X)
    if y.dtype.kind == "i":
        return (predicted != y).astype(float)
    return (predicted - y) ** 2 / y_train.var()


def standard_errors(differences):
    """Return the mean in units of its standard error."""
    spread = differences.std() / np.sqrt(len(differences))
    return float(differences.mean() / spread) if spread else float(np.sign(differences.mean()))


def main(argv=None):
    """Run what is missing, print the table; exit with status 1 if a row breaks the rule."""
    options = parse(argv)
    results = Results(options)
    problems = [load_problem(options.data, name, options.max_rows) for name in options.sets]
    jobs = [
        (problem, name)
        for name in options.methods
        for problem in problems
        if METHODS[name].make(problem.is_classification) is not None
    ]
    missing = [(p, name) for p, name in jobs if (p.name, name) not in results.found]
    fits = Parallel(options.n_jobs, return_as="generator_unordered")(
        delayed(measure)(problem, name, options.seed) for problem, name in missing
    )
    for fit in tqdm(fits, total=len(jobs), initial=len(jobs) - len(missing), file=sys.stderr):
        results.add(fit)
    found = {(p.name, name): results.found[p.name, name] for p, name in jobs}
    print_table(options, found)
    if options.page:
        Path(options.page).write_text(page(options, found))
    broken = [f"{f.method} on {f.problem}: {f.breaks}" for f in found.values() if f.breaks]
    print("\n".join(["", *broken, f"{len(broken)} of {len(found)} break the rule."]))
    return int(bool(broken))


def parse(argv):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKOPU_DATA")
    parser.add_argument("--data", default=data, help="folder of .npz files (default: $SKOPU_DATA)")
    parser.add_argument("--sets", type=split_names, help="default: all that are at hand")
    parser.add_argument("--methods", type=lambda text: text.split(";"), default=list(METHODS))
    parser.add_argument(
        "--max-rows", type=int, help=f"default: {MAX_ROWS}, with --quick {QUICK_ROWS}"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-jobs", type=int, default=-1, help="fits at a time; -1: one a core")
    parser.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK_SETS)} only")
    parser.add_argument("--results", default="defaults.jsonl", help="default: %(default)s")
    parser.add_argument("--page", help="file for the documentation's table")
    options = parser.parse_args(argv)
    unknown = set(options.methods) - set(METHODS)
    if unknown:
        parser.error(f"--methods: {'; '.join(unknown)} unknown, there is {'; '.join(METHODS)}")
    options.max_rows = options.max_rows or (QUICK_ROWS if options.quick else MAX_ROWS)
    every = BUNDLED + (SHARED if options.data else ())
    options.sets = options.sets or list(QUICK_SETS if options.quick else every)
    return options


class Results:
    """Fits in a file, by set and method: those of the same source, rows and seed."""

    def __init__(self, options):
        self.path, self.found = Path(options.results), {}
        source = digest(ROOT / "skopu")
        self._key = {"source": source, "max_rows": options.max_rows, "seed": options.seed}
        for entry in read_entries(self.path):
            if entry.pop("key") == self._key:
                fit = Fit(**entry)
                self.found[fit.problem, fit.method] = fit

    def add(self, fit):
        """Keep a fit, here and in the file."""
        self.found[fit.problem, fit.method] = fit
        with self.path.open("a") as file:
            file.write(json.dumps({**fit._asdict(), "key": self._key}) + "\n")


def print_table(options, found):
    """Print errors with defaults, and in brackets how many times those after the search."""
    print(f"| | {' | '.join(options.sets)} | CPU s |\n|---|{'---:|' * (len(options.sets) + 1)}")
    for name in options.methods:
        fits = [found.get((problem, name)) for problem in options.sets]
        seconds = [fit.seconds for fit in fits if fit and fit.seconds is not None]
        median = f"{np.median(seconds):.1f}" if seconds else "-"
        print(f"| {name} | {' | '.join(map(cell, fits))} | {median} |")
    print("\nCells: error with defaults (times the error after the search); ! breaks the rule.")


def page(options, found):
    """Return tables of a few methods each, a row a set, for the documentation."""
    lines = []
    for start in range(0, len(options.methods), METHODS_SIDE_BY_SIDE):
        methods = options.methods[start : start + METHODS_SIDE_BY_SIDE]
        rows = [["data set", *methods]]
        rows += [[s, *(cell(found.get((s, m))) for m in methods)] for s in options.sets]
        lines += [".. list-table::", "   :header-rows: 1", ""]
        for row in rows:
            first, *others = row
            lines += [f"   * - {first}", *(f"     - {text}".rstrip() for text in others)]
        lines.append("")
    return "\n".join(lines)


def cell(fit):
    """Return the text of a cell."""
    if fit is None:
        return ""
    if fit.failure:
        return "failed !"
    ratio = f" ({fit.default / fit.tuned:.2f})" if fit.tuned else ""
    return f"{fit.default:.3g}{ratio}{' !' if fit.breaks else ''}"


if __name__ == "__main__":
    sys.exit(main())
