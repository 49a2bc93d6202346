"""What the studies in this folder share: protocol, data sets and options.

Protocol: at most 3000 rows, the first of ``numpy.random.default_rng(0).permutation(n)``; seeds
0, 1, 2 for ``train_test_split(test_size=0.2)`` and for the methods; classes split in proportion;
columns (and the target of a regression) standardised on the training part, constant columns
divided by 1. Errors: mean squared error of the standardised target, or error rate. The comparison
of all methods under it is ``uci/run.py``.
"""

import argparse
import os

from skopu.comparison.problems import MAX_ROWS, load_named

__all__ = ["MAX_ROWS", "load_problem", "make_parser", "resolve", "split_names", "split_numbers"]


def load_problem(folder, name):
    """Return a data set with the rows that the protocol asks for."""
    return load_named(name, folder)


def make_parser(description, sets):
    """Return a parser of the options that studies share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKOPU_DATA")
    parser.add_argument("--data", default=data, help="folder of .npz files (default: $SKOPU_DATA)")
    parser.add_argument("--sets", type=split_names, default=sets, help="default: %(default)s")
    parser.add_argument("--seeds", type=split_numbers, default="0,1,2", help="default: %(default)s")
    parser.add_argument("--n-jobs", type=int, default=-1, help="fits at a time; -1: one a core")
    return parser


def resolve(parser, argv=None):
    """Read the command line."""
    options = parser.parse_args(argv)
    if options.data is None:
        parser.error("--data or the environment variable SKOPU_DATA must name the folder of sets")
    return options


def split_names(text):
    """Return comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def split_numbers(text):
    """Return comma-separated whole numbers."""
    return [int(number) for number in split_names(text)]
