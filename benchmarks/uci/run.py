"""The comparison of binarizations and kernel machines on real data sets.

Every fit is appended to a file as it ends; a run that was cut goes on where it was. Protocol:
at most 3000 rows, the first of ``numpy.random.default_rng(0).permutation(n)``; seeds 0, 1, 2 for
``train_test_split(test_size=0.2)`` and for the methods, classes split in proportion; columns, and
the target of a regression, standardised on the training part. Errors: mean squared error of the
standardised target (1 is predicting the mean), or error rate. CatBoost, xRFM and RealMLP take part
where they are installed (``pip install skopu[peers]``).

    SKOPU_DATA=folder python benchmarks/uci/run.py               # all sets, default settings
    SKOPU_DATA=folder python benchmarks/uci/run.py --quick       # five small sets, one seed
    SKOPU_DATA=folder python benchmarks/uci/run.py --n-candidates 10     # random search
    SKOPU_DATA=folder python benchmarks/uci/run.py --max-rows 0 --sets eeg,protein,credit
    python benchmarks/uci/run.py --data folder --sets mine       # arrays X and y of mine.npz
    python benchmarks/uci/report.py uci.jsonl --figures folder   # tables and figures

Parts of a run, on several machines or one after another; their files may be joined by ``cat``:

    SKOPU_DATA=folder python benchmarks/uci/run.py part0.jsonl --shard 0/4

What is left of a run costs, for each method, from the fits that are in the file (it says of which
sets there are too few):

    SKOPU_DATA=folder python benchmarks/uci/run.py --estimate --n-candidates 10

A search tunes the methods that have a space (``skopu/comparison/spaces.py``); of the others the
fits are those of default settings, and are made once.
"""

import argparse
import os
import sys

import numpy as np
from costs import describe, measured_seconds, price, table
from methods import METHODS
from results import Results
from sets import SETS, SMALL_SETS, load
from tqdm import tqdm

from skopu.comparison.methods import Settings
from skopu.comparison.problems import MAX_ROWS, InputError
from skopu.comparison.runner import run

QUICK = Settings(max_iter=500)


def main(argv=None):
    options = resolve(make_parser(__doc__), argv)
    problems = load_all(options)
    if options.estimate:
        print(table(estimate(problems, options)))
        return
    groups = list(groups_of(options))
    asked, missing = [], []
    for settings, methods in groups:
        results = Results(options.results, settings, options.max_rows)
        fits = shard_of(options, methods)
        asked += fits
        missing.append(set(fits) - finished(results.read()))
    n_missing = sum(map(len, missing))
    with tqdm(total=len(asked), initial=len(asked) - n_missing, unit="fit", file=sys.stderr) as bar:
        for (settings, methods), wanted in zip(groups, missing):
            results = Results(options.results, settings, options.max_rows)
            for record in make(problems, methods, settings, wanted, options):
                results.append(record)
                bar.set_postfix_str(f"{record.method} on {record.problem}", refresh=False)
                bar.update()


def load_all(options):
    """Return the data sets that are asked for; end with one line if one cannot be found."""
    try:
        return [load(name, options.data, options.max_rows) for name in options.sets]
    except InputError as error:
        sys.exit(str(error))


def make(problems, methods, settings, wanted, options):
    """Return the records of the fits that are wanted, as they end."""
    fits = {(p.name, name, seed) for p in problems for name in methods for seed in options.seeds}
    seeds, n_jobs = options.seeds, options.n_jobs
    return run(problems, methods, settings, seeds, n_jobs=n_jobs, skip=fits - wanted)


def estimate(problems, options):
    """Yield label, fits left, their seconds and what these rest on, of each method."""
    plain = Results(options.results, settings_of(options, n_candidates=0), options.max_rows).read()
    for settings, methods in groups_of(options):
        found = Results(options.results, settings, options.max_rows).read()
        left = sorted(set(shard_of(options, methods)) - finished(found))
        n_candidates = settings.n_candidates
        for name, method in methods.items():
            defaults, searched = (
                measured_seconds([r for r in records if r.method == name], problems)
                for records in (plain, found if n_candidates else [])
            )
            mine = [(problem, seed) for problem, key, seed in left if key == name]
            seconds = price(method, mine, defaults, searched, problems, n_candidates)
            source = describe(method, defaults, searched, n_candidates)
            yield method.label, len(mine), seconds, source


def finished(records):
    """Return the fits that need not be made again; one may have lacked a package."""
    return {(r.problem, r.method, r.split) for r in records if r.left_out is None}


def groups_of(options):
    """Yield settings and the methods that are fitted with them."""
    methods = {name: METHODS[name] for name in options.methods}
    tuned = {name: m for name, m in methods.items() if m.space and options.n_candidates}
    for settings, chosen in (
        (settings_of(options), tuned),
        (settings_of(options, n_candidates=0), {n: methods[n] for n in methods if n not in tuned}),
    ):
        if chosen:
            yield settings, chosen


def shard_of(options, methods):
    """Return the fits of this part of the run, as (set, method, seed).

    They are dealt out at random, the same on every machine, so that parts cost about the same.
    """
    fits = [(s, m, seed) for s in options.sets for m in methods for seed in options.seeds]
    part, n_parts = options.shard
    order = np.random.default_rng(0).permutation(len(fits))
    return [fits[i] for i in order[part::n_parts]]


def read_records(options):
    """Return the records of all methods, each with the settings that it is fitted with."""
    records = []
    for settings, methods in groups_of(options):
        found = Results(options.results, settings, options.max_rows).read()
        records += [record for record in found if record.method in methods]
    return records


def settings_of(options, n_candidates=None):
    """Return the settings of a run."""
    sizes = QUICK if options.quick else Settings()
    n_candidates = options.n_candidates if n_candidates is None else n_candidates
    return Settings(max_iter=sizes.max_iter, n_candidates=n_candidates)


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
    parser.add_argument(
        "--shard", type=split_shard, default=(0, 1), help="part I of N of the fits, as I/N"
    )
    parser.add_argument("--estimate", action="store_true", help="only print what is left to pay")
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


def split_shard(text):
    """Return the numbers of "I/N"."""
    part, _, n_parts = text.partition("/")
    if not (part.isdecimal() and n_parts.isdecimal() and int(part) < int(n_parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 0 to N - 1")
    return int(part), int(n_parts)


if __name__ == "__main__":
    main()
