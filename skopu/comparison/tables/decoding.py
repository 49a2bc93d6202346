"""Text out of bytes."""

import codecs
import re

from skopu.comparison.problems import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What people take for CSV files, and what to do with it.
_OTHERS = (
    (rb"\xd0\xcf\x11\xe0", "an Excel workbook: save its sheet as CSV"),
    (
        rb"PAR1[\x00-\x1f\x80-\xff]",
        "a Parquet file: write it with pandas.read_parquet(...).to_csv(...)",
    ),
    (rb"ARROW1\x00", "a Feather file: write it with pandas.read_feather(...).to_csv(...)"),
    (rb"\x89HDF", "an HDF5 file: write its table as CSV"),
    (rb"SQLite format 3", "an SQLite database: export its table as CSV"),
    (rb"\x93NUMPY", "a NumPy array: write it with numpy.savetxt, with a line of column names"),
    (rb"%PDF", "a PDF: export its table as CSV"),
    (rb"\s*<(!doctype|html|\?xml)", "a web page or XML, not a table: fetch the file itself"),
    (rb"\s*(\{\s*\"|\[\s*[\[{])", "JSON: write it with pandas.read_json(...).to_csv(...)"),
    (rb"\s*(%.*\s+)*@relation", "an ARFF file: write it as CSV"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file: run git lfs pull"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")
_MAX_CONTROLS = 0.01  # share of characters; a text may have a stray one


def decode(content, path, notes):
    """Return bytes as text, with line feeds as line ends.

    UTF-8, or what a byte order mark says, or else Windows-1252, in which the Excel of the western
    world writes, and which says the same in ASCII as all its likes.

    Parameters
    ----------
    content : bytes
        Of the file.
    path : str
        How messages call it.
    notes : list of str
        A guess is noted here.

    Returns
    -------
    text : str

    Raises
    ------
    InputError
        If the file is empty or no text.
    """
    if not content.strip():
        raise InputError(f"{path} is empty.")
    for sign, what in _OTHERS:
        if re.match(sign, content[:4096], re.IGNORECASE):
            raise InputError(f"{path} is {what}.")
    text = _decode(content, path, notes)
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")  # DOS ends files so
    start = text[:65536]
    if "\x00" in text or len(_CONTROL.findall(start)) > _MAX_CONTROLS * len(start):
        raise InputError(f"{path} is not a text file: it holds bytes that no text has.")
    if not text.strip():
        raise InputError(f"{path} is empty.")
    return text


def _decode(content, path, notes):
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    encoding = encoding or _wide(content) or "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise InputError(
                f"{path} says that it is {encoding}, and is not: {error.reason} at byte "
                f"{error.start}; save it in UTF-8."
            ) from None
    notes.append(
        "the file is not in UTF-8 and was read as Windows-1252: if letters are wrong, save it in "
        "UTF-8."
    )
    # Five bytes mean nothing in Windows-1252; Latin-1 has a meaning for all.
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _wide(content):
    """UTF-16 without its mark: every second byte of western text is zero."""
    start = content[:2048]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if 2 * start[first::2].count(0) > 0.9 * len(start) and not start[1 - first :: 2].count(0):
            return encoding
    return None
