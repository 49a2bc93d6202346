"""Dates as they are written in one country or another, counted in days since 1970.

A column has one order of day, month and year. Any value above 12 decides it; where none does, both
orders are returned, and the file's other columns choose.
"""

import re
from datetime import date
from functools import partial
from typing import NamedTuple

GAPS = frozenset({"0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000", "nat"})
DAY_FIRST, MONTH_FIRST = "the day first", "the month first"

_EPOCH = date(1970, 1, 1).toordinal()
_SECONDS_PER_DAY = 86_400
_N_LOOKED_AT = 100  # cells that tell whether a column is mostly dates
_FIRST_TWO_DIGIT_YEAR = 69  # 69 is 1969 and 68 is 2068, as in POSIX
_CLOCK = (
    r"(?P<hour>[0-9]{1,3}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-6][0-9](?:[.,][0-9]+)?))?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?(?: ?(?P<zone>z|utc|gmt|[-+][0-9]{2}(?::?[0-9]{2})?))?"
)
_DATE_AND_CLOCK = rf"(?:(?:,? +|t){_CLOCK})?"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = rf"(?P<name>{'|'.join(_MONTHS)})[a-z]*\.?"


def _compile(pattern):
    return re.compile(pattern, re.IGNORECASE)


_ORDERED = _compile(
    r"(?P<a>[0-9]{4}|[0-9]{1,2})(?P<mark>[-/.])(?P<b>[0-9]{1,2})(?P=mark)"
    r"(?P<c>[0-9]{4}|[0-9]{1,2})\.?" + _DATE_AND_CLOCK
)
# What says by its form which part is which, by the name of what a column of it holds.
_PLAIN = {
    "dates": (
        _compile(r"(?P<year>(?:1[89]|20)[0-9]{2})(?P<month>[01][0-9])(?P<day>[0-3][0-9])"),
        _compile(
            r"(?:[a-z]{3,9},? +)?(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?[-/. ]*"
            rf"{_MONTH}[-/., ]*(?P<year>[0-9]{{4}}|[0-9]{{2}}){_DATE_AND_CLOCK}"
        ),
        _compile(
            rf"(?:[a-z]{{3,9}},? +)?{_MONTH}[-/ ]+(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?"
            rf"(?:, *|[-/ ]+)(?P<year>[0-9]{{4}}){_DATE_AND_CLOCK}"
        ),
    ),
    "months": (
        _compile(r"(?P<year>[0-9]{4})(?:[-/]|-?m)(?P<month>[0-9]{1,2})"),
        _compile(r"(?P<month>[0-9]{1,2})[-/](?P<year>[0-9]{4})"),
        _compile(rf"{_MONTH}[-/, ]*(?P<year>[0-9]{{4}}|'?[0-9]{{2}})"),
        _compile(rf"(?P<year>[0-9]{{4}})[-/ ]*{_MONTH}"),
    ),
    "quarters": (
        _compile(r"(?P<year>[0-9]{4})[-/ ]?q(?P<quarter>[1-4])"),
        _compile(r"q(?P<quarter>[1-4])[-/ ]?(?P<year>[0-9]{4})"),
    ),
    "weeks": (_compile(r"(?P<year>[0-9]{4})-?w(?P<week>[0-9]{1,2})(?:-?(?P<weekday>[1-7]))?"),),
    "times": (_compile(_CLOCK),),
}


class Dates(NamedTuple):
    """What the different cells of a column may be as dates.

    Attributes
    ----------
    kind : str
        "dates", "months", "quarters", "weeks" or "times".
    days : dict of dict of float by cell
        By order: "the day first", "the month first", or "" where the form says it; two if
        nothing in the column decides.
    has_dots : bool
        Whether dots stand between the parts.
    """

    kind: str
    days: dict
    has_dots: bool = False

    @property
    def is_ambiguous(self):
        """Whether 02/03 may be in March or in February."""
        return len(self.days) > 1


def find_dates(cells):
    """Return what cells may be as dates, or None.

    Parameters
    ----------
    cells : sequence of str
        The different cells of a column, without gaps.

    Returns
    -------
    dates : Dates or None
        None if a cell is no date, or if they have no order in common.
    """
    cells = tuple(cells)
    for kind, patterns in _PLAIN.items():
        for pattern in patterns:
            if days := _read_all(cells, pattern, _plain_days):
                return Dates(kind, {"": days})
    return _find_ordered(cells)


