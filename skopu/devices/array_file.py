"""Arrays in ``.npz`` files: replaced as a whole, and not believed blindly."""

import os
from io import BytesIO
from math import prod
from zipfile import ZIP_STORED, ZipFile

import numpy as np


def check_place(path):
    """Raise ``OSError`` if a file cannot be written there: no folder, or one of somebody else."""
    with open(_unfinished(path), "wb"):
        pass
    os.remove(_unfinished(path))


def write_arrays(path, **arrays):
    """Write arrays to a file, which is whole before it takes the place of what was there."""
    with open(_unfinished(path), "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(_unfinished(path), path)


def read_arrays(path, names):
    """Return arrays of a file by name.

    Raises
    ------
    ValueError
        If it is no such file, or if an array says that it is larger than its bytes.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        with ZipFile(BytesIO(data)) as archive:
            for member in archive.infolist():
                _check(archive, member, len(data))
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive raises nearly anything
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check(archive, member, size):
    if member.compress_type != ZIP_STORED or member.file_size > size:
        raise ValueError(f"{member.filename} is compressed, or larger than the file")
    with archive.open(member) as file:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"{member.filename} has format {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} says that its shape is {shape}")


def _unfinished(path):
    return f"{os.fspath(path)}.part"
