"""Arrays in ``.npz`` files: replaced as a whole, and not believed blindly."""

import os
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
    ValueError, KeyError, EOFError or zipfile.BadZipFile
        If it is no such file, or if an array says that it is larger than its bytes.
    """
    with ZipFile(path) as archive:
        for member in archive.infolist():
            _check(archive, member, os.path.getsize(path))
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


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