def spoiler(cells):
    """Say which cell keeps a column that is mostly dates from being one; None for any other.

    Parameters
    ----------
    cells : sequence of str
        The different cells of a column of text, without gaps.

    Returns
    -------
    spoiler : str or None
    """
    some = cells[:_N_LOOKED_AT]
    if 2 * sum(find_dates([cell]) is not None for cell in some) <= len(some):
        return None
    misfit = next((cell for cell in cells if find_dates([cell]) is None), None)
    if misfit is not None:
        return repr(misfit)
    other = next((cell for cell in cells if find_dates([cells[0], cell]) is None), None)
    return "cells of several kinds" if other is None else f"{cells[0]!r} and {other!r} together"


def _read_all(cells, pattern, count):
    """Return days by cell if every cell fits the pattern and is a day that exists."""
    days = {}
    for cell in cells:
        match = pattern.fullmatch(cell)
        if match is None:
            return None
        try:
            days[cell] = count(match.groupdict()) + _share_of_day(match.groupdict())
        except ValueError:
            return None
    return days


def _find_ordered(cells):
    """Dates such as 14.08.2018, whose parts are numbers and say not which they are."""
    matches = [_ORDERED.fullmatch(cell) for cell in cells]
    if not matches or not all(matches):
        return None
    first, middle, last = ([match[part] for match in matches] for part in "abc")
    year_first = _year_comes_first(first, last)
    if year_first is None or {len(y) for y in (first if year_first else last)} & {1, 3}:
        return None
    # The year first and then the day is possible, but nobody writes so without need.
    orders = _possible_orders(last if year_first else first, middle)[: 1 if year_first else 2]
    days = {o: _read_all(cells, _ORDERED, partial(_ordered, year_first, o)) for o in orders}
    if not days or None in days.values():
        return None
    if year_first:
        return Dates("dates", {"": days[orders[0]]})
    return Dates("dates", days, has_dots=matches[0]["mark"] == ".")


def _possible_orders(outer, middle):
    """Orders under which no month is above 12; ``outer`` and ``middle`` hold day and month."""
    orders = []
    if max(map(int, middle)) <= 12:
        orders.append(DAY_FIRST)
    if max(map(int, outer)) <= 12:
        orders.append(MONTH_FIRST)
    return orders


def _year_comes_first(first, last):
    """Whether the first of three numbers is the year; None if rows differ in that.

    Of two digits, the year is the one above 31; if neither is, the one with fewer values.
    """
    long_first, long_last = ({len(part) > 2 for part in parts} for parts in (first, last))
    if long_first == {True} and long_last == {False}:
        return True
    if long_last == {True} and long_first == {False}:
        return False
    if long_first | long_last != {False}:
        return None
    if max(map(int, first)) > 31 or max(map(int, last)) > 31:
        return max(map(int, first)) > 31
    return len(set(first)) < len(set(last))


def _ordered(year_first, order, parts):
    year, outer = (parts["a"], parts["c"]) if year_first else (parts["c"], parts["a"])
    day, month = (outer, parts["b"]) if order == DAY_FIRST else (parts["b"], outer)
    return _days(_year(year), int(month), int(day))


def _plain_days(parts):
    if parts.get("year") is None:  # a time
        return 0.0
    year = _year(parts["year"].lstrip("'"))
    if week := parts.get("week"):
        return _week_days(year, int(week), int(parts["weekday"] or 1))
    if quarter := parts.get("quarter"):
        return _days(year, 3 * int(quarter) - 2, 1)
    name = parts.get("name")
    month = _MONTHS.index(name.lower()) + 1 if name else int(parts["month"])
    return _days(year, month, int(parts.get("day") or 1))


def _days(year, month, day):
    return float(date(year, month, day).toordinal() - _EPOCH)


def _week_days(year, week, weekday):
    return float(date.fromisocalendar(year, week, weekday).toordinal() - _EPOCH)


def _year(text):
    year = int(text)
    if len(text) > 2:
        return year
    return year + (1900 if year >= _FIRST_TWO_DIGIT_YEAR else 2000)


def _share_of_day(parts):
    """Time of the day in days, at Greenwich if a zone is given."""
    if parts.get("hour") is None:
        return 0.0
    hour = int(parts["hour"])
    if half := parts["half"]:
        hour = hour % 12 + 12 * (half.lower() == "p")
    second = float((parts["second"] or "0").replace(",", "."))
    seconds = 3600 * hour + 60 * int(parts["minute"]) + second - _zone_seconds(parts["zone"])
    return seconds / _SECONDS_PER_DAY


def _zone_seconds(zone):
    if zone is None or zone[0] not in "+-":
        return 0.0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    ahead = 3600.0 * int(digits[:2]) + 60 * int(digits[2:])
    return -ahead if zone[0] == "-" else ahead
