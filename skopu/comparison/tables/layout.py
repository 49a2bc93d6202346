"""How a text is laid out as a table: which character separates, which quotes.

What is judged is what is read: records come from the one reader of the standard library's
:mod:`csv`, with each layout that is possible, and the layout under which most of them have as many
cells as the first wins. Counting characters instead would count those inside quotes.
"""

import csv
import io
import re
from collections import Counter
from typing import NamedTuple

from skopu.comparison.problems import InputError

_SAMPLE = 2**18  # characters that the layouts are judged by
_LAST = "\uffff"  # a line put below the text: it stands alone unless a quote is open
_DECLARED = re.compile(r'"?sep=(.)"?;*\n', re.IGNORECASE)
_SPACES = " "
_FEWEST_EVEN = 0.9  # share of records of one width below which spaces separate words, not cells


class Layout(NamedTuple):
    """Which character separates cells, encloses them, and takes away the meaning of a quote."""

    separator: str = ","
    quote: str = '"'
    escape: str | None = None


class Record(NamedTuple):
    """The cells of one row, and the line of the file it begins in."""

    cells: list
    line: int

    @property
    def is_comment(self):
        """Whether it begins as a comment does."""
        return self.cells[0].startswith(("#", "%", "//"))


def read_records(text, path):
    """Split a text into records that are not blank, by the layout that fits best.

    Parameters
    ----------
    text : str
        With line feeds as line ends.
    path : str
        How messages call it.

    Returns
    -------
    records : list of Record
    layout : Layout

    Raises
    ------
    InputError
        If a quote is never closed.
    """
    declared = _DECLARED.match(text)
    if declared:  # Excel's own line, which says the separator
        body, first_line = text[declared.end() :], 2
        layout = Layout(declared[1])
    else:
        body, first_line = text, 1
        layout = _find(body)
    try:
        records = list(_records(body, layout, first_line))
    except csv.Error as error:
        # The reader of the standard library gives up in a cell of 131072 characters.
        raise InputError(
            f"{path} cannot be split into cells ({error}): is a quote not closed?"
        ) from None
    last = records.pop()
    if last.cells != [_LAST]:
        raise InputError(f"{path}: a quote that opens in line {last.line} is not closed.")
    return records, layout


def common_width(records):
    """Return the number of cells that most records have; of equals, the first."""
    counts = Counter(len(record.cells) for record in records)
    return counts.most_common(1)[0][0] if counts else 1


def _records(text, layout, first_line=1):
    """Yield the records of a text and the line below it."""
    lines = io.StringIO(f"{text}\n{_LAST}\n", newline="")
    if layout.separator == _SPACES:
        lines = (" ".join(line.split()) + "\n" for line in lines)
    # A space after a separator, as in "a, b" or 1; "x", is no part of a cell.
    reader = csv.reader(
        lines,
        delimiter=layout.separator,
        quotechar=layout.quote,
        escapechar=layout.escape,
        skipinitialspace=True,
    )
    line = first_line
    for cells in reader:
        if any(cell and not cell.isspace() for cell in cells):
            yield Record(cells, line)
        line = first_line + reader.line_num


def _find(text):
    sample = text[:_SAMPLE]
    if len(text) > _SAMPLE:
        sample = sample.rpartition("\n")[0] or sample
    layouts = list(_possible(sample))
    best = max(layouts, key=lambda layout: _merit(sample, layout))
    if _merit(sample, best)[0] > 0:
        return best
    # Words are separated by spaces too: only if nothing else will do, and evenly.
    spaces = Layout(_SPACES)
    fit, evenness, _ = _merit(sample, spaces)
    return spaces if fit > 0 and evenness > _FEWEST_EVEN else best


def _possible(sample):
    """Yield the layouts to be judged; of equals, the first is taken."""
    for quote in '"' + "'" * bool(re.search(r"(^|[,;\t|]) *'", sample, re.MULTILINE)):
        for escape in (None, "\\") if f"\\{quote}" in sample else (None,):
            for separator in ",;\t|":
                yield Layout(separator, quote, escape)


def _merit(sample, layout):
    """Return how well the first record fits the others, their evenness, and their width."""
    try:
        # The last record may be cut in the middle, and the line below it belongs to it then.
        records = list(_records(sample, layout))[:-1]
    except csv.Error:
        return 0, 0.0, 0
    records = [r for r in records if not r.is_comment] or records
    if not records:
        return 0, 0.0, 0
    width = common_width(records[1:] or records)
    first = len(records[0].cells)
    if width < 2:
        return 0, 0.0, width
    even = sum(len(r.cells) == width for r in records) / len(records)
    # R writes no name above the names of its rows; vendors end rows with a separator.
    near = first > 1 and first >= width - 1
    return 2 if first == width else int(near), even, width
