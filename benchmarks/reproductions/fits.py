"""What the reproductions share: fits kept in a file, their tables, and options."""

import argparse
import json
from pathlib import Path

import numpy as np


class Store:
    """Results of fits, kept in a file of one JSON object a line if one is named."""

    def __init__(self, path, measure):
        self._path, self._measure, self._known = path, measure, {}
        if path and Path(path).exists():
            self._known = dict(map(json.loads, Path(path).read_text().splitlines()))

    def get(self, settings, seed, *args):
        """Return the result of a fit, computing it if it is not known."""
        key = json.dumps([settings, seed], sort_keys=True)
        if key not in self._known:
            self._known[key] = self._measure(settings, seed, *args)
            if self._path:
                with open(self._path, "a") as file:
                    file.write(json.dumps([key, self._known[key]]) + "\n")
        return self._known[key]


def percent(values, digits=1):
    """Mean and standard deviation of shares, in percent; a single share has ``digits``."""
    values = 100 * np.asarray(values)
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def verdict(above, below, by=0.0):
    """Return what the figures of the seeds say of "above exceeds below by so much".

    Intervals are mean and standard deviation; where they overlap it stays undecided.
    """
    (low, high), (least, most) = interval(above), interval(below)
    if low > most + by:
        return "reproduced"
    return "refuted" if high < least + by else "undecided"


def interval(values):
    """Return mean minus and plus standard deviation; NaN for a single figure."""
    values = np.asarray(values, dtype=float)
    spread = values.std(ddof=1) if len(values) > 1 else np.nan
    return values.mean() - spread, values.mean() + spread


def table(header, rows):
    """Return a Markdown table."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def make_parser(description):
    """Return a parser that shows the description as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_fits(parser):
    """Add the seeds of the fits, and the file that keeps them."""
    parser.add_argument("--seeds", type=split_numbers, default="0,1,2", help="default: %(default)s")
    parser.add_argument("--save", help="file that keeps the fits, to go on after a break")


def split_numbers(text):
    """Return comma-separated whole numbers."""
    return [int(number) for number in text.split(",") if number.strip()]
