"""A problem from the user's CSV file."""

import re
from difflib import get_close_matches

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skopu.comparison.problems import CLASSIFICATION, LARGEST, REGRESSION, InputError, Problem
from skopu.comparison.tables.cells import split_cells
from skopu.comparison.tables.columns import DATE, NUMBER, TEXT, TEXT_GAPS, understand
from skopu.comparison.tables.decoding import decode
from skopu.comparison.tables.numbers import first_misfit, spoiler
from skopu.comparison.tables.sources import read_bytes, shown, table_name

TASKS = ("auto", REGRESSION, CLASSIFICATION)
_MAX_CATEGORIES = 20  # columns that one-hot encoding makes of a text column, at most
_MAX_INTEGER_CLASSES = 20  # distinct integers that are still taken for classes
_IDENTIFIER = re.compile(r"(unnamed: 0|index|id|.*[ _.-]id)$", re.IGNORECASE)


def read_csv_problem(path, target, task="auto"):
    """Read a CSV file and say what is done with its columns.

    Missing numbers become the median and missing text the most frequent value, both of the
    training part; text and category columns are one-hot encoded; dates become days. Columns
    that are constant, that number the rows, or whose text differs in most rows are dropped.

    Parameters
    ----------
    path : str
        The file, an address, or "-" for standard input. Cells are separated by commas,
        semicolons, tabs, bars or spaces; the first line names the columns.
    target : str
        Name of the column to predict.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto": classification for text, booleans and at most 20 distinct integers, of
        which each has two rows on average.

    Returns
    -------
    problem : Problem

    Raises
    ------
    InputError
        If the file cannot be read, or holds no such target or no usable column.
    ModuleNotFoundError
        If pandas is missing.
    """
    notes = []
    cells, place = _read_cells(path, notes)
    target = target if target in cells.columns else target.strip()
    _check_target(cells, target)
    columns = understand(cells, notes, as_numbers={target} if task == REGRESSION else ())
    goal = columns.pop(target)
    has_target = _drop_rows_without_target(goal, target, notes)
    y, classes, task = _make_target(goal, has_target, target, task, notes)
    X = _make_columns(columns, has_target, notes)
    if X.shape[1] == 0:
        raise InputError(
            f"{place} has no usable column beside the target {target!r}: constant columns, row "
            "numbers and text that differs in most rows are of no use."
        )
    return Problem(table_name(path), X, y, task, _make_preprocessor(X), classes, tuple(notes))


def read_table(path, notes, as_numbers=()):
    """Return the columns of a file by name, and what to call the file.

    Parameters
    ----------
    path : str
        As for ``read_csv_problem``.
    notes : list of str
        Grows by what was decided.
    as_numbers : collection of str
        Columns whose numbers are quantities even if they begin with zeros.
    """
    cells, place = _read_cells(path, notes)
    return understand(cells, notes, as_numbers=as_numbers), place


def _read_cells(path, notes):
    place = shown(path)
    return split_cells(decode(read_bytes(path), place, notes), place, notes), place


def to_numbers(column):
    """Return the values of a column that is no text, NaN where their squares overflow."""
    return np.where(np.abs(column.values) < LARGEST, column.values, np.nan)


def to_text(column):
    """Return the cells of a column whatever it holds, NaN where they are empty."""
    cells = [np.nan if cell.lower() in TEXT_GAPS else cell for cell in column.text]
    return np.array(cells, dtype=object)


def _check_target(cells, target):
    names = list(cells.columns)
    if target in cells.repeated:
        raise InputError(f"--target {target!r} is the name of several columns: rename one of them.")
    if target in names:
        return
    near = [name for name in names if name.lower() == target.lower()]
    near = near or get_close_matches(target, names, n=1, cutoff=0.5)
    some = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"columns: {some}."
    if 2 * sum(first_misfit([name]) is None for name in names) > len(names):
        hint = f"its first line holds numbers ({some}): put a line of column names above it."
    raise InputError(f"--target {target!r} is not a column of the file; {hint}")


def _is_missing(values):
    return np.array([v != v for v in values]) if values.dtype == object else np.isnan(values)


