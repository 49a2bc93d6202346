"""Accuracy of the methods on data sets in a folder, as Markdown tables.

Protocol: at most 3000 rows, the first of ``numpy.random.default_rng(0).permutation(n)``; seeds
0, 1, 2 for ``train_test_split(test_size=0.2)`` and for the methods; classes split in proportion;
columns (and the target of a regression) standardised on the training part, constant columns
divided by 1. Errors: mean squared error of the standardised target, or error rate. Settings are
the defaults: 64 bits, 1024 components, 10 draws. KernelRidge is tuned on the training part.

The folder holds ``<name>.npz`` files with arrays X (n, d) and y (n,); integers in y are classes:

    SKOPU_DATA=folder python benchmarks/accuracy.py --sets energy,yacht,boston
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from skopu.comparison.methods import METHODS, Settings
from skopu.comparison.problems import CLASSIFICATION, REGRESSION, Problem
from skopu.comparison.report import markdown_table, remarks, summarise
from skopu.comparison.runner import run

SETS = "energy,yacht,boston"
COMPARED = "end-to-end,isolated,chain,hyperplanes,kernel-ridge"
RATIOS = (("end-to-end", "hyperplanes"), ("isolated", "end-to-end"))
MAX_ROWS = 3000


def load_problem(folder, name):
    """Read a data set and keep the rows that the protocol asks for."""
    path = Path(folder) / f"{name}.npz"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in Path(folder).glob("*.npz"))) or "none"
        raise SystemExit(f"no file {path}; sets in this folder: {known}.")
    with np.load(path) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"]
    # Small sets are permuted too: the splits of a seed depend on the order of the rows.
    rows = np.random.default_rng(0).permutation(len(y))[:MAX_ROWS]
    X, y = X[rows], y[rows]
    if y.dtype.kind in "iu":
        classes, y = np.unique(y, return_inverse=True)
        return Problem(name, X, y, CLASSIFICATION, classes=tuple(map(str, classes)))
    return Problem(name, X, y.astype(np.float64), REGRESSION)


def ratio_table(problems, summaries):
    """Markdown table of ratios of mean errors, for the pairs that were run."""
    means = {(s.problem, s.method): s.mean for s in summaries if s.mean is not None}
    names = [f"{METHODS[a].label} / {METHODS[b].label}" for a, b in RATIOS]
    lines = ["| " + " | ".join(["set", *names]) + " |", "|---|" + "---:|" * len(RATIOS)]
    for problem in problems:
        pairs = [(means.get((problem.name, a)), means.get((problem.name, b))) for a, b in RATIOS]
        ratios = [f"{a / b:.3f}" if a is not None and b else "-" for a, b in pairs]
        lines.append("| " + " | ".join([problem.name, *ratios]) + " |")
    return "\n".join(lines)


def main(argv=None):
    options = parse(argv)
    problems = [load_problem(options.data, name) for name in options.sets]
    methods = {name: METHODS[name] for name in options.methods}
    fits = run(problems, methods, Settings(), options.seeds, n_jobs=options.n_jobs)
    n_fits = len(problems) * len(methods) * len(options.seeds)
    records = list(tqdm(fits, total=n_fits, unit="fit", file=sys.stderr))
    summaries = summarise(problems, methods, records, len(options.seeds))
    print(markdown_table(summaries), ratio_table(problems, summaries), sep="\n\n")
    for remark in remarks(summaries):
        print(f"\n{remark}")


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKOPU_DATA")
    parser.add_argument("--data", default=data, help="folder of .npz files (default: $SKOPU_DATA)")
    parser.add_argument("--sets", type=split_names, default=SETS, help="default: %(default)s")
    parser.add_argument(
        "--methods",
        type=split_names,
        default=COMPARED,
        help=f"of {','.join(METHODS)} (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=split_numbers, default="0,1,2", help="default: %(default)s")
    parser.add_argument("--n-jobs", type=int, default=-1, help="fits at a time; -1: one a core")
    options = parser.parse_args(argv)
    if options.data is None:
        parser.error("--data or the environment variable SKOPU_DATA must name the folder of sets")
    unknown = sorted(set(options.methods) - set(METHODS))
    if unknown:
        parser.error(f"unknown method(s) {', '.join(unknown)}; known: {', '.join(METHODS)}")
    return options


def split_names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def split_numbers(text):
    return [int(number) for number in split_names(text)]


if __name__ == "__main__":
    main()
