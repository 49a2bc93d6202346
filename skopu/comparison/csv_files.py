"""A problem from the user's CSV file."""

import re
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skopu.comparison.problems import CLASSIFICATION, LARGEST, REGRESSION, InputError, Problem

_MAX_CATEGORIES = 20  # columns that one-hot encoding makes of a text column, at most
_MAX_INTEGER_CLASSES = 20  # distinct integers that are still taken for classes
_SECONDS_PER_DAY = 86_400
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?$")
_DECIMAL_COMMA = r"\s*[-+]?\d+,\d+\s*"
_IDENTIFIER = re.compile(r"(unnamed: 0|index|id|.*[ _.-]id)$", re.IGNORECASE)


def read_csv_problem(path, target, task="auto"):
    """Read a CSV file and say what is done with its columns.

    Missing numbers become the median and missing text the most frequent value, both of the
    training part; text and category columns are one-hot encoded; dates become days. Columns
    that are constant, that number the rows, or whose text differs in most rows are dropped.

    Parameters
    ----------
    path : str
        The file. Columns are separated by commas, semicolons or tabs, and named in the first
        line.
    target : str
        Name of the column to predict.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto": classification for text, booleans and at most 20 distinct integers.

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
    frame = _read(path)
    notes = []
    _check_target(frame, target)
    frame = _drop_rows_without_target(frame, target, notes)
    y, classes, task = _make_target(frame[target], task, notes)
    X = _make_columns(frame.drop(columns=target), notes)
    if X.shape[1] == 0:
        raise InputError(
            f"{path} has no usable column beside the target {target!r}: constant columns, row "
            "numbers and text that differs in most rows are of no use."
        )
    name = Path(path).stem
    return Problem(name, X, y, task, _make_preprocessor(X), classes, tuple(notes))


def _read(path):
    """Return the file as a data frame, or raise one sentence about what is wrong with it."""
    import pandas as pd

    # "?" stands for a missing value in many public data sets.
    options = {"na_values": ["?"], "skipinitialspace": True, "low_memory": False}
    try:
        frame = pd.read_csv(path, **options)
        if frame.shape[1] == 1 and re.search("[;\t]", str(frame.columns[0])):
            options = {"sep": "[;\t]", "engine": "python", "na_values": ["?"]}
            frame = pd.read_csv(path, **options)
            if _has_decimal_commas(frame):
                frame = pd.read_csv(path, decimal=",", **options)
    except FileNotFoundError:
        raise InputError(f"file not found: {path}") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as a CSV file in UTF-8: {reason}.") from None
    if frame.empty:
        raise InputError(f"{path} has no rows below its line of column names.")
    return frame


def _has_decimal_commas(frame):
    """Whether a column of text holds numbers such as 0,5 in every row."""
    text = (frame[name].dropna().astype(str) for name in frame if frame[name].dtype.kind == "O")
    return any(len(column) and column.str.fullmatch(_DECIMAL_COMMA).all() for column in text)


def _check_target(frame, target):
    if target in frame.columns:
        return
    near = get_close_matches(target, map(str, frame.columns), n=1, cutoff=0.5)
    shown = ", ".join(map(repr, frame.columns[:8])) + (", ..." if frame.shape[1] > 8 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"columns: {shown}."
    raise InputError(f"--target {target!r} is not a column of the file; {hint}")


def _drop_rows_without_target(frame, target, notes):
    missing = frame[target].isna()
    if missing.any():
        notes.append(f"{int(missing.sum())} row(s) without a value of {target!r} are dropped.")
    frame = frame[~missing].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"the target {target!r} has no value in any row.")
    return frame


def _make_target(column, task, notes):
    """Return y, the labels of its classes, and the task."""
    if task == "auto":
        task, reason = _guess_task(column)
        other = REGRESSION if task == CLASSIFICATION else CLASSIFICATION
        notes.append(f"task: {task}, because {reason}; --task {other} overrides this.")
    if task == CLASSIFICATION:
        labels, y = np.unique(_plain_labels(column), return_inverse=True)
        return y, tuple(map(str, labels)), task
    y = _as_numbers(column)
    if not np.isfinite(y).all():
        raise InputError(
            f"the target {column.name!r} has infinite values: remove these rows or bound them."
        )
    return y, (), task


def _guess_task(column):
    """Return the task that the values of a target suggest, and why."""
    n_distinct = column.nunique()
    if not _is_numeric(column):
        return CLASSIFICATION, f"column {column.name!r} holds {n_distinct} labels"
    values = column.to_numpy(dtype=np.float64)
    # By value, not by type: integers with gaps are read as floats.
    integers = np.isfinite(values).all() and (values == np.round(values)).all()
    if integers and n_distinct <= _MAX_INTEGER_CLASSES:
        return CLASSIFICATION, f"column {column.name!r} holds {n_distinct} distinct integers"
    return REGRESSION, f"column {column.name!r} holds {n_distinct} distinct numbers"


def _plain_labels(column):
    values = column.to_numpy()
    return values if _is_numeric(column) else values.astype(str)


def _as_numbers(column):
    try:
        return column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"the target {column.name!r} holds text such as {str(column.iloc[0])!r}, and "
            "regression needs numbers: use --task classification or another --target."
        ) from None


def _make_columns(frame, notes):
    """Return floats and text (object dtype) of the columns worth keeping."""
    columns, dropped = {}, {}
    for name in frame.columns:
        column, kind = _convert(frame[name])
        reason = _why_useless(column, kind)
        if reason:
            dropped.setdefault(reason, []).append(str(name))
        else:
            columns[name] = column
        if kind == "date" and not reason:
            notes.append(f"column {name!r} holds dates; they are counted in days.")
    notes.extend(f"dropped, {why}: {', '.join(names)}." for why, names in dropped.items())
    gaps = [str(name) for name, column in columns.items() if column.isna().any()]
    if gaps:
        notes.append(
            f"filled, missing values or numbers without finite squares: {', '.join(gaps)}."
        )
    return type(frame)(columns, index=frame.index)


def _convert(column):
    """Return a column as floats or as text, and its kind."""
    if _is_numeric(column) or _holds_booleans(column):
        numbers = column.astype("float64")
        return numbers.where(np.abs(numbers) < LARGEST), "number"
    days = _as_days(column)
    if days is not None:
        return days, "date"
    text = column.astype(object)
    return text.where(column.isna(), text.astype(str)).where(column.notna(), np.nan), "text"


def _is_numeric(column):
    return column.dtype.kind in "iuf"


def _holds_booleans(column):
    # Booleans with gaps are read as objects.
    return column.dtype.kind == "b" or bool(column.dropna().map(type).eq(bool).all())


def _as_days(column):
    """Days since 1970 if every value looks like a date and can be read as one, else None."""
    import pandas as pd

    values = column.dropna().astype(str)
    if values.empty or not values.map(lambda value: bool(_DATE.match(value))).all():
        return None
    try:
        dates = pd.to_datetime(column, format="mixed", utc=True)
    except (ValueError, OverflowError):
        return None
    epoch = pd.Timestamp(0, tz="UTC")
    return (dates - epoch).dt.total_seconds() / _SECONDS_PER_DAY


def _why_useless(column, kind):
    """Return why a column is dropped; None to keep it."""
    n_values, n_distinct = column.count(), column.nunique()
    if n_distinct <= 1:
        return "the same value in every row"
    all_differ = n_distinct == n_values
    if kind == "text" and n_distinct > max(_MAX_CATEGORIES, n_values / 2):
        return "text that differs in most rows"
    if kind == "number" and all_differ and _IDENTIFIER.match(str(column.name)):
        whole = (column.dropna() % 1 == 0).all()
        return "row numbers" if whole else None
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
