"""Dense projections against the neighbours, in one process, interleaved, on the same threads.

Times ``SimulatedOPU().project`` for codes of 784 bits and 4096 components beside

- the product alone: ``torch._int_mm`` of the same codes and the same 8192 columns, its result in
  memory that exists already: the rate of the machine;
- two float32 products and the sum of their squares, as numpy computes it;
- the simulated device of lightonml, where it is installed (its dependencies are pinned to
  versions that no longer install: ``pip install --no-deps lightonml==1.4.3`` and
  ``pip install numexpr attrs requests "setuptools<82"``);
- ``RBFSampler`` and ``PolynomialCountSketch(degree=2)`` with as many components, ``Nystroem`` with
  512 of them (its fit would take hours with 4096).

The transformers of scikit-learn get codes in float32 and were fitted on float32, their fast case.
Each round runs all of them; medians over rounds of processor time are printed, and of the ratios
within a round. Fits are not timed: the matrix, or whatever the method needs, exists. All is done
once with the BLAS as it chooses itself and once with OPENBLAS_CORETYPE=Haswell.

    python benchmarks/projection.py
    python benchmarks/projection.py --rows 1000 --rounds 3
"""

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from machine import describe
from sklearn.kernel_approximation import Nystroem, PolynomialCountSketch, RBFSampler
from threadpoolctl import threadpool_limits

from skopu.devices import SimulatedOPU

NYSTROEM_COMPONENTS = 512


def skopu_device(options):
    """Use the simulated device."""
    device = SimulatedOPU(n_jobs=options.threads)
    return lambda codes: device.project(codes, options.components)


def product_alone(options):
    """Multiply integers, into memory that it uses again."""
    rng = np.random.default_rng(0)
    shape = (2 * options.components, options.bits)
    R = torch.from_numpy(rng.integers(-127, 128, size=shape, dtype=np.int8))
    memory = {}

    def run(codes):
        if len(codes) not in memory:
            memory[len(codes)] = torch.empty((len(codes), len(R)), dtype=torch.int32)
        torch._int_mm(torch.from_numpy(codes).view(torch.int8), R.t(), out=memory[len(codes)])

    return run


def two_products(options):
    """Compute the same intensities by the textbook."""
    R = SimulatedOPU().matrix(options.bits, options.components)
    real, imaginary = (np.ascontiguousarray(part.T) for part in (R.real, R.imag))

    def run(codes):
        codes = codes.astype(np.float32)
        return np.square(codes @ real) + np.square(codes @ imaginary)

    return run


def lightonml(options):
    """Use the vendor's simulated device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightonml import OPU
        from lightonml.internal.simulated_device import SimulatedOpuDevice
    device = SimulatedOpuDevice()
    device.build_random_matrix(options.bits, options.components, 0)
    opu = OPU(n_components=options.components, opu_device=device, max_n_features=options.bits)
    opu.fit1d(n_features=options.bits)
    return opu.transform


def peer(model):
    """Use ``transform`` of a transformer of scikit-learn, on float32."""

    def make(options):
        if "n_components" in model.get_params() and not isinstance(model, Nystroem):
            model.set_params(n_components=options.components)
        rng = np.random.default_rng(0)
        fitted = model.fit(rng.integers(0, 2, size=(1000, options.bits)).astype(np.float32))
        return lambda codes: fitted.transform(codes.astype(np.float32))

    return make


METHODS = {
    "skopu": skopu_device,
    "integer product alone": product_alone,
    "two float32 products": two_products,
    "lightonml": lightonml,
    "RBFSampler": peer(RBFSampler(random_state=0)),
    "PolynomialCountSketch": peer(PolynomialCountSketch(degree=2, random_state=0)),
    f"Nystroem ({NYSTROEM_COMPONENTS})": peer(
        Nystroem(n_components=NYSTROEM_COMPONENTS, random_state=0)
    ),
}


def seconds(run, codes):
    """Processor time of a call."""
    start = time.process_time()
    run(codes)
    return time.process_time() - start


def compare(options):
    """Print a table for each number of rows."""
    missing = importlib.util.find_spec("lightonml") is None
    names = [name for name in METHODS if not (name == "lightonml" and missing)]
    if missing:
        print("lightonml is not installed (see the head of this file).\n")
    runs = {name: METHODS[name](options) for name in names}
    rng = np.random.default_rng(0)
    for n_rows in options.rows:
        codes = rng.integers(0, 2, size=(n_rows, options.bits), dtype=np.uint8)
        for run in runs.values():
            run(codes)
        times = {name: [] for name in names}
        for _ in range(options.rounds):
            for name, run in runs.items():
                times[name].append(seconds(run, codes))
        print_table(n_rows, times, options)


def print_table(n_rows, times, options):
    """Print medians and ratios."""
    multiplications = 2 * n_rows * options.bits * options.components
    print(f"\nn = {n_rows}, k = {options.bits}, D = {options.components}\n")
    print("| | milliseconds | time / time of skopu | lowest - highest ratio | 1e9 mult./s |")
    print("|---|---|---|---|---|")
    own = np.array(times["skopu"])
    for name, found in times.items():
        ratios = np.array(found) / own
        rate = multiplications / np.median(found) / 1e9
        shown = f"{rate:.0f}" if name in list(METHODS)[:3] else ""
        print(
            f"| {name} | {1e3 * np.median(found):.1f} | {np.median(ratios):.2f} | "
            f"{ratios.min():.2f} - {ratios.max():.2f} | {shown} |"
        )
    share = np.array(times["integer product alone"]) / own
    print(f"\nshare of the rate of the product alone: {np.median(share):.2f}", flush=True)


def main():
    """Compare with and without OPENBLAS_CORETYPE."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--bits", type=int, default=784)
    parser.add_argument("--components", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--here", action="store_true", help="only with the environment as it is")
    options = parser.parse_args()
    if options.here:
        print(f"\n{platform.processor() or platform.machine()}, threads: {options.threads}")
        print(describe())
        torch.set_num_threads(options.threads)
        with threadpool_limits(options.threads):
            compare(options)
        return
    for core_type in (None, "Haswell"):
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        if core_type:
            environment["OPENBLAS_CORETYPE"] = core_type
        subprocess.run([sys.executable, *sys.argv, "--here"], env=environment, check=True)


if __name__ == "__main__":
    main()
