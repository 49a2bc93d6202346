"""Options of the command line."""

import argparse
from difflib import get_close_matches

from skopu._version import __version__
from skopu.comparison.csv_files import TASKS
from skopu.comparison.methods import MAIN, METHODS, Settings
from skopu.comparison.problems import BUNDLED

DEFAULT_FIGURE = "skopu-comparison.png"
DEFAULT_DATASETS = ("diabetes", "breast_cancer")
# A third of the estimators' own: a first look takes a minute, and loses nothing beside the spread
# over splits.
BUNDLED_MAX_ITER = 500

_DESCRIPTION = """\
Compare kernel machines on Optical Processing Units with their peers on a data set.

Without arguments: on scikit-learn's diabetes and breast cancer sets, in about a minute.
With a CSV file: on your data. Prints each row as it is done, then one table ordered by error
(test error, fit time, device passes), and saves a figure."""

_EPILOG = f"""\
methods:
{chr(10).join(f"  {name:<23}{method.label}" for name, method in METHODS.items())}

examples:
  python -m skopu
  python -m skopu houses.csv --target price
  python -m skopu patients.csv --target outcome --task classification --n-splits 5
  python -m skopu --datasets wine,digits --methods end-to-end,kernel-ridge
  zcat houses.csv.gz | python -m skopu - --target price
  python -m skopu houses.csv --target price --json --no-figure > result.json

Columns are standardised on the training part of each split; text columns are one-hot
encoded and gaps are filled there too. Errors of regression are mean squared errors in units of
the variance of the training target: 1 is as good as predicting the mean.
Files may be separated by , ; tab | or spaces, packed by gzip, bzip2, xz, zip or tar, with numbers
and dates in the conventions of any country; how they were read is said before the first fit.
Exit status: 0 done, 1 nothing worked, 2 wrong input, 130 stopped by Ctrl-C, 143 by SIGTERM; what
is finished is printed then, too."""


def make_parser():
    """Return the parser of ``python -m skopu``."""
    parser = argparse.ArgumentParser(
        prog="skopu",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skopu {__version__}")
    _add_data_options(parser.add_argument_group("data"))
    _add_method_options(parser.add_argument_group("methods and splits"))
    _add_output_options(parser.add_argument_group("output"))
    return parser


def _add_data_options(group):
    group.add_argument(
        "csv",
        nargs="?",
        metavar="data.csv",
        help="CSV file with named columns, - for standard input, or an address",
    )
    group.add_argument("--target", metavar="COLUMN", help="column of the file to predict")
    group.add_argument(
        "--task",
        choices=TASKS,
        default="auto",
        help="auto: classification for text, booleans and at most 20 distinct integers",
    )
    group.add_argument(
        "--datasets",
        type=_names(BUNDLED),
        metavar="NAME,...",
        help=f"sets that come with scikit-learn, of {', '.join(BUNDLED)} "
        f"(default: {','.join(DEFAULT_DATASETS)})",
    )
    group.add_argument(
        "--max-rows",
        type=_positive,
        default=3000,
        metavar="N",
        help="use a random sample of larger sets (default: %(default)s)",
    )


def _add_method_options(group):
    group.add_argument(
        "--methods",
        type=lambda text: {name: METHODS[name] for name in _names(METHODS)(text)},
        default={name: METHODS[name] for name in MAIN},
        metavar="NAME,...",
        help=f"short names, listed below (default: {','.join(MAIN)})",
    )
    sizes = Settings()
    for option, default, help_text in (
        ("--n-splits", 3, "random splits into training and test part"),
        ("--n-bits", sizes.n_bits, "length of the codes"),
        ("--n-components", sizes.n_components, "number of random features"),
    ):
        group.add_argument(
            option,
            type=_positive,
            default=default,
            metavar="N",
            help=f"{help_text} (default: %(default)s)",
        )
    group.add_argument(
        "--max-iter",
        type=_max_iter,
        default=None,
        metavar="N",
        help="minibatches of the training, or auto, each method's own (default: auto for a file, "
        f"{BUNDLED_MAX_ITER} for sets that come with scikit-learn)",
    )
    group.add_argument(
        "--test-size",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="share of the rows held out (default: %(default)s)",
    )
    group.add_argument(
        "--seed",
        type=_natural,
        default=0,
        metavar="N",
        help="seed of the first split; the next ones count up (default: %(default)s)",
    )
    group.add_argument(
        "--n-jobs",
        type=_n_jobs,
        default=-1,
        metavar="N",
        help="fits at a time; -1: one a core (default: %(default)s)",
    )


def _add_output_options(group):
    figure = group.add_mutually_exclusive_group()
    figure.add_argument(
        "--figure", metavar="PATH", help=f"where to save the figure (default: {DEFAULT_FIGURE})"
    )
    figure.add_argument("--no-figure", action="store_true", help="save no figure")
    group.add_argument(
        "--json", action="store_true", help="print one JSON object instead of the table"
    )
    group.add_argument("--quiet", action="store_true", help="show no progress")


def _names(known):
    """Return a parser of comma-separated names out of ``known``."""

    def parse(text):
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}."
                raise argparse.ArgumentTypeError(f"unknown name {name!r}; {hint}")
        if not names:
            raise argparse.ArgumentTypeError(f"no name given; known: {', '.join(known)}.")
        return list(dict.fromkeys(names))

    return parse


def _natural(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _max_iter(text):
    return text if text == "auto" else _positive(text)


def _n_jobs(text):
    try:
        n_jobs = int(text)
    except ValueError:
        n_jobs = 0
    if n_jobs == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of fits at a time, or -1")
    return n_jobs


def _share(text):
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return share
