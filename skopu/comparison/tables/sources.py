"""The bytes of a file, wherever it lies and however it is packed.

A suffix is a promise: a file named ``.gz`` that is not one, or a packed file that is named
``.csv``, was damaged or mistaken for another on its way here, and is refused rather than guessed
at. Where no suffix promises anything (standard input, a download), the first bytes decide.
"""

import bz2
import gzip
import io
import lzma
import re
import sys
import tarfile
import zipfile
import zlib
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from skopu.comparison.problems import InputError

STANDARD_INPUT = "-"
# Cells are kept as text until their column is understood, at ten times the size of the file.
_LARGEST = 2**31
_TIMEOUT = 60  # seconds without an answer from a server
_FETCHED = ("http", "https", "ftp", "file")
_PACKED = (
    (rb"\x1f\x8b", "gzip"),
    (rb"BZh[1-9](1AY&SY|\x17rE8P)", "bzip2"),
    (rb"\xfd7zXZ\x00", "xz"),
    (rb"PK(\x03\x04|\x05\x06)", "zip"),
    (rb"\x28\xb5\x2f\xfd", "zstandard"),
    (rb"7z\xbc\xaf\x27\x1c", "7z"),
    (rb"Rar!\x1a\x07", "rar"),
    (rb"(?s:.{257})ustar", "tar"),
)
_SUFFIXES = {
    ".gz": "gzip",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".zip": "zip",
    ".zst": "zstandard",
    ".7z": "7z",
    ".rar": "rar",
    ".tar": "tar",
    ".tgz": "gzip",
    ".tbz2": "bzip2",
    ".txz": "xz",
}
_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    NotImplementedError,  # a zip packed by a method that Python does not know
    RuntimeError,  # a zip with a password
    ValueError,
    OverflowError,
)


def read_bytes(path):
    """Return the content of a file, unpacked.

    Parameters
    ----------
    path : str
        A file, an address (http, https, ftp), or "-" for standard input. Packed by gzip, bzip2,
        xz, zip or tar it must hold one file.

    Returns
    -------
    content : bytes

    Raises
    ------
    InputError
        If there is no such file, or it cannot be opened or unpacked.
    """
    try:
        content = _open(path)
        return _unpack(content, shown(path), _promise(path), depth=0)
    except MemoryError:
        raise InputError(f"{path} does not fit in memory: take a sample of its rows.") from None


def shown(path):
    """Return what messages call a path."""
    return "standard input" if path == STANDARD_INPUT else path


def table_name(path):
    """Return what a table is called: the file's name without folder and suffixes of its kind."""
    if path == STANDARD_INPUT:
        return shown(path)
    name = PurePosixPath(urlsplit(path).path).name if _scheme(path) else Path(path).name
    known = {*_SUFFIXES, ".csv", ".tsv", ".txt", ".tab", ".dat", ".data"}
    while PurePosixPath(name).suffix.lower() in known:
        name = PurePosixPath(name).stem
    # Names may hold what no terminal and no font can show, even bytes that are no letters.
    return "".join(c if c.isprintable() else "?" for c in name)


def _scheme(path):
    scheme, mark, _ = path.partition("://")
    return scheme.lower() if mark and scheme.isalnum() else None


def _promise(path):
    """Return the packing that a name promises, "plain", or None if it promises nothing."""
    if path == STANDARD_INPUT or _scheme(path) not in (None, "file"):
        return None
    suffix = Path(path).suffix.lower()
    return _SUFFIXES.get(suffix, "plain") if suffix else None


