"""Cuts on columns that people read: short decimals that separate the same rows."""

import numpy as np


def number_text(value):
    """Return the shortest text that reads back as the same float."""
    return repr(float(value)).removesuffix(".0")


def shortest_between(low, high):
    """Return the decimal of fewest digits that lies near the middle of [low, high).

    Cuts are read by people; any number there separates the same rows. Between whole numbers
    that follow each other it is the lower one: "age <= 40".
    """
    if low == np.rint(low) and high == low + 1:
        return float(low)
    middle, quarter = low / 2 + high / 2, high / 4 - low / 4
    for digits in range(1, 17):
        cut = float(f"{middle:.{digits}g}")
        if low <= cut < high and abs(cut - middle) <= quarter:
            return cut
    return float(low)
