"""``skopu predict``: what a model file says of a new file."""

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from sklearn.metrics import r2_score

from skopu.comparison.csv_files import label_of, read_table, to_numbers, to_text
from skopu.comparison.printing import say, show
from skopu.comparison.problems import CLASSIFICATION, InputError
from skopu.comparison.tables.columns import NUMBER, TEXT
from skopu.deploy.model_files import load_model


def main(argv):
    """Print predictions, one line a row of the file.

    Parameters
    ----------
    argv : list of str

    Returns
    -------
    status : int
    """
    options = _make_parser().parse_args(argv)
    model = _load(options.model)
    expected, notes = model.skopu_, []
    target = {expected["target"]} if expected["task"] != CLASSIFICATION else set()
    columns, place = read_table(options.csv, notes, as_numbers=target)
    X = _rows(columns, expected["columns"], place)
    for note in notes:
        say(f"{place}: {note}")
    predicted = model.predict(X)
    text = _as_csv(model, X, predicted, expected)
    if options.out is None:
        show(text.rstrip("\n"))
    else:
        _write(options.out, text)
        show(f"{len(predicted)} prediction(s): {options.out}")
    if expected["target"] in columns:
        say(f"{place}: {_agreement(columns[expected['target']], predicted, expected['task'])}")
    return 0


def _make_parser():
    parser = argparse.ArgumentParser(
        prog="skopu predict",
        description="Predict the target of a model of skopu fit for the rows of a CSV file.",
        epilog="Prints a CSV file: the prediction, and for classes their probabilities, row by "
        "row. If the file has the target, says how well it was predicted.",
    )
    parser.add_argument("model", metavar="model.skops", help="file of skopu fit")
    parser.add_argument("csv", metavar="new.csv", help="with the same columns; - is standard input")
    parser.add_argument("--out", metavar="PATH", help="where to write the predictions")
    return parser


def _load(path):
    if not Path(path).is_file():
        raise InputError(f"file not found: {path}")
    try:
        model = load_model(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever is wrong inside a file that is none of ours
        raise InputError(f"{path} is not a model of skopu fit: {error}") from None
    if not hasattr(model, "skopu_"):
        raise InputError(
            f"{path} holds a model, but not one of skopu fit: load it by skopu.deploy.load_model."
        )
    return model


def _rows(columns, kinds, place):
    """Return a data frame of the columns that the model was fitted to."""
    import pandas as pd

    missing = [name for name in kinds if name not in columns]
    if missing:
        raise InputError(
            f"{place} lacks column(s) that the model was fitted to: "
            f"{', '.join(map(repr, missing))}."
        )
    values = {}
    for name, kind in kinds.items():
        column = columns[name]
        if kind != TEXT and column.kind == TEXT and not _is_empty(column):
            raise InputError(
                f"column {name!r} of {place} holds text such as {_example(column)}, and the model "
                "was fitted to numbers in it."
            )
        values[name] = to_text(column) if kind == TEXT else to_numbers(column)
    return pd.DataFrame(values)


def _is_empty(column):
    return all(value != value for value in column.values)


def _example(column):
    return repr(next(value for value in column.values if value == value))


def _as_csv(model, X, predicted, expected):
    header, parts = [expected["target"]], [predicted]
    if hasattr(model, "predict_proba"):
        header += [f"P({label})" for label in model.classes_]
        parts += list(model.predict_proba(X).T)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in zip(*parts))
    return text.getvalue()


def _cell(value):
    return f"{value:.10g}" if isinstance(value, (float, np.floating)) else str(value)


def _write(path, text):
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path} cannot be written: {error.strerror}.") from None


def _agreement(column, predicted, task):
    """Say how well a target that the file has was predicted."""
    if task == CLASSIFICATION:
        is_known = np.array([value == value for value in column.values])
        texts = map(label_of, column.values) if column.kind == NUMBER else column.text
        share = np.mean(np.array(list(texts))[is_known] == predicted[is_known])
        return f"{share:.1%} of the {is_known.sum()} labels in the file are met."
    values = to_numbers(column)
    is_known = np.isfinite(values)
    score = r2_score(values[is_known], predicted[is_known]) if is_known.sum() > 1 else np.nan
    return f"R2 = {score:.3f} on the {is_known.sum()} values of the target in the file."
