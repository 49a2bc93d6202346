"""Data sets fetched from OpenML, when that is asked for."""

import numpy as np


def fetch_arrays(name, known):
    """Return data (n, d), target (n,) and names of columns, as fetched from OpenML.

    scikit-learn's ``fetch_openml`` checks what arrives against OpenML's checksum, and keeps a
    copy in scikit-learn's own folder.

    Parameters
    ----------
    name : str
    known : DataSet
        With ``openml``.

    Raises
    ------
    OSError
        If nothing can be fetched.
    ValueError
        If something of another size arrives.
    """
    from sklearn.datasets import fetch_openml

    source = known.openml
    target = source.target or "default-target"
    try:
        fetched = fetch_openml(
            data_id=source.data_id, target_column=target, as_frame=True, parser="auto"
        )
    except OSError as error:
        raise OSError(
            f"{name!r} could not be fetched from OpenML (data_id={source.data_id}): {error}. "
            f"Without a network, put {name}.npz with X of shape {known.shape} and y into a "
            "folder, and name the folder by data_home or the environment variable SKOPU_DATA."
        ) from error
    frame, y = fetched.data, fetched.target
    _check_size(name, frame.shape, known)
    X = np.column_stack([_numbers(frame[column]) for column in frame.columns])
    y = _class_numbers(name, y, known) if known.classes else _numbers(y)
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError(f"{name!r} has arrived from OpenML with missing or infinite values.")
    return X, y, [str(column) for column in frame.columns]


def _check_size(name, shape, known):
    wanted = (known.full_size or known.shape[0], known.shape[1])
    if shape != wanted:
        raise ValueError(
            f"{name!r} has arrived from OpenML (data_id={known.openml.data_id}) with shape "
            f"{shape}, not {wanted}: the set has changed there. Put {name}.npz into a folder "
            "named by data_home or SKOPU_DATA instead."
        )


def _numbers(column):
    """Return a column as floats; categories that are numerals become these numbers."""
    return np.asarray(column.astype(str) if column.dtype == "category" else column, dtype=float)


def _class_numbers(name, labels, known):
    found = np.asarray(labels.astype(str))
    order = known.openml.labels or tuple(np.unique(found))
    if set(order) != set(found.tolist()) or len(order) != len(known.classes):
        raise ValueError(
            f"{name!r} has arrived from OpenML with the classes {sorted(set(found))}, and "
            f"{len(known.classes)} were expected: {list(known.openml.labels or known.classes)}."
        )
    places = {label: number for number, label in enumerate(order)}
    return np.array([places[label] for label in found.tolist()])
