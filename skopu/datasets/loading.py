"""Loading data sets by name."""

from difflib import get_close_matches

import numpy as np
from sklearn.utils import Bunch

from skopu.datasets.catalogue import CATALOGUE, CLASSIFICATION
from skopu.datasets.folder import find_file, read_file
from skopu.datasets.openml import fetch_arrays


def list_datasets(task=None):
    """Return the names of the data sets.

    Parameters
    ----------
    task : {"regression", "classification"} or None, default=None
        Only those for this task.

    Returns
    -------
    names : list of str

    Raises
    ------
    ValueError
        If the task is unknown.

    Examples
    --------
    >>> from skopu.datasets import list_datasets
    >>> list_datasets("regression")[:3]
    ['boston', 'energy', 'yacht']
    """
    tasks = sorted({known.task for known in CATALOGUE.values()})
    if task is not None and task not in tasks:
        raise ValueError(f"task={task!r} is not known: use one of {tasks}, or None for all.")
    return [name for name, known in CATALOGUE.items() if task in (None, known.task)]


def load_dataset(name, *, data_home=None, return_X_y=False, as_frame=False, download=False):
    """Load a data set by name, from a folder or, if asked to, from OpenML.

    The folder holds ``<name>.npz`` files with arrays X (n, d) and y (n,); classes in y are
    numbered from 0. Sizes are checked, and the checksum where it is known. Nothing is scaled,
    shuffled or split.

    Parameters
    ----------
    name : str
        One of :func:`list_datasets`.
    data_home : str, Path or None, default=None
        The folder. None: the one named by the environment variable ``SKOPU_DATA``.
    return_X_y : bool, default=False
        Return data and target only.
    as_frame : bool, default=False
        Return a data frame and a series, which needs pandas.
    download : bool, default=False
        Fetch a set that is not in the folder from OpenML, with
        :func:`~sklearn.datasets.fetch_openml`, which keeps a copy in scikit-learn's folder.
        Without this nothing is ever fetched.

    Returns
    -------
    dataset : Bunch
        ``data`` (n_samples, n_features), float64, or uint8 for "mnist"; ``target``
        (n_samples,), float64 or class numbers; ``feature_names``; ``target_names``, the labels
        of the classes, or the name of the target; ``DESCR``; ``frame``, both in one data frame,
        or None. For "mocap" also ``user`` (n_samples,): who made the gesture, to leave one out.
    (data, target) : tuple, if ``return_X_y``

    Raises
    ------
    ValueError
        If the name is unknown, or a file is damaged or has other sizes.
    FileNotFoundError
        If the set is not in the folder and is not to be fetched, or cannot be.
    OSError
        If OpenML does not answer.

    Warns
    -----
    UserWarning
        If a file has the right sizes and another checksum.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skopu.datasets import load_dataset
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/concrete.npz", X=rng.random((1030, 8)), y=rng.random(1030))
    ...     X, y = load_dataset("concrete", data_home=folder, return_X_y=True)
    >>> X.shape, y.shape
    ((1030, 8), (1030,))
    """
    known = _look_up(name)
    path = find_file(name, data_home)
    feature_names, extras = known.feature_names, {}
    if path is not None:
        X, y, extras = read_file(path, known)
    elif download and known.openml:
        X, y, feature_names = fetch_arrays(name, known)
    else:
        raise FileNotFoundError(_ways_out(name, known, data_home))
    X = X.astype(np.uint8 if name == "mnist" else np.float64, copy=False)
    y = y.astype(np.int64 if known.task == CLASSIFICATION else np.float64, copy=False)
    frame = None
    if as_frame:
        frame, X, y = _as_frame(X, y, feature_names, known.target)
    if return_X_y:
        return X, y
    return Bunch(
        data=X,
        target=y,
        frame=frame,
        feature_names=feature_names,
        target_names=list(known.classes) or [known.target],
        DESCR=_describe(name, known, X.shape),
        **extras,
    )


def _look_up(name):
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(str(name).lower(), CATALOGUE, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"name={name!r} is not known.{hint} Known: {', '.join(CATALOGUE)}.")


def _ways_out(name, known, data_home):
    """Return the message for a set that is not at hand."""
    if data_home is not None:
        where = f"is not in data_home={str(data_home)!r}"
    else:
        where = (
            "is not in the folder named by the environment variable SKOPU_DATA, or none is named"
        )
    parts = "".join(f", and {extra} of shape ({known.shape[0]},)" for extra in known.extras)
    online = (
        f"or use download=True, which fetches data set {known.openml.data_id} from OpenML"
        if known.openml
        else "it cannot be fetched, as OpenML is not known to have it in this form"
    )
    return (
        f"{name}.npz {where}. Put it there, with X of shape {known.shape} and y{parts} (source: "
        f"{known.source}); {online}."
    )


def _as_frame(X, y, feature_names, target):
    import pandas as pd

    data = pd.DataFrame(X, columns=feature_names)
    series = pd.Series(y, name=target)
    return pd.concat([data, series], axis=1), data, series


def _describe(name, known, shape):
    """Return the text of ``DESCR``."""
    rows = f"{shape[0]} rows, {shape[1]} columns"
    kind = f"{len(known.classes)} classes" if known.classes else f"target {known.target}"
    lines = [f"{name}: {known.title}", f"{known.task}; {rows}; {kind}", f"Source: {known.source}."]
    return "\n".join([*lines, *([known.note] if known.note else [])])
