"""Tables and numbers made of records."""

from collections import Counter
from typing import NamedTuple

import numpy as np

_COLUMNS = ("set", "method", "test error", "fit s", "device passes")
_LEFT_ALIGNED = 3  # the first columns of the table
_MAX_REASON = 200  # characters of an exception or warning shown below the table


class Summary(NamedTuple):
    """One row of the table: a method on a problem, over its splits."""

    problem: str
    method: str
    label: str
    errors: tuple[float, ...]  # one for each split that was finished
    mean: float | None
    sd: float | None  # with n - 1 in the denominator; None for a single split
    fit_seconds: float | None  # mean
    n_passes: int | None  # mean; None without a device
    left_out: str | None
    failures: tuple[tuple[int, str], ...]  # (split, reason)
    warnings: tuple[tuple[str, int], ...]  # (message, splits that gave it)
    n_missing: int = 0  # splits neither finished, failed nor left out
    best: bool = False  # lowest mean of the problem, with every split finished


def summarise(problems, methods, records, n_splits):
    """Summarise records, problem by problem in the methods' order.

    Parameters
    ----------
    problems : list of Problem
        What was run.
    methods : dict of Method
        What was run.
    records : list of Record
        In any order; not all need be there.
    n_splits : int
        Splits that were asked for.

    Returns
    -------
    summaries : list of Summary
        Methods of which no fit has ended are not in it.
    """
    summaries = []
    for problem in problems:
        rows = []
        for name, method in methods.items():
            mine = [r for r in records if (r.problem, r.method) == (problem.name, name)]
            if mine:
                mine.sort(key=lambda record: record.split)
                rows.append(_summarise_cell(mine, method.label, n_splits))
        summaries.extend(_mark_best(rows, n_splits))
    return summaries


def _summarise_cell(records, label, n_splits):
    done = [record for record in records if record.error is not None]
    errors = tuple(record.error for record in done)
    passes = [record.n_passes for record in done if record.n_passes is not None]
    return Summary(
        records[0].problem,
        records[0].method,
        label,
        errors,
        mean=float(np.mean(errors)) if errors else None,
        sd=float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        fit_seconds=float(np.mean([r.fit_seconds for r in done])) if done else None,
        n_passes=round(np.mean(passes)) if passes else None,
        left_out=next((r.left_out for r in records if r.left_out), None),
        failures=tuple((r.split, r.failure) for r in records if r.failure),
        warnings=_count_warnings(records),
        n_missing=n_splits - len(records),
    )


def _count_warnings(records):
    """First message of each category, with the number of splits that gave the category."""
    messages = {}
    counts = Counter()
    for record in records:
        for message in record.warnings:
            messages.setdefault(message.split(":")[0], message)
        counts.update({message.split(":")[0] for message in record.warnings})
    return tuple((message, counts[category]) for category, message in messages.items())


def _mark_best(rows, n_splits):
    # The mean of fewer splits is not comparable with that of all.
    complete = [row.mean for row in rows if len(row.errors) == n_splits]
    return [
        row._replace(best=len(row.errors) == n_splits and row.mean == min(complete)) for row in rows
    ]


