"""Time and memory of projections against n, k and D, as a picture and a table.

For the Gaussian and the structured medium, ``RBFSampler`` and ``PolynomialCountSketch``: from
n = 1000, k = 784, D = 4096, one of the three is varied. Processor time of one thread for a
transform (the fit, or the matrix, not included), the methods interleaved, median of rounds; and the
most memory that numpy held during fit and transform together, the codes not included (tracemalloc;
the integer product's own memory, of the size of a block, is not seen).

    python benchmarks/projection_scaling.py --figure scaling.png
    python benchmarks/projection_scaling.py --quick
"""

import argparse
import time
import tracemalloc

import numpy as np
from machine import describe
from sklearn.kernel_approximation import PolynomialCountSketch, RBFSampler
from threadpoolctl import threadpool_limits

from skopu import OPURandomFeatures
from skopu._core.integer_product import integers_win
from skopu.devices import SimulatedOPU

CENTRE = {"n": 1000, "k": 784, "D": 4096}
SIZES = {
    "n": (100, 300, 1000, 3000, 10_000),
    "k": (64, 256, 784, 2500, 8000),
    "D": (256, 1024, 4096, 16_384),
}
METHODS = {
    "skopu, Gaussian": lambda D: OPURandomFeatures(D, opu=SimulatedOPU(n_jobs=1)),
    "skopu, structured": lambda D: OPURandomFeatures(
        D, opu=SimulatedOPU(medium="structured", n_jobs=1)
    ),
    "RBFSampler": lambda D: RBFSampler(n_components=D, random_state=0),
    "PolynomialCountSketch": lambda D: PolynomialCountSketch(
        degree=2, n_components=D, random_state=0
    ),
}


def measure(size, n_rounds):
    """Return for each method the milliseconds and the megabytes of one size."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, size=(size["n"], size["k"])).astype(np.float32)
    models, memory, times = {}, {}, {name: [] for name in METHODS}
    for name, make in METHODS.items():
        tracemalloc.start()
        models[name] = make(size["D"]).fit(codes)
        models[name].transform(codes)
        memory[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    for _ in range(n_rounds):
        for name, model in models.items():
            start = time.process_time()
            model.transform(codes)
            times[name].append(time.process_time() - start)
    return {name: (1e3 * np.median(times[name]), memory[name]) for name in METHODS}


def draw(found, path):
    """Save a figure: time above, memory below, a column for each of n, k, D."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained", sharey="row")
    for column, varied in enumerate(found):
        for row, what in enumerate(("milliseconds", "megabytes")):
            ax = axes[row, column]
            for name in METHODS:
                values = [result[name][row] for result in found[varied].values()]
                ax.loglog(list(found[varied]), values, "o-", label=name)
            ax.set(xlabel=varied, ylabel=what if column == 0 else None)
            ax.grid(alpha=0.4)
        rest = ", ".join(f"{key} = {value}" for key, value in CENTRE.items() if key != varied)
        axes[0, column].set_title(rest)
    axes[0, 0].legend()
    fig.savefig(path, dpi=150)


def main():
    """Print a Markdown table, and save a figure if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="where to save the picture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the three smallest of each size")
    options = parser.parse_args()
    integers_win("codes")  # loads torch
    print(f"{describe()}\n\nmilliseconds / megabytes\n")
    print(f"| n | k | D | {' | '.join(METHODS)} |\n{'|---' * (3 + len(METHODS))}|")
    found = {}
    with threadpool_limits(1):
        for varied, sizes in SIZES.items():
            found[varied] = {}
            for value in sizes[:3] if options.quick else sizes:
                size = CENTRE | {varied: value}
                result = found[varied][value] = measure(size, options.rounds)
                cells = [f"{ms:.1f} / {mb:.0f}" for ms, mb in result.values()]
                cells = [*map(str, size.values()), *cells]
                print(f"| {' | '.join(cells)} |", flush=True)
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
