"""``skopu fit``: a model from a file."""

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skopu._version import __version__
from skopu.comparison.csv_files import TASKS, read_csv_problem
from skopu.comparison.methods import METHODS, Settings
from skopu.comparison.printing import say, show
from skopu.comparison.problems import InputError, check_splittable
from skopu.comparison.tables.columns import TEXT
from skopu.deploy.model_files import save_model
from skopu.exceptions import InterruptedFitWarning

# The package's own; peers have files of their own.
_OWN = (
    *("cross-fitted", "exact", "end-to-end", "isolated", "chain", "dfa", "autoencoder"),
    *("thermometer", "hyperplanes"),
)
_TEST_SIZE = 0.2


def main(argv):
    """Fit, say what to expect of the model, and write it.

    Parameters
    ----------
    argv : list of str

    Returns
    -------
    status : int
    """
    options = _make_parser().parse_args(argv)
    out = _check_out(options.out)
    problem = read_csv_problem(options.csv, options.target, options.task)
    for note in problem.notes:
        say(f"{problem.name}: {note}")
    check_splittable(problem, _TEST_SIZE)
    y = np.array(problem.classes)[problem.y] if problem.is_classification else problem.y
    model = _make_model(problem, options)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(problem.X, y)
    for warning in told:
        say(f"{problem.name}: {warning.message}")
    if any(issubclass(warning.category, InterruptedFitWarning) for warning in told):
        raise KeyboardInterrupt
    model.skopu_ = _what_to_expect(problem, options.target)
    save_model(model, out)
    show(f"{METHODS[options.method].label}, fitted to {len(y)} rows: {out}")
    return 0


def _make_parser():
    parser = argparse.ArgumentParser(
        prog="skopu fit",
        description="Fit a model to a CSV file and write it, to be used by skopu predict.",
        epilog="Files are read as by the comparison: any separator and convention, gaps filled, "
        "text one-hot encoded, columns standardised. The model file holds all of it, loads without "
        "torch, and runs no code when it is loaded.",
    )
    parser.add_argument("csv", metavar="data.csv", help="a file, - for standard input, an address")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column to predict")
    parser.add_argument("--out", required=True, metavar="model.skops", help="where to write it")
    parser.add_argument("--task", choices=TASKS, default="auto", help="as of the comparison")
    parser.add_argument(
        "--method",
        choices=_OWN,
        default=_OWN[0],
        help="as of the comparison (default: %(default)s, the most accurate)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--max-iter", type=int, default=None, help="minibatches (default: the method's own)"
    )
    return parser


def _check_out(path):
    """Refuse what cannot be written before the first minutes are spent."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"--out {path} is a folder: name a file in it, such as model.skops.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--out {path}: there is no folder {path.parent}.")
    return path


def _make_model(problem, options):
    settings = Settings(max_iter=options.max_iter or "auto")
    model = METHODS[options.method].make(problem.task, settings, options.seed)
    if not problem.is_classification:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    steps = [] if problem.preprocessor is None else [problem.preprocessor]
    return make_pipeline(*steps, StandardScaler(), model)


def _what_to_expect(problem, target):
    """Return what a later file must hold."""
    kinds = {
        name: TEXT if problem.X[name].dtype == object else "number" for name in problem.X.columns
    }
    return {"version": __version__, "target": target, "task": problem.task, "columns": kinds}
