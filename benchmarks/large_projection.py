"""Projections of 1e5 bits to 1e5 components and beyond: structured, and without memory.

- Rate of the structured medium beside that of its Fourier transform alone, interleaved, processor
  time of one thread; and elapsed time on ``--threads`` threads. Bytes that it keeps.
- Error of its kernel at k = D = 1e5 for codes with half of the bits on, with 2 to 8, and with runs
  of ones, relative to each value of the kernel, times root D.
- ``--dense``: the Gaussian medium at k = D = 1e5, whose matrix of 2e10 entries is made again tile
  by tile: 2048 codes, peak memory and time of one row of tiles (256 components), and with
  ``--whole`` of all of them (some minutes).

    python benchmarks/large_projection.py
    python benchmarks/large_projection.py --dense --whole
"""

import argparse
import sys
import time

import numpy as np
from machine import describe, peak_megabytes
from scipy import fft

from skopu import OPURandomFeatures, opu_kernel
from skopu._core.integer_product import integers_win
from skopu.devices import SimulatedOPU
from skopu.devices.structured import choose_shape

SIZE = 100_000


def codes_like(kind, n_codes, n_bits, rng):
    """Codes of one of the three kinds."""
    codes = np.zeros((n_codes, n_bits), dtype=np.uint8)
    for code in codes:
        if kind == "half of the bits":
            code[:] = rng.integers(0, 2, size=n_bits)
        elif kind == "2 to 8 bits":
            among = n_bits if rng.random() < 0.5 else 12
            code[rng.choice(among, rng.integers(2, 9), replace=False)] = 1
        else:
            start = rng.integers(n_bits // 2)
            code[start : start + rng.integers(n_bits // 20, n_bits // 2)] = 1
    return codes


def rate(n_bits, n_codes, n_rounds, n_threads):
    """Print a row of the table of rates."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, size=(n_codes, n_bits), dtype=np.uint8)
    one = SimulatedOPU(medium="structured", n_jobs=1)
    many = SimulatedOPU(medium="structured", n_jobs=n_threads)
    shape = choose_shape(n_bits)
    values = rng.standard_normal((4, *shape), dtype=np.float32).astype(np.complex64)
    axes = tuple(range(1, len(shape) + 1))

    def transforms():
        for _ in range(n_codes // 4):
            fft.fftn(values, axes=axes)

    found = {"alone": [], "one": [], "many": []}
    for device in (one, many):
        device.project(codes[:4], n_bits)
    for _ in range(n_rounds):
        for name, clock, run in (
            ("alone", time.process_time, transforms),
            ("one", time.process_time, lambda: one.project(codes, n_bits)),
            ("many", time.perf_counter, lambda: many.project(codes, n_bits)),
        ):
            start = clock()
            run()
            found[name].append(n_codes / (clock() - start))
    medium = one._kept[1]
    state = medium._order.nbytes + sum(phases.nbytes for phases in medium._stored.values())
    alone, single, elapsed = (np.median(found[name]) for name in ("alone", "one", "many"))
    share = np.median(np.array(found["one"]) / found["alone"])
    print(
        f"| {n_bits} | {' x '.join(map(str, shape))} | {single:.0f} (best {max(found['one']):.0f})"
        f" | {elapsed:.0f} (best {max(found['many']):.0f}) | {alone:.0f} | {share:.2f} | "
        f"{state / 1e6:.1f} |",
        flush=True,
    )


def kernel_error(kind, n_devices, n_codes=24):
    """Print the relative error of the kernel times root D."""
    codes = codes_like(kind, n_codes, SIZE, np.random.default_rng(0))
    K = opu_kernel(codes.astype(np.float32)).astype(float)
    cells = [kind]
    for form in ("centered", "raw"):
        squares = []
        for seed in range(n_devices):
            opu = SimulatedOPU(seed, medium="structured")
            features = OPURandomFeatures(SIZE, form=form, opu=opu).fit_transform(codes)
            found = np.asarray(features @ features.T, dtype=np.float64)
            squares.append(np.mean(np.square((found - K) / K)))
        error = np.sqrt(SIZE * np.mean(squares))
        # Of the root, from the spread of the squares over devices.
        spread = np.std(squares) / np.mean(squares) / np.sqrt(n_devices) / 2 * error
        cells.append(f"{error:.2f} +- {spread:.2f}")
    print(f"| {' | '.join(cells)} |", flush=True)


def structured(options):
    """Print rates and errors of the structured medium."""
    print(
        "| k = D | transform | codes/s, one core | codes/s elapsed, "
        f"{options.threads} threads | transforms alone/s | share | kept, MB |\n{'|---' * 7}|"
    )
    rate(SIZE, 128, options.rounds, options.threads)
    rate(2**20, 16, options.rounds, options.threads)
    print(f"\n| k = D = {SIZE} | centered: RMSE x root D | raw |\n|---|---|---|")
    for kind in ("half of the bits", "2 to 8 bits", "runs of ones"):
        kernel_error(kind, options.devices)


def dense(options):
    """Print time and memory of a projection whose matrix does not fit."""
    codes = np.random.default_rng(0).integers(0, 2, size=(2048, SIZE), dtype=np.uint8)
    opu = SimulatedOPU(n_jobs=options.threads)
    n_components = SIZE if options.whole else 256
    integers_win("codes")  # loads torch
    if not options.whole:
        # As if all of D were asked for: R does not fit, so nothing is kept.
        opu.set_params(max_memory=0)
    start, elapsed = time.process_time(), time.perf_counter()
    intensities = opu.project(codes, n_components)
    start, elapsed = time.process_time() - start, time.perf_counter() - elapsed
    peak = peak_megabytes() * 2**20
    rows = -(-n_components // 256)
    print(f"2048 codes, k = {SIZE}, D = {n_components}: {start:.1f} s of processor time,")
    print(f"{elapsed:.1f} s elapsed, {start / rows:.2f} s to 256 components;")
    print(
        f"peak memory {peak / 1e9:.2f} GB, of which {intensities.nbytes / 1e9:.2f} the result and"
    )
    print(f"{codes.nbytes / 1e9:.2f} the codes (R as integers: {2 * SIZE**2 / 1e9:.0f} GB).")


def main():
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_args()
    print(describe(), end="\n\n")
    (dense if options.dense else structured)(options)


if __name__ == "__main__":
    sys.exit(main())
