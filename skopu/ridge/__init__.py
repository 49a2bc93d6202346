"""Ridge regression: sums of rows, the systems made of them, and solutions for one alpha or many.

A *system* is what is solved, for features or for a kernel (:mod:`skopu.ridge.systems`). It is
handed to ``solve`` for a given alpha, to ``solve_path`` for many of which the best is found on
other rows, or to ``LeaveOneOut`` for many of which the best is found on the same rows.
"""