def _open(path):
    if scheme := _scheme(path):
        return _fetch(path, scheme)
    if path == STANDARD_INPUT:
        return _read_standard_input()
    place = Path(path)
    try:
        place = place.expanduser()
        if place.is_dir():
            raise InputError(_say_folder(path, place))
        with place.open("rb") as file:
            return _limited(file, path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(_say_missing(path, place)) from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of nobody
        raise InputError(f"{path} cannot be read: {_reason(error)}.") from None


def _read_standard_input():
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed: name a file, or pipe one here.")
    try:
        return _limited(sys.stdin.buffer, "standard input")
    except OSError as error:
        raise InputError(f"standard input cannot be read: {_reason(error)}.") from None


def _fetch(path, scheme):
    if scheme not in _FETCHED:
        raise InputError(
            f"{path} is an address of {scheme}, which is not read from here: download the file and "
            "give its name."
        )
    try:
        with urlopen(path, timeout=_TIMEOUT) as answer:
            return _limited(answer, path)
    except InputError:
        raise
    except URLError as error:
        raise InputError(f"{path} cannot be fetched: {_reason(error)}.") from None
    # A server may say anything: http.client has exceptions of its own for it.
    except Exception as error:
        raise InputError(f"{path} cannot be fetched: {_reason(error)}.") from None


def _limited(stream, path):
    content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InputError(
            f"{path} holds more than {_LARGEST / 2**30:.0f} GiB: take a sample of its rows."
        )
    return content


def _say_folder(path, place):
    files = sorted(p.name for p in place.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        return f"{path} is a folder without files: name a CSV file."
    some = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    return f"{path} is a folder: name one of its files ({some})."


def _say_missing(path, place):
    try:
        beside = [p.name for p in place.parent.iterdir() if p.is_file()]
    except OSError:
        beside = []
    near = get_close_matches(place.name, beside, n=1, cutoff=0.8)
    hint = f"; did you mean {place.parent / near[0]}?" if near else ""
    return f"file not found: {path}{hint}"


def _unpack(content, path, promised, depth):
    """Return the one file in ``content``; ``promised`` as in ``_promise``."""
    packing = next((kind for sign, kind in _PACKED if re.match(sign, content)), None)
    if promised not in (None, packing or "plain"):
        raise InputError(_say_misnamed(content, path, promised, packing))
    if packing is None:
        return content
    if depth > 1:
        raise InputError(f"{path} holds an archive in an archive: unpack it first.")
    reader = _READERS.get(packing)
    if reader is None:
        raise InputError(f"{path} is packed by {packing}, which is not read from here: unpack it.")
    try:
        inside = reader(content, path)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{path} is damaged or not complete ({packing}: {_reason(error)}): fetch or pack it "
            "again."
        ) from None
    # What was packed may be a tar; nothing is known of its name.
    return _unpack(inside, path, None, depth + 1)


def _say_misnamed(content, path, promised, packing):
    suffix = Path(path).suffix
    if packing is None:
        return f"{path} is named {suffix}, but not packed by {promised}: fetch or name it again."
    if packing == "zip" and b"xl/" in content:
        return f"{path} is an Excel workbook: save its sheet as CSV."
    own = next(name for name, kind in _SUFFIXES.items() if kind == packing)
    return f"{path} is packed by {packing}: unpack it, or give it a name that ends in {own}."


def _read_zip(content, path):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [i.filename for i in archive.infolist() if not i.is_dir()]
        if any(name.startswith("xl/") for name in names):
            raise InputError(f"{path} is an Excel workbook: save its sheet as CSV.")
        with archive.open(_the_one(names, path)) as file:
            return _limited(file, path)


def _read_tar(content, path):
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        members = {member.name: member for member in archive if member.isfile()}
        return _limited(archive.extractfile(members[_the_one(list(members), path)]), path)


def _the_one(names, path):
    # macOS adds files of its own to every archive.
    names = [n for n in names if not n.startswith("__MACOSX/") and PurePosixPath(n).name[:1] != "."]
    if not names:
        raise InputError(f"{path} is an archive without files.")
    if len(names) > 1:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise InputError(
            f"{path} holds {len(names)} files ({some}): unpack it and name one of them."
        )
    return names[0]


def _stream(opener):
    def read(content, path):
        with opener(io.BytesIO(content)) as file:
            return _limited(file, path)

    return read


_READERS = {
    "gzip": _stream(gzip.open),
    "bzip2": _stream(bz2.open),
    "xz": _stream(lzma.open),
    "zip": _read_zip,
    "tar": _read_tar,
}


def _reason(error):
    """Return what an exception says, on one line, without the path it may repeat."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")
