"""Pictures of tables in the documentation, drawn from the tables themselves.

    python benchmarks/pictures.py

writes ``uci_comparison.png``, ``crossover.png`` and ``optical_dfa.png`` in ``doc/_static``: what is
shown is what is written, and a new table is a new picture.
"""

import re
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

HERE = Path(__file__).parent
DOC = HERE.parent / "doc"
OWN, OTHER, FIRST = "#0072B2", "#777777", "#D55E00"
# Machines that people use; the others are of this package, or codes it compares with.
_PEERS = re.compile(r"GP|KernelRidge|Gradient|Fourier|MLP|CatBoost|xRFM|RealMLP")


def read_table(path, title):
    """Return the rows of the list-table of a title, as lists of cells."""
    text = (DOC / path).read_text().partition(f".. list-table:: {title}\n")[2]
    body = text.partition("\n\n")[2]
    rows = []
    for line in body.splitlines():
        found = re.match(r"   (\*| ) -(?: (.*))?$", line)
        if found is None:
            if line.strip():
                break
            continue
        if found[1] == "*":
            rows.append([])
        cell = re.sub(r" ?\[#\w+\]_", "", found[2] or "")  # a footnote
        rows[-1].append(cell.replace("*", "").replace("\\", ""))
    return rows


def number(cell):
    """Return mean and standard deviation of a cell such as "0.11 ± 0.02"; NaN for none."""
    found = [float(part) for part in re.findall(r"[-+]?[\d.]+(?:e-?\d+)?", cell)]
    return (*found, 0.0)[:2] if found else (np.nan, 0.0)


def draw_comparison():
    """One panel a set, one row a method: the mean over splits and its standard deviation."""
    tables = [
        read_table("user_guide/comparison_tables.inc", t) for t in ("Regression", "Classification")
    ]
    panels = {}
    for (_, *names), *rows in tables:
        for column, name in enumerate(names, start=1):
            panels[name] = {row[0]: number(row[column]) for row in rows}
    methods = [row[0] for row in tables[0][1:]]
    fig, axes = plt.subplots(4, 4, figsize=(10, 12.5), sharey=True)
    for ax, (name, found) in zip(axes.flat, panels.items()):
        draw_set(ax, name, [found.get(method, (np.nan, 0.0)) for method in methods], methods)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    axes[0, 0].invert_yaxis()
    fig.supxlabel(
        "test error: mean over splits and its standard deviation, on an axis of powers of ten"
    )
    fig.savefig(DOC / "_static" / "uci_comparison.png")


def draw_set(ax, name, values, methods):
    """Draw the methods on one set; the lowest mean is marked."""
    mean, sd = np.array(values).T
    best = np.nanmin(mean)
    # An axis of powers of ten has no zero: it is where a third of the next error would be.
    is_zero = mean == 0
    mean = np.where(is_zero, mean[mean > 0].min() / 3, mean)
    low = np.minimum(sd, 0.9 * mean)
    for row, method in enumerate(methods):
        style = (
            {"fmt": "s", "color": OTHER} if _PEERS.search(method) else {"fmt": "o", "color": OWN}
        )
        if values[row][0] == best:
            style["color"] = FIRST
        ax.errorbar(mean[row], row, xerr=[[low[row]], [sd[row]]], **style, linestyle="none")
        if is_zero[row]:
            ax.annotate("0", (mean[row], row), (5, -4), textcoords="offset points", color=FIRST)
    ax.axvline(np.nanmin(mean), color=FIRST, linewidth=0.7, linestyle=":")
    ax.set(xscale="log", title=name)
    if (spread := np.nanmax(mean) / np.nanmin(mean)) < 12:
        is_narrow = spread < 3
        locator = MaxNLocator(4) if is_narrow else LogLocator(subs=(1, 2, 5))
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(range(len(methods)), methods)
    ax.tick_params(axis="y", length=0)


def draw_crossover():
    """Time and memory of kernel ridge and of its replacement, against rows."""
    _, *rows = read_table("user_guide/scale.rst", "KernelRidge / OPUKernelRidge")
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for ax, column, label in zip(axes, (2, 3), ("seconds, one core", "MB beyond the data")):
        for colour, kind in ((OWN, "codes"), (FIRST, "rbf")):
            chosen = [row for row in rows if row[1] == kind]
            sizes = [float(row[0]) for row in chosen]
            pairs = np.array([row[column].split("/") for row in chosen], dtype=float).T
            for values, style, name in zip(pairs, ("s--", "o-"), ("KernelRidge", "OPUKernelRidge")):
                ax.plot(sizes, values, style, color=colour, label=f"{name}, {kind}")
        ax.set(xscale="log", yscale="log", xlabel="training rows of protein", ylabel=label)
        ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes], minor=False)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(fontsize="small")
    fig.savefig(DOC / "_static" / "crossover.png")


def draw_optical():
    """Accuracy of the rows of the table, beside the paper's."""
    _, *rows = read_table("user_guide/optical_training.rst", "Test accuracy on MNIST")
    fig, ax = plt.subplots(figsize=(7, 3))
    for place, (_, paper, here, *_) in enumerate(rows):
        ax.plot(number(here)[0], place, "o", color=OWN, label="here" if place == 0 else None)
        ax.plot(
            number(paper)[0],
            place,
            "D",
            color=FIRST,
            mfc="none",
            label="paper" if place == 0 else None,
        )
        ax.annotate(
            here, (number(here)[0], place), (7, -3), textcoords="offset points", fontsize="small"
        )
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set(xlabel="test accuracy on MNIST, %", xlim=(None, 99.8))
    ax.invert_yaxis()
    ax.legend(loc="lower left")
    fig.savefig(DOC / "_static" / "optical_dfa.png")


if __name__ == "__main__":
    plt.style.use(HERE / "style.mplstyle")
    draw_comparison()
    draw_crossover()
    draw_optical()
