"""Numbers as they are written in one country or another.

A column is numeric if every cell fits one convention. Each convention is one pattern; what several
fit is decided by the other columns of the file, then by its separator, and said.
"""

import re
from typing import NamedTuple

import numpy as np

# Words that stand for a number that is missing; in a column of text they may be labels.
GAPS = frozenset(
    {"", "?", ".", "..", "...", "-", "--", "---", "\u2013", "\u2014", "*", "\\n", "missing"}
    | {"na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "none", "null", "nil", "(null)"}
    | {"#div/0!", "#value!", "#ref!", "#num!", "#null!", "1.#ind", "-1.#ind", "1.#qnan", "(none)"}
)
_EXPONENT = r"([eE][-+]?[0-9]+)?"
_GROUPS = r"[1-9][0-9]{0,2}(%s[0-9]{2,3})*%s[0-9]{3}"  # also those of India: 12,34,567
_SPACES = " \u00a0\u2007\u2009\u202f"
_CURRENCY = re.compile(r"[$€£¥₹₽₩₺¢]|\b(USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN)\b")
_DECORATED = re.compile(r"[^-+0-9.,eE]|[-+]$")
_UNIT = re.compile(rf"(?<=[0-9.,])[{_SPACES}]?((?:[^\W\d_]|[°/²³])+)$")


class Convention(NamedTuple):
    """A way to write numbers: the decimal mark and what groups thousands ("" for nothing)."""

    decimal: str
    thousands: str = ""

    @property
    def example(self):
        """1234.5, written so."""
        return f"1{self.thousands}234{self.decimal}5"


POINT, COMMA = Convention("."), Convention(",")
POINT_GROUPED, COMMA_GROUPED = Convention(".", ","), Convention(",", ".")


def _pattern(convention):
    decimal, group = map(re.escape, convention)
    whole = "[0-9]+" if not group else f"({_GROUPS % (group, group)}|[0-9]+)"
    return re.compile(
        f"[-+]?({whole}({decimal}[0-9]*)?|{decimal}[0-9]+){_EXPONENT}|[-+]?inf(inity)?",
        re.IGNORECASE,
    )


_PATTERNS = {c: _pattern(c) for c in (POINT, COMMA, POINT_GROUPED, COMMA_GROUPED)}
_GROUPED_ONLY = re.compile(r"[-+]?[1-9][0-9]{0,2}([.,][0-9]{3})+")
_UNGROUPED = re.compile(r"[-+]?[0-9]{1,3}")


class Numbers(NamedTuple):
    """What the different cells of a column may be as numbers.

    Attributes
    ----------
    cells : tuple of str
        As in the file.
    bare : tuple of str
        Without signs of money or percent, units, spaces, apostrophes and parentheses of
        accountants.
    conventions : tuple of Convention
        Those that every cell fits.
    decoration : str
        The sign of money or percent, or the unit.
    """

    cells: tuple
    bare: tuple
    conventions: tuple
    decoration: str

    @property
    def is_ambiguous(self):
        """Whether "1,234" or "1.234" may be about a thousand or about one."""
        return len(self.conventions) > 1

    def values(self, convention):
        """Return a dict of float by cell."""
        decimal, thousands = convention
        table = str.maketrans({decimal: "."} | ({thousands: ""} if thousands else {}))
        return {cell: float(bare.translate(table)) for cell, bare in zip(self.cells, self.bare)}


class PlainNumbers(NamedTuple):
    """A column of numbers with points as decimal marks, or without any, that is nothing else."""

    floats: np.ndarray
    has_points: bool


def plain_numbers(column):
    """Return a column as pandas reads it, or None if it may be anything else.

    It says nothing that ``find_numbers`` would not; it is there because most columns are plain,
    and this takes a tenth of the time.

    Parameters
    ----------
    column : list of str
        Cells, with gaps.

    Returns
    -------
    numbers : PlainNumbers or None
    """
    import pandas as pd

    floats = pd.to_numeric(pd.Series(column, dtype=object), errors="coerce").to_numpy(float)
    others = {column[i].lower() for i in np.flatnonzero(np.isnan(floats))}
    if not others <= GAPS or np.isnan(floats).all():
        return None
    with_points = [cell for cell in column if "." in cell and cell not in GAPS]
    if with_points:
        grouped = all(map(_GROUPED_ONLY.fullmatch, with_points))
        return None if grouped else PlainNumbers(floats, True)
    # Digits alone may be codes or dates.
    return None if len({*map(len, column)} - {0}) == 1 else PlainNumbers(floats, False)


def find_numbers(cells):
    """Return what cells may be as numbers, or None.

    Parameters
    ----------
    cells : sequence of str
        The different cells of a column, without gaps.

    Returns
    -------
    numbers : Numbers or None
        None if no convention fits all.
    """
    cells = tuple(cells)
    if not cells:
        return None
    if unit := _common_unit(cells):
        found = find_numbers([_UNIT.sub("", cell) for cell in cells])
        # A unit of money or of shares has no other beside it.
        return found and found._replace(cells=cells, decoration=f"{found.decoration}{unit}")
    found = [_undress(cell) for cell in cells]
    signs = {sign for _, sign in found if sign}
    bare = tuple(text for text, _ in found)
    # Without its sign a share is something else than with it.
    mixed = "%" in signs and any(not sign and text.strip("0.,+-") for text, sign in found)
    if len(signs) > 1 or mixed:
        return None
    fits = _fitting(bare)
    return Numbers(cells, bare, fits, next(iter(signs), "")) if fits else None


def _common_unit(cells):
    """Return the word that ends every cell behind a number, such as "kg"; "" if there is none."""
    matches = map(_UNIT.search, cells)
    units = {match and match[1] for match in matches}
    unit = units.pop() if len(units) == 1 else None
    # An exponent that has no digits is no unit.
    return "" if unit in (None, "e", "E") else unit


def are_codes(cells):
    """Whether numbers of one length begin with zeros, such as codes of places, 00501 to 99950."""
    lengths = {len(cell) for cell in cells}
    return (
        len(lengths) == 1
        and lengths.pop() > 2
        and all(cell.isascii() and cell.isdigit() for cell in cells)
        and any(cell[0] == "0" for cell in cells)
    )


def _undress(cell):
    """Return a cell without what may stand around and within a number, and its sign of kind."""
    text = cell.replace("\u2212", "-")
    if not _DECORATED.search(text):
        return text, ""
    if text[0] == "(" and text[-1] == ")":  # accountants' minus
        text = "-" + text[1:-1]
    sign = ""
    if text[-1] in "%‰":
        text, sign = text[:-1], text[-1]
    elif money := _CURRENCY.search(text):
        text, sign = text[: money.start()] + text[money.end() :], money[0]
    text = text.strip(_SPACES)
    if text[-1:] in ("-", "+"):
        text = text[-1] + text[:-1].rstrip(_SPACES)
    text = re.sub(f"^([-+])[{_SPACES}]+", r"\1", text)
    return _join_groups(text), sign


_SPACED = re.compile(rf"([-+]?[0-9]{{1,3}})(([{_SPACES}'’])[0-9]{{3}}(\3[0-9]{{3}})*)([.,][0-9]*)?")


def _join_groups(text):
    """Join thousands that are grouped by spaces or apostrophes, which can be nothing else."""
    groups = _SPACED.fullmatch(text)
    if groups is None:
        return text
    return groups[1] + groups[2].replace(groups[3], "") + (groups[5] or "")


def _fitting(bare):
    """Return the conventions that all numbers fit, the plainest of each meaning."""
    fits = [c for c, pattern in _PATTERNS.items() if all(map(pattern.fullmatch, bare))]
    if POINT in fits and COMMA in fits:
        return (POINT,)  # neither mark occurs
    for decimal, grouped in ((POINT, COMMA_GROUPED), (COMMA, POINT_GROUPED)):
        if decimal in fits and grouped in fits:
            return _decided(bare, decimal, grouped)
    return tuple(fits[:1])


def _decided(bare, decimal, grouped):
    """Decide whether marks with three digits behind them are of decimals or of thousands.

    Numbers up to 999 without a mark among them, or several marks in one, say thousands. Where all
    have one mark and three digits behind it, both remain.
    """
    marked = [text for text in bare if not text.lstrip("+-").isdigit()]
    if not all(map(_GROUPED_ONLY.fullmatch, marked)):
        return (decimal,)
    others = [text for text in bare if text.lstrip("+-").isdigit()]
    if others and all(map(_UNGROUPED.fullmatch, others)):
        return (grouped,)
    return (decimal,) if others else (decimal, grouped)


def choose(numbers, decimals, separator):
    """Choose between the conventions that a column fits.

    Parameters
    ----------
    numbers : Numbers
        Of the column.
    decimals : set of str
        The decimal marks of columns that leave no choice.
    separator : str
        Between the cells of the file; Excel writes ";" where the comma is the decimal mark.

    Returns
    -------
    convention : Convention
    """
    first, *others = numbers.conventions
    if not others:
        return first
    if len(decimals) == 1:
        (decimal,) = decimals
        return next(c for c in numbers.conventions if c.decimal == decimal)
    if first == COMMA:
        return COMMA if separator == ";" else POINT_GROUPED
    return POINT


def to_floats(column, values):
    """Return a column of floats, shape (n,), with NaN for what ``values`` does not hold."""
    return np.array([values.get(cell, np.nan) for cell in column])


def first_misfit(cells):
    """Return the first cell that is written as a number by no convention; None if there is none."""
    bare = ((cell, _undress(cell)[0]) for cell in cells)
    return next((cell for cell, text in bare if not _fitting((text,))), None)


def spoiler(cells):
    """Say which cell keeps a column that is mostly numbers from being one; None for any other.

    Parameters
    ----------
    cells : iterable of str
        The different cells of a column of text.

    Returns
    -------
    spoiler : str or None
    """
    filled = [cell for cell in cells if cell.lower() not in GAPS]
    if are_codes(filled):
        return None
    misfits = [cell for cell in filled if first_misfit([cell])]
    if 2 * len(misfits) >= len(filled):
        return None
    if misfits:
        return repr(misfits[0])
    other = next((cell for cell in filled if not find_numbers([filled[0], cell])), None)
    return "cells of several kinds" if other is None else f"{filled[0]!r} and {other!r} together"
