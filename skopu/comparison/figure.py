"""The picture of a comparison."""

from math import ceil
from pathlib import Path

import numpy as np

from skopu.comparison.problems import InputError
from skopu.comparison.report import error_cell

_COLOUR, _BEST = "#a9bfd6", "#3b6ea5"
_MAX_COLUMNS = 3


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


def draw(problems, methods, summaries):
    """Draw one panel a problem: a bar for the mean error, a dot for each split.

    Parameters
    ----------
    problems : list of Problem
        What was run.
    methods : dict of Method
        Rows of the panels, from top to bottom.
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
    size = (1.6 + 3.9 * n_columns, n_rows * (1.3 + 0.42 * len(methods)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for i, ax in enumerate(axes.flat):
        if i >= len(problems):
            ax.remove()
            continue
        rows = {s.method: s for s in summaries if s.problem == problems[i].name}
        _draw_panel(ax, problems[i], methods, rows)
        if i % n_columns:
            ax.tick_params(labelleft=False)
    legend = "bar: mean over splits; dots: splits; dark bar: lowest mean"
    figure.supxlabel(legend, fontsize="small", color="dimgrey")
    return figure


def _draw_panel(ax, problem, methods, rows):
    errors = [error for row in rows.values() for error in row.errors]
    # The right part of the panel is for the values.
    width = 1.6 * max(errors, default=1.0) or 1.0
    for position, name in enumerate(methods):
        if name in rows:
            _draw_row(ax, position, rows[name], offset=0.02 * width)
    ax.set(xlim=(0, width), ylim=(len(methods) - 0.4, -0.6))
    ax.set_yticks(range(len(methods)), [method.label for method in methods.values()])
    ax.set_xlabel(f"test {problem.error_name}")
    ax.set_title(f"{problem.name}, {len(problem.y)} rows", fontsize="medium", loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _draw_row(ax, position, row, offset):
    style = {"va": "center", "fontsize": "small"}
    if row.mean is None:
        ax.text(offset, position, error_cell(row), color="grey", style="italic", **style)
        return
    ax.barh(position, row.mean, height=0.62, color=_BEST if row.best else _COLOUR, zorder=1)
    dots = {"s": 18, "color": "white", "edgecolor": "black", "linewidth": 0.8}
    # Dots of equal errors must not hide each other.
    heights = position + np.linspace(-0.18, 0.18, len(row.errors) + 2)[1:-1]
    ax.scatter(row.errors, heights, zorder=2, clip_on=False, **dots)
    right = max(row.mean, *row.errors) + 1.5 * offset
    weight = "bold" if row.best else "normal"
    ax.text(right, position, error_cell(row), fontweight=weight, **style)