def by_error(summaries):
    """Order the rows of each problem by their mean error; those without one come last.

    Parameters
    ----------
    summaries : list of Summary
        Rows, problem by problem.

    Returns
    -------
    summaries : list of Summary
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(s.problem for s in summaries))}
    return sorted(
        summaries,
        key=lambda s: (place[s.problem], np.inf if s.mean is None else s.mean),
    )


def format_error(mean, sd=None):
    """Write an error as "mean ± sd" with as many decimals as its size needs.

    Parameters
    ----------
    mean : float
        Error.
    sd : float or None, default=None
        Standard deviation; None leaves it out.

    Returns
    -------
    text : str
    """
    if 0 < mean < 1e-4:
        return f"{mean:.1e}" if sd is None else f"{mean:.1e} ± {sd:.0e}"
    decimals = 3 if mean == 0 else max(3, 2 - int(np.floor(np.log10(mean))))
    return f"{mean:.{decimals}f}" if sd is None else f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def error_cell(summary):
    """Write what stands under "test error" for a row, without the mark of the best."""
    if summary.mean is None:
        return "failed" if summary.failures else "left out" if summary.left_out else "-"
    text = format_error(summary.mean, summary.sd)
    if summary.failures:
        return f"{text} ({len(summary.failures)} failed)"
    n_done = len(summary.errors)
    return (
        f"{text} ({n_done} of {n_done + summary.n_missing} splits)" if summary.n_missing else text
    )


def _cells(summary):
    seconds = "-" if summary.fit_seconds is None else f"{summary.fit_seconds:.2f}"
    passes = "-" if summary.n_passes is None else f"{summary.n_passes:,}"
    return [summary.problem, summary.label, error_cell(summary), seconds, passes]


def text_table(summaries):
    """Return an aligned table in plain text; the best of each set has a star.

    Parameters
    ----------
    summaries : list of Summary
        Rows.

    Returns
    -------
    table : str
    """
    rows = [_cells(summary) for summary in summaries]
    for row, summary in zip(rows, summaries):
        row[2] += " *" if summary.best else ""
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows)]
    rule = "  ".join("-" * width for width in widths)
    lines, previous = [_align(_COLUMNS, widths)], None
    for row in rows:
        if row[0] != previous:
            lines.append(rule)
        shown = row if row[0] != previous else ["", *row[1:]]
        lines.append(_align(shown, widths))
        previous = row[0]
    return "\n".join(lines)


def _align(cells, widths):
    padded = [
        cell.ljust(width) if i < _LEFT_ALIGNED else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths))
    ]
    return "  ".join(padded).rstrip()


def markdown_table(summaries):
    """Return a table in Markdown; the best of each set is bold.

    Parameters
    ----------
    summaries : list of Summary
        Rows.

    Returns
    -------
    table : str
    """
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---|---|---|---:|---:|"]
    for summary in summaries:
        cells = _cells(summary)
        if summary.best:
            cells[2] = f"**{cells[2]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def remarks(summaries):
    """Return a sentence for everything left out, failed or warned about.

    Parameters
    ----------
    summaries : list of Summary
        Rows.

    Returns
    -------
    sentences : list of str
    """
    sentences = []
    for summary in summaries:
        where = f"{summary.label} on {summary.problem}"
        if summary.left_out:
            sentences.append(f"{where} was {summary.left_out}")
        for split, reason in summary.failures:
            sentences.append(f"{where} failed on split {split}: {_shorten(reason)}")
        for message, count in summary.warnings:
            sentences.append(f"{where}: warning in {count} fit(s): {_shorten(message)}")
    return sentences


def _shorten(text):
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 3] + "..."


def as_dict(problems, summaries, records):
    """Return problems, summaries and records as plain dicts and lists, for JSON.

    Parameters
    ----------
    problems : list of Problem
        What was run.
    summaries : list of Summary
        From ``summarise``.
    records : list of Record
        What they were made of.

    Returns
    -------
    problems : list of dict
    """
    return [
        {
            "name": problem.name,
            "task": problem.task,
            "n_rows": len(problem.y),
            "n_columns": problem.X.shape[1],
            "error": problem.error_name,
            "notes": list(problem.notes),
            "results": [
                _result(summary, records)
                for summary in summaries
                if summary.problem == problem.name
            ],
        }
        for problem in problems
    ]


def _result(summary, records):
    mine = [r for r in records if (r.problem, r.method) == (summary.problem, summary.method)]
    splits = [record._asdict() for record in sorted(mine, key=lambda record: record.split)]
    for split in splits:
        del split["problem"], split["method"]
    return {
        "method": summary.method,
        "label": summary.label,
        "error_mean": summary.mean,
        "error_sd": summary.sd,
        "fit_seconds": summary.fit_seconds,
        "n_passes": summary.n_passes,
        "best": summary.best,
        "splits": splits,
    }
