"""Columns of named cells out of records of unequal length.

pandas shifts the values of a row that is longer than the names by a column, and fills a shorter
one, both in silence. Here a longer row is understood (row names of R, separators at the end) or
refused, and a shorter one is said.
"""

import re
from typing import NamedTuple

from skopu.comparison.problems import InputError
from skopu.comparison.tables.layout import common_width, read_records

_NUMBER = re.compile(r"\s*[-+]?[0-9]*[.,]?[0-9]+([eE][-+]?[0-9]+)?\s*")
_YEAR = re.compile(r"\s*[12][0-9]{3}\s*")
_MAX_TITLES = 20  # lines above the names of the columns


class Cells(NamedTuple):
    """A table of text.

    Attributes
    ----------
    columns : dict of str to list of str
        By name, in the order of the file; an empty cell is "".
    repeated : frozenset of str
        Names that several columns have in the file.
    separator : str
    """

    columns: dict
    repeated: frozenset
    separator: str


def split_cells(text, path, notes):
    """Split a text into named columns.

    Parameters
    ----------
    text : str
        With line feeds as line ends.
    path : str
        How messages call it.
    notes : list of str
        What was skipped or filled is noted here.

    Returns
    -------
    cells : Cells

    Raises
    ------
    InputError
        If there are no rows, or cells that belong to no name.
    """
    records, layout = read_records(text, path)
    header, rows = _find_header(records, path, notes)
    rows = _drop_what_is_no_row(header, rows, notes)
    if not rows:
        raise InputError(f"{path} has no rows below its line of column names.")
    names = [cell.strip().strip("\ufeff") for cell in header.cells]
    names = _without_single_quotes(names)
    names[0] = re.sub(r"^#\s+", "", names[0])
    if _have_row_names(len(names), rows, text.split("\n")):
        notes.append("the first cell of each row has no name of a column: it names the row.")
        names.insert(0, "")
    while not names[-1] and all(len(row.cells) < len(names) for row in rows):
        names.pop()  # a separator at the end of the names alone
    _check_lengths(len(names), header, rows, path, notes)
    columns = [
        [r.cells[i].strip() if i < len(r.cells) else "" for r in rows] for i in range(len(names))
    ]
    kept = [i for i, name in enumerate(names) if name or any(columns[i])]
    unquoted = [_without_single_quotes(columns[i]) for i in kept]
    names, repeated = _make_unique([names[i] or f"Unnamed: {i}" for i in kept], notes)
    return Cells(dict(zip(names, unquoted)), repeated, layout.separator)


def _find_header(records, path, notes):
    """Return the record of names and those below it."""
    width = common_width(records)
    for i, record in enumerate(records[: _MAX_TITLES + 1]):
        if record.is_comment and not _is_commented_header(records, i, width):
            continue
        if width > 1 and _is_title(record, records[i + 1 : _MAX_TITLES + 1], width):
            continue
        if any(not skipped.is_comment for skipped in records[:i]):
            notes.append(f"skipped: what stands above the names of columns in line {record.line}.")
        return record, records[i + 1 :]
    raise InputError(
        f"{path} has no line of column names: put one above the rows, and nothing above it."
    )


def _is_title(record, below, width):
    """Whether a line above the table is none of it.

    A title stands alone in its line, and separators may fill the line up; other lines are too
    short, and below them stands one of names only.
    """
    if not below:
        return False
    return sum(map(bool, record.cells)) == 1 or (
        len(record.cells) < width - 1
        and any(len(other.cells) == width and _are_names(other.cells) for other in below)
    )


def _are_names(cells):
    """Whether cells differ and none is a number but, perhaps, a year."""
    filled = [cell for cell in cells if cell.strip()]
    numbers = [cell for cell in filled if _NUMBER.fullmatch(cell)]
    return len(set(filled)) == len(filled) and all(map(_YEAR.fullmatch, numbers))


def _is_commented_header(records, i, width):
    """Whether a line that begins with "#" names the columns of the numbers below it."""
    if len(records[i].cells) not in (width, width - 1) or i + 1 == len(records):
        return False
    below = records[i + 1]
    return not below.is_comment and any(map(_NUMBER.fullmatch, below.cells))


def _drop_what_is_no_row(header, rows, notes):
    """Drop comments, repeated names, and a last line that is no row."""
    n_names = len(header.cells)
    is_comment = [r.is_comment and len(r.cells) not in (n_names, n_names + 1) for r in rows]
    is_header = [r.cells == header.cells for r in rows]
    kept = [r for r, comment, names in zip(rows, is_comment, is_header) if not (comment or names)]
    for count, what in (
        (sum(is_comment), "comment"),
        (sum(is_header), "repetition of the column names"),
    ):
        if count:
            notes.append(f"skipped: {count} line(s) that are a {what}.")
    # A sum, a source, or what is left of a row that was cut.
    while kept and n_names > 2 and len(kept[-1].cells) == 1:
        notes.append(f"skipped: line {kept[-1].line}, at the end, which has one cell only.")
        kept.pop()
    return kept


def _have_row_names(n_names, rows, lines):
    """Whether each row has one cell more than there are names, which can name it, as R writes.

    Numbers name rows only if they count them or alone stand in quotes: any other could be the
    value of the first column, and the last cell the one that has no name.
    """
    if any(len(row.cells) != n_names + 1 for row in rows):
        return False
    if 2 * sum(bool(row.cells[-1].strip()) for row in rows) < len(rows):
        return False
    first = [row.cells[0].strip() for row in rows]
    if len(set(first)) < len(first):
        return False
    if not any(map(_NUMBER.fullmatch, first)) or _counts(first):
        return True
    written = [lines[row.line - 1] for row in rows]
    return all(line.lstrip()[:1] == '"' and line.count('"') <= 2 * n_names for line in written)


def _counts(cells):
    return any(cells == [str(i) for i in range(k, k + len(cells))] for k in (0, 1))


def _check_lengths(n_names, header, rows, path, notes):
    """Refuse rows with cells that have no name; tell of those with too few."""
    for row in rows:
        if any(cell.strip() for cell in row.cells[n_names:]):
            raise InputError(
                f"{path}: line {row.line} has {len(row.cells)} cells, and line {header.line} names "
                f"{n_names} columns: name them all, and quote cells that hold a separator."
            )
    short = [row for row in rows if len(row.cells) < n_names]
    for row in short:
        if any("\n" in cell for cell in row.cells):
            raise InputError(
                f"{path}: line {row.line} has {len(row.cells)} of {n_names} cells and goes over "
                "several lines: is a quote not closed?"
            )
    if short:
        notes.append(
            f"{len(short)} row(s), the first in line {short[0].line}, have fewer cells than there "
            "are columns: those at the end count as missing."
        )


def _without_single_quotes(cells):
    """Take off single quotes if every cell has them."""
    filled = [cell for cell in cells if cell]
    if filled and all(len(c) > 1 and c[0] == c[-1] == "'" for c in filled):
        return [cell[1:-1] for cell in cells]
    return cells


def _make_unique(names, notes):
    """Put numbers behind repeated names as pandas does: x, x.1, x.2."""
    unique, repeated = {}, []
    for name in names:
        number, new = 0, name
        while new in unique:
            number += 1
            new = f"{name}.{number}"
        if number:
            repeated.append(name)
        unique[new] = None
    if repeated:
        notes.append(f"several columns have one name and are numbered: {', '.join(repeated)}.")
    return list(unique), frozenset(repeated)
