"""What a run of the comparison costs in time of the processor, from fits that were made."""

import numpy as np

from skopu.comparison.installed_peers import why_missing

_N_FOLDS = 3  # of the search
_MOST = 3.0  # the largest power of the rows that any method's time grows with


def n_train_rows(problem, test_size=0.2):
    """Return the rows of a training part."""
    if problem.is_test is not None:
        return int(np.sum(~problem.is_test))
    return len(problem.y) - int(np.ceil(test_size * len(problem.y)))


def seconds_at(n_rows, measured):
    """Return the seconds of a fit to so many rows, from those measured.

    Between sizes a power law; beyond them that of the two nearest, with a power from 0 to 3; in
    proportion to the rows where there is one size only.

    Parameters
    ----------
    n_rows : int
    measured : dict of int to float
        Seconds by rows; not empty.

    Returns
    -------
    seconds : float
    """
    if n_rows in measured:
        return measured[n_rows]
    sizes = np.array(sorted(measured))
    logs = np.log([max(measured[size], 1e-3) for size in sizes])
    if len(sizes) == 1:
        return float(np.exp(logs[0]) * n_rows / sizes[0])
    right = int(np.clip(np.searchsorted(sizes, n_rows), 1, len(sizes) - 1))
    steps = np.log(sizes[right] / sizes[right - 1])
    power = np.clip((logs[right] - logs[right - 1]) / steps, 0, _MOST)
    return float(np.exp(logs[right] + power * np.log(n_rows / sizes[right])))


def seconds_of_search(n_rows, measured, n_candidates):
    """Return the seconds of a random search: its folds, and the fit to all rows."""
    one_fold = seconds_at(round(n_rows * (1 - 1 / _N_FOLDS)), measured)
    return n_candidates * _N_FOLDS * one_fold + seconds_at(n_rows, measured)


def measured_seconds(records, problems):
    """Return seconds of the processor by rows, averaged over fits of a method."""
    sizes = {problem.name: n_train_rows(problem) for problem in problems}
    found = {}
    for record in records:
        if record.cpu_seconds is not None and record.problem in sizes:
            found.setdefault(sizes[record.problem], []).append(record.cpu_seconds)
    return {size: float(np.mean(values)) for size, values in found.items()}


def price(method, left, plain, searched, problems, n_candidates):
    """Return what is left to pay for a method in seconds, or None if nothing was measured.

    Parameters
    ----------
    method : Method
    left : list of (str, int)
        Set and seed of the fits that are left.
    plain, searched : dict of int to float
        Seconds by rows of fits with default settings, and of searches.
    problems : list of Problem
    n_candidates : int
        Of the search; 0: none.
    """
    sizes = {problem.name: n_train_rows(problem) for problem in problems}
    rows = [sizes[name] for name, _ in left]
    rows = [n for n in rows if method.max_train_rows is None or n <= method.max_train_rows]
    if not rows:
        return 0.0
    if n_candidates and searched:
        return sum(seconds_at(n, searched) for n in rows)
    if not plain:
        return None
    if n_candidates:
        return sum(seconds_of_search(n, plain, n_candidates) for n in rows)
    return sum(seconds_at(n, plain) for n in rows)


def table(lines):
    """Return a Markdown table of (label, fits left, seconds or None, what it rests on)."""
    rows = ["| method | fits left | hours of one core | from |", "|---|---:|---:|---|"]
    total = 0.0
    for label, n_left, seconds, source in lines:
        total += seconds or 0.0
        hours = "?" if seconds is None else f"{seconds / 3600:.2f}"
        rows.append(f"| {label} | {n_left} | {hours} | {source} |")
    rows.append(f"| all that is known | | {total / 3600:.2f} | |")
    return "\n".join(rows)


def describe(method, plain, searched, n_candidates):
    """Return what a price rests on, in words."""
    if why := why_missing(method.needs):
        return why.removeprefix("left out: ")
    if n_candidates and searched:
        return f"searches of {_sizes(searched)} rows"
    return f"fits of {_sizes(plain)} rows" if plain else "no fit is in the file"


def _sizes(measured):
    return ", ".join(map(str, sorted(measured)))
