"""Binarizers before the same features and readout, as a Markdown table.

Protocol: at most 1800 rows, the first of ``numpy.random.default_rng(0).permutation(n)``; seeds 0,
1, 2 for ``train_test_split(test_size=0.2)`` (classes in proportion) and for the binarizer; columns,
and the target of a regression, standardised on the training part. 64 bits, 1024 centered features,
ridge with alpha="loo", default settings. Errors are mean squared errors of the standardised
target, or error rates: mean +- sd over seeds. Seconds are of the processor, for one fit of the
binarizer; passes are codes through the device in training it.

    SKOPU_DATA=folder python benchmarks/binarizers.py
    SKOPU_DATA=folder python benchmarks/binarizers.py --quick --sets boston,yacht
"""

import sys
import time

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, is_classification, make_parser, mean_error, resolve, split
from sklearn.pipeline import make_pipeline
from tqdm import tqdm

from skopu import (
    AutoencoderBinarizer,
    DFABinarizer,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    ThermometerBinarizer,
    TreeBinarizer,
)

MAX_ROWS, N_BITS, N_COMPONENTS = 1800, 64, 1024
SETS = "boston,energy,yacht,airfoil,eeg,german"
METHODS = {
    "DFA": lambda seed, quick: DFABinarizer(
        N_BITS, max_iter=20 if quick else "auto", random_state=seed
    ),
    "autoencoder": lambda seed, quick: AutoencoderBinarizer(
        N_BITS, max_iter=100 if quick else 2000, random_state=seed
    ),
    "hyperplanes": lambda seed, quick: HyperplaneBinarizer(N_BITS, random_state=seed),
    "thermometer": lambda seed, quick: ThermometerBinarizer(N_BITS),
    "thermometer, uniform": lambda seed, quick: ThermometerBinarizer(N_BITS, strategy="uniform"),
    "splits": lambda seed, quick: TreeBinarizer(N_BITS, random_state=seed),
    "leaves": lambda seed, quick: TreeBinarizer(
        1024, kind="leaves", n_estimators=30, random_state=seed
    ),
}


def measure(name, method, seed, data_home, quick):
    """Return error, processor seconds and passes of one fit."""
    X, X_test, y, y_test = split(data_home, name, seed, MAX_ROWS)
    binarizer = METHODS[method](seed, quick)
    start = time.process_time()
    codes = binarizer.fit(X, y).transform(X)
    seconds = time.process_time() - start
    ridge = OPUKernelRidgeClassifier if is_classification(y) else OPUKernelRidge
    model = make_pipeline(OPURandomFeatures(N_COMPONENTS), ridge(alpha="loo")).fit(codes, y)
    error = mean_error(model.predict(binarizer.transform(X_test)), y_test)
    return error, seconds, getattr(binarizer, "n_passes_", 0)


def show(sets, methods, seeds, found):
    """Print the table of errors, a column a set, with seconds and passes."""
    print("| binarizer | " + " | ".join(sets) + " | seconds | passes |")
    print("|---|" + "---:|" * (len(sets) + 2))
    for method in methods:
        runs = np.array([[found[name, method, seed] for seed in seeds] for name in sets])
        errors, seconds, passes = np.moveaxis(runs, 2, 0)
        spread = errors.std(axis=1, ddof=min(1, len(seeds) - 1))
        cells = [f"{m:.4f} +- {s:.4f}" for m, s in zip(errors.mean(axis=1), spread)]
        print(f"| {method} | {' | '.join(cells)} | {seconds.mean():.1f} | {passes.mean():,.0f} |")


def main():
    """Print a Markdown table."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by semicolons")
    parser.add_argument("--quick", action="store_true", help="short trainings, to see it run")
    options = resolve(parser)
    sets, methods, seeds = options.sets, options.methods.split(";"), options.seeds
    jobs = [(name, method, seed) for name in sets for method in methods for seed in seeds]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(measure)(*job, options.data, options.quick) for job in jobs
    )
    bar = tqdm(fits, total=len(jobs), unit="fit", file=sys.stderr)
    show(sets, methods, seeds, dict(zip(jobs, bar)))


if __name__ == "__main__":
    main()
