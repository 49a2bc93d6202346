"""The comparison of binarizations and kernel machines on real data sets.

Every fit is appended to a file as it ends; a run that was cut goes on where it was. Protocol:
at most 3000 rows, the first of ``numpy.random.default_rng(0).permutation(n)``; seeds 0, 1, 2 for
``train_test_split(test_size=0.2)`` and for the methods, classes split in proportion; columns, and
the target of a regression, standardised on the training part. Errors: mean squared error of the
standardised target (1 is predicting the mean), or error rate.

    SKOPU_DATA=folder python benchmarks/uci/run.py               # all sets, default settings
    SKOPU_DATA=folder python benchmarks/uci/run.py --quick       # five small sets, one seed
    SKOPU_DATA=folder python benchmarks/uci/run.py --n-candidates 10     # random search
    SKOPU_DATA=folder python benchmarks/uci/run.py --max-rows 0 --sets eeg,protein,credit
    python benchmarks/uci/report.py uci.jsonl --figures folder   # tables and figures
"""

import argparse
import os
import sys

from methods import METHODS
from results import Results
from sets import SETS, SMALL_SETS
from tqdm import tqdm

from skopu.comparison.methods import Settings
from skopu.comparison.problems import MAX_ROWS, load_named
from skopu.comparison.runner import run

QUICK = Settings(max_iter=500)


def main(argv=None):
    options = resolve(make_parser(__doc__), argv)
    settings = settings_of(options)
    results = Results(options.results, settings, options.max_rows)
    done = {(record.problem, record.method, record.split) for record in results.read()}
    methods = {name: METHODS[name] for name in options.methods}
    problems = [load_named(name, options.data, options.max_rows) for name in options.sets]
    asked = {
        (name, key, seed) for name in options.sets for key in methods for seed in options.seeds
    }
    bar = tqdm(total=len(asked), initial=len(asked & done), unit="fit", file=sys.stderr)
    fits = run(problems, methods, settings, options.seeds, n_jobs=options.n_jobs, skip=done)
    with bar:
        for record in fits:
            results.append(record)
            bar.set_postfix_str(f"{record.method} on {record.problem}", refresh=False)
            bar.update()


def settings_of(options):
    """Return the settings of a run."""
    sizes = QUICK if options.quick else Settings()
    return Settings(max_iter=sizes.max_iter, n_candidates=options.n_candidates)


def make_parser(description):
    """Return the options that a run and its report share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="?", default="uci.jsonl", help="default: %(default)s")
    data = os.environ.get("SKOPU_DATA")
    parser.add_argument("--data", default=data, help="folder of .npz files (default: $SKOPU_DATA)")
    parser.add_argument("--sets", type=split_names, help=f"default: {','.join(SETS)}")
    parser.add_argument("--methods", type=split_names, default=list(METHODS), help="default: all")
    parser.add_argument("--seeds", type=split_numbers, help="default: 0,1,2")
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS, help="0: all")
    parser.add_argument("--n-candidates", type=int, default=0, help="of the random search")
    parser.add_argument("--n-jobs", type=int, default=-1, help="fits at a time; -1: one a core")
    parser.add_argument("--quick", action="store_true", help="small sets, one seed, short training")
    return parser


def resolve(parser, argv, known=METHODS):
    """Read the command line and fill in what depends on other options."""
    options = parser.parse_args(argv)
    options.max_rows = options.max_rows or None
    options.sets = options.sets or list(SMALL_SETS if options.quick else SETS)
    options.seeds = options.seeds or ([0] if options.quick else [0, 1, 2])
    unknown = sorted(set(options.methods) - set(known))
    if unknown:
        parser.error(f"unknown method(s) {', '.join(unknown)}; known: {', '.join(known)}")
    return options


def split_names(text):
    """Return comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def split_numbers(text):
    """Return comma-separated whole numbers."""
    return [int(number) for number in split_names(text)]


if __name__ == "__main__":
    main()
