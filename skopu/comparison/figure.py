"""The picture of a comparison."""

import warnings
from math import ceil
from pathlib import Path

import numpy as np

from skopu.comparison.problems import InputError
from skopu.comparison.report import error_cell

_COLOUR, _BEST = "#7d93ab", "#c44e26"
_MAX_COLUMNS = 3
_LARGEST_LINEAR = 8.0  # between the largest and the smallest mean, on an axis that is not of powers
_MARGIN = 0.06  # of the axis, beside the outermost points


def check_figure_path(path):
    """Raise ``InputError`` if no figure can be saved under this path.

    Parameters
    ----------
    path : str
        File to be written; its suffix is the format.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is missing.
    """
    from matplotlib.figure import Figure

    formats = Figure().canvas.get_supported_filetypes()
    suffix = Path(path).suffix.lstrip(".").lower()
    if suffix not in formats:
        raise InputError(
            f"--figure {path}: the name must end in a format that can be drawn, such as .png, "
            f".pdf or .svg; got {Path(path).suffix or 'no suffix'!r}."
        )
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f"--figure {path}: the folder {Path(path).parent} does not exist.")


def save_figure(path, problems, methods, summaries):
    """Draw and save a figure, whatever may go wrong with that.

    Parameters
    ----------
    path : str
        File to be written.
    problems, methods, summaries
        As for ``draw``.

    Returns
    -------
    failure : str or None
        What went wrong, on one line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that the font has not
            draw(problems, methods, summaries).savefig(path, dpi=150)
    except Exception as error:
        # Fonts, TeX, disks, the user's own settings of matplotlib: the fits took longer.
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def draw(problems, methods, summaries):
    """Draw one panel a problem: for each method a point and an interval, best methods on top.

    Methods stand in one order in all panels, that of their mean place over the problems. The axis
    holds the points, not zero; of powers of ten if the errors differ in their size.

    Parameters
    ----------
    problems : list of Problem
        What was run.
    methods : dict of Method
        What was run.
    summaries : list of Summary
        From ``summarise``.

    Returns
    -------
    figure : matplotlib Figure
        Not known to pyplot; ``figure.savefig`` needs no display.
    """
    from matplotlib.figure import Figure

    n_columns = min(_MAX_COLUMNS, len(problems))
    n_rows = ceil(len(problems) / n_columns)
    size = (1.7 + 3.6 * n_columns, 0.5 + n_rows * (0.9 + 0.32 * len(methods)))
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)  # or the last number of an axis meets the next
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    ordered = _by_place(methods, summaries)
    for i, ax in enumerate(axes.flat):
        if i >= len(problems):
            ax.remove()
            continue
        rows = {s.method: s for s in summaries if s.problem == problems[i].name}
        _draw_panel(ax, problems[i], ordered, rows)
        if i % n_columns:
            ax.tick_params(labelleft=False)
    legend = "point: mean of the splits; line: ± 1 sd; dots: splits; in colour: lowest mean"
    figure.supxlabel(legend, fontsize="small", color="dimgrey")
    return figure


def _by_place(methods, summaries):
    """Order methods by their mean place among the problems they finished."""
    places = {name: [] for name in methods}
    for problem in dict.fromkeys(s.problem for s in summaries):
        done = [s for s in summaries if s.problem == problem and s.mean is not None]
        for place, summary in enumerate(sorted(done, key=lambda s: s.mean)):
            places[summary.method].append(place)
    mean = {name: np.mean(found) if found else np.inf for name, found in places.items()}
    return {name: methods[name] for name in sorted(methods, key=mean.get)}


def _draw_panel(ax, problem, methods, rows):
    ax.set_ylim(len(methods) - 0.4, -0.6)
    _set_axis(ax, [row for row in rows.values() if row.mean is not None])
    for position, name in enumerate(methods):
        if name in rows:
            _draw_row(ax, position, rows[name])
    ax.set_yticks(range(len(methods)), [method.label for method in methods.values()])
    ax.set_xlabel(f"test {problem.error_name}")
    title = f"{problem.name}, {len(problem.y)} rows"
    ax.set_title(title, fontsize="medium", loc="left", parse_math=False)  # a $ is no formula
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _set_axis(ax, rows):
    """Let the axis hold all points and intervals, and nothing beside them."""
    if not rows:
        ax.set_xticks([])
        return
    means = [row.mean for row in rows]
    values = [e for row in rows for e in (*row.errors, *_interval(row))]
    low, high = min(values), max(values)
    if min(means) > 0 and max(means) > _LARGEST_LINEAR * min(means):
        ax.set_xscale("log")
        low = min(v for v in values if v > 0)
        share = (high / low) ** _MARGIN
        ax.set_xlim(low / share, high * share)
        return
    # Errors that are all the same have an axis too.
    width = max(high - low, 0.02 * abs(high), 1e-12)
    ax.set_xlim(low - _MARGIN * width, high + _MARGIN * width)


def _interval(row):
    """Mean -+ sd; no error is below zero."""
    spread = row.sd or 0.0
    return max(row.mean - spread, 0.0), row.mean + spread


def _draw_row(ax, position, row):
    if row.mean is None:
        place = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": "small"}
        ax.text(0.02, position, error_cell(row), color="grey", style="italic", **place)
        return
    colour = _BEST if row.best else _COLOUR
    left = max(_interval(row)[0], ax.get_xlim()[0])
    ax.plot([left, _interval(row)[1]], [position] * 2, color=colour, linewidth=2.5, zorder=2)
    ax.plot(row.mean, position, "o", color=colour, markersize=7, zorder=3)
    # Beside the line, where no point hides them.
    heights = np.full(len(row.errors), position + 0.27)
    ax.scatter(row.errors, heights, s=7, color=colour, alpha=0.7, linewidth=0, zorder=1)
