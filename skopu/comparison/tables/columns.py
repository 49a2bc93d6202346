"""What the columns of a table are: numbers, booleans, dates or text.

Columns that can be read in one way only are understood first; what they say about the file
(its decimal mark, the order of its dates) decides the others.
"""

from typing import NamedTuple

import numpy as np

from skopu.comparison.tables import dates, numbers
from skopu.comparison.tables.dates import DAY_FIRST, MONTH_FIRST, find_dates
from skopu.comparison.tables.numbers import are_codes, choose, find_numbers, to_floats

NUMBER, DATE, BOOLEAN, TEXT = "number", "date", "boolean", "text"
_BOOLEANS = {"true": 1.0, "false": 0.0}
# Missing whatever stands beside it; other words for gaps are labels in a column of text.
TEXT_GAPS = frozenset({"", "?", "nan", "null", "<na>", "#n/a", "\\n"})


class Column(NamedTuple):
    """A column as it was understood.

    Attributes
    ----------
    kind : {"number", "date", "boolean", "text"}
    values : ndarray of shape (n,)
        Floats, or for text objects; NaN where missing.
    text : list of str
        The cells.
    """

    kind: str
    values: np.ndarray
    text: list


def understand(cells, notes, as_numbers=()):
    """Find out what the columns of a table are.

    Parameters
    ----------
    cells : Cells
        From ``split_cells``.
    notes : list of str
        How numbers and dates were read, where that is not plain.
    as_numbers : collection of str
        Columns whose numbers are quantities even if they begin with zeros.

    Returns
    -------
    columns : dict of Column by name
    """
    drafts = {name: _draft(column, name in as_numbers) for name, column in cells.columns.items()}
    decimals = _decimals(drafts.values())
    orders = _orders(drafts.values())
    columns, said = {}, {}
    for name, draft in drafts.items():
        column = cells.columns[name]
        if isinstance(draft, numbers.PlainNumbers):
            columns[name] = Column(NUMBER, draft.floats, column)
        elif isinstance(draft, numbers.Numbers):
            convention = choose(draft, decimals, cells.separator)
            columns[name] = Column(NUMBER, to_floats(column, draft.values(convention)), column)
            _say_numbers(said, name, draft, convention, cells.separator)
        elif isinstance(draft, dates.Dates):
            order = _choose_order(draft, orders, decimals)
            columns[name] = Column(DATE, to_floats(column, draft.days[order]), column)
            _say_dates(notes, name, draft, order, orders)
        elif draft == BOOLEAN:
            values = [_BOOLEANS.get(cell.lower(), np.nan) for cell in column]
            columns[name] = Column(BOOLEAN, np.array(values), column)
        else:
            columns[name] = Column(TEXT, _labels(name, column, notes), column)
    notes.extend(f"{what}: {', '.join(names)}." for what, names in said.items())
    return columns


def _draft(column, is_quantity):
    """Return PlainNumbers, Numbers, Dates, "boolean" or "text"."""
    if plain := numbers.plain_numbers(column):
        return plain
    different = dict.fromkeys(column)
    filled = [c for c in different if c.lower() not in numbers.GAPS | dates.GAPS]
    if not filled:
        return TEXT
    if all(cell.lower() in _BOOLEANS for cell in filled):
        return BOOLEAN
    if found := find_dates(filled):
        return found
    if are_codes(filled) and not is_quantity:
        return TEXT
    return find_numbers(filled) or TEXT


def _decimals(drafts):
    """Decimal marks of the columns that leave no choice."""
    found = set()
    for draft in drafts:
        if isinstance(draft, numbers.PlainNumbers) and draft.has_points:
            found.add(".")
        elif isinstance(draft, numbers.Numbers) and not draft.is_ambiguous:
            (convention,) = draft.conventions
            if any("," in text or "." in text for text in draft.bare):
                found.add(convention.decimal)
    return found


def _orders(drafts):
    """Orders of the dates that leave no choice."""
    return {
        next(iter(draft.days))
        for draft in drafts
        if isinstance(draft, dates.Dates) and not draft.is_ambiguous
    } - {""}


def _choose_order(draft, orders, decimals):
    if not draft.is_ambiguous:
        return next(iter(draft.days))
    if len(orders) == 1:
        return next(iter(orders))
    # Nobody writes the month first with dots, or with decimal commas elsewhere.
    return DAY_FIRST if draft.has_dots or decimals == {","} else MONTH_FIRST


def _say_numbers(said, name, draft, convention, separator):
    # Points as decimal marks, and no marks at all, are what everyone expects.
    if draft.is_ambiguous and (convention != numbers.POINT or separator == ";"):
        example, value = next(iter(draft.values(convention).items()))
        what = f"read {example} as {value:.15g}, for nothing in the column decides"
        said.setdefault(what, []).append(name)
    elif convention != numbers.POINT and any(
        mark and mark in text for mark in convention for text in draft.bare
    ):
        said.setdefault(f"read as numbers, written like {convention.example}", []).append(name)
    if draft.decoration:
        said.setdefault(f"read as numbers, without their {draft.decoration}", []).append(name)


def _say_dates(notes, name, draft, order, orders):
    if draft.kind == "times":
        notes.append(f"column {name!r} holds times; they are counted in days.")
        return
    shown = f", {order}" if order else ""
    notes.append(f"column {name!r} holds {draft.kind}{shown}; they are counted in days.")
    if draft.is_ambiguous and len(orders) != 1 and not draft.has_dots:
        notes.append(
            f"nothing decides whether day or month comes first in column {name!r}, where no number "
            "is above 12: write 2018-03-02 for what you mean."
        )


def _labels(name, column, notes):
    """Return text as it stands, with NaN where it is missing."""
    different = [c for c in dict.fromkeys(column) if c.lower() not in numbers.GAPS | dates.GAPS]
    if misfit := dates.spoiler(different):
        notes.append(f"column {name!r} is text, for dates do not look like {misfit}.")
    elif misfit := numbers.spoiler(different):
        notes.append(f"column {name!r} is text, for numbers do not look like {misfit}.")
    words = sorted({c for c in column if c.lower() in numbers.GAPS and c.lower() not in TEXT_GAPS})
    filled = [np.nan if cell.lower() in TEXT_GAPS else cell for cell in column]
    if words:
        shown = ", ".join(map(repr, words))
        notes.append(f"column {name!r} holds text, so {shown} counts as a label there.")
    return np.array(filled, dtype=object)