def _drop_rows_without_target(goal, target, notes):
    """Return which rows have a target, shape (n,)."""
    missing = _is_missing(goal.values)
    if missing.all():
        raise InputError(f"the target {target!r} has no value in any row.")
    if missing.any():
        notes.append(f"{int(missing.sum())} row(s) without a value of {target!r} are dropped.")
    return ~missing


def _make_target(goal, rows, name, task, notes):
    """Return y, the labels of its classes, and the task."""
    values = goal.values[rows]
    if task == "auto":
        task, reason = _guess_task(goal.kind, values, name)
        other = REGRESSION if task == CLASSIFICATION else CLASSIFICATION
        notes.append(f"task: {task}, because {reason}; --task {other} overrides this.")
    if task == CLASSIFICATION:
        if goal.kind != NUMBER:
            values = np.array([cell for cell, has in zip(goal.text, rows) if has])
        labels, y = np.unique(values, return_inverse=True)
        return y, tuple(map(label_of, labels)), task
    if goal.kind == TEXT:
        raise InputError(
            f"the target {name!r} holds text such as {_misfit(values)}, and "
            "regression needs numbers: use --task classification or another --target."
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"the target {name!r} has infinite values: remove these rows or bound them."
        )
    return values, (), task


def _misfit(values):
    misfit = first_misfit(values)
    return repr(misfit) if misfit is not None else spoiler(values) or repr(values[0])


def label_of(value):
    """Return how the class of a number is called."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _guess_task(kind, values, name):
    """Return the task that the values of a target suggest, and why."""
    n_distinct = len(set(values))
    if kind == DATE:
        return REGRESSION, f"column {name!r} holds {n_distinct} distinct dates"
    if kind != NUMBER:
        return CLASSIFICATION, f"column {name!r} holds {n_distinct} labels"
    integers = np.isfinite(values).all() and (values == np.round(values)).all()
    # Where most rows have a value of their own, there is nothing to learn of a class.
    if integers and n_distinct <= min(_MAX_INTEGER_CLASSES, len(values) / 2):
        return CLASSIFICATION, f"column {name!r} holds {n_distinct} distinct integers"
    return REGRESSION, f"column {name!r} holds {n_distinct} distinct numbers"


def _make_columns(columns, rows, notes):
    """Return a data frame of floats and text (object dtype) of the columns worth keeping."""
    import pandas as pd

    kept, dropped = {}, {}
    for name, column in columns.items():
        values = (column.values if column.kind == TEXT else to_numbers(column))[rows]
        reason = _why_useless(name, values, column.kind)
        if reason:
            dropped.setdefault(reason, []).append(name)
        else:
            kept[name] = pd.Series(values, dtype=object if column.kind == TEXT else None)
    notes.extend(f"dropped, {why}: {', '.join(names)}." for why, names in dropped.items())
    gaps = [name for name, column in kept.items() if column.isna().any()]
    if gaps:
        notes.append(
            f"filled, missing values or numbers without finite squares: {', '.join(gaps)}."
        )
    return pd.DataFrame(kept)


def _why_useless(name, values, kind):
    """Return why a column is dropped; None to keep it."""
    present = values[~_is_missing(values)]
    n_distinct = len(set(present)) if kind == TEXT else len(np.unique(present))
    if n_distinct == 0:
        return "without a value in any row"
    if n_distinct == 1:
        full = len(present) == len(values)
        return "the same value in every row" if full else "one value beside gaps"
    if kind == TEXT and n_distinct > max(_MAX_CATEGORIES, len(present) / 2):
        return "text that differs in most rows"
    all_differ = n_distinct == len(present)
    if kind == NUMBER and all_differ and _IDENTIFIER.match(name) and (present % 1 == 0).all():
        return "row numbers"
    return None


def _make_preprocessor(X):
    """Imputation and one-hot encoding, to be fitted on training rows only."""
    text = [name for name in X.columns if X[name].dtype == object]
    numbers = [name for name in X.columns if name not in text]
    # A value that only test rows have counts as one of the rare ones.
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=_MAX_CATEGORIES, sparse_output=False
    )
    fill = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
    parts = [
        ("numbers", SimpleImputer(strategy="median", keep_empty_features=True), numbers),
        ("text", make_pipeline(fill, encoder), text),
    ]
    return ColumnTransformer([part for part in parts if part[2]])
