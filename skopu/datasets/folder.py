"""Data sets in files of a folder."""

import hashlib
import os
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

_DAMAGE = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


def find_file(name, data_home):
    """Return the path of ``<name>.npz`` in ``data_home`` or SKOPU_DATA; None if it is not there."""
    folder = os.environ.get("SKOPU_DATA") if data_home is None else data_home
    if not folder:
        return None
    path = Path(folder).expanduser() / f"{name}.npz"
    return path if path.is_file() else None


def read_file(path, known):
    """Return the arrays of a file: data (n, d), target (n,), and further ones by name.

    Parameters
    ----------
    path : Path
    known : DataSet

    Raises
    ------
    ValueError
        If the file cannot be read, or holds something else.

    Warns
    -----
    UserWarning
        If the file is not the one whose checksum is known.
    """
    arrays = _read_arrays(path)
    if "x_train" in arrays:
        arrays = _join_halves(arrays)
    missing = {"X", "y", *known.extras} - set(arrays)
    if missing:
        raise ValueError(
            f"{path} holds the arrays {sorted(arrays)} and lacks {sorted(missing)}: store X of "
            f"shape {known.shape} and y of shape ({known.shape[0]},) with numpy.savez."
        )
    X, y = arrays["X"], arrays["y"]
    _check_arrays(path, X, y, known)
    _check_sum(path, known.sha256)
    return X, y, {extra: arrays[extra] for extra in known.extras}


def _read_arrays(path):
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGE as error:
        raise ValueError(
            f"{path} cannot be read as an .npz file ({error}): it may be cut short or damaged; "
            "copy it again, or delete it and use download=True."
        ) from error


def _join_halves(arrays):
    """Return images of MNIST as rows, those for training first."""
    halves = [arrays[f"x_{half}"] for half in ("train", "test")]
    rows = [half.reshape(len(half), -1) for half in halves]
    return {
        "X": np.concatenate(rows),
        "y": np.concatenate([arrays[f"y_{half}"] for half in ("train", "test")]),
    }


def _check_arrays(path, X, y, known):
    n_features, sizes = known.shape[1], {known.shape[0], known.full_size} - {None}
    fits = X.ndim == 2 and X.shape[1] == n_features and len(X) in sizes and y.shape == X.shape[:1]
    if not fits:
        wanted = " or ".join(str((size, n_features)) for size in sorted(sizes))
        raise ValueError(
            f"{path} holds X of shape {X.shape} and y of shape {y.shape}, but X of this set has "
            f"shape {wanted} and y one entry a row: it is another set, or a part of this one."
        )
    is_number = X.dtype.kind in "fiu" and y.dtype.kind in "fiu"
    if not is_number or not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError(f"{path} holds values that are no finite numbers: get the file anew.")
    if known.classes and not np.isin(y, np.arange(len(known.classes))).all():
        raise ValueError(
            f"{path} holds other class numbers than 0 to {len(known.classes) - 1} in y: store "
            "the numbers of the classes, not their labels."
        )


def _check_sum(path, expected):
    if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        warnings.warn(
            f"{path} has the right sizes but is not the file that figures in the documentation "
            "were made with: its SHA-256 is another, so values or order of rows may differ.",
            UserWarning,
            stacklevel=4,
        )
