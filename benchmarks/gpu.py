"""A graphics card beside the processor: equality first, then rates of everything that runs on it.

In under four minutes of a data-centre card's time, one line a result as it comes; a study that
fails says so, and the others are done:

- equality: Gaussian intensities of the card and of numpy to the last bit, over tensors and arrays,
  chunks and tiles; structured ones to 1e-5; ridge readouts, alphas and predictions; a recorded
  training step;
- projections a second, on the card and from the host's memory and back: dense 784 -> 4096 and
  1e5 x 1e5, structured at 1e5 and 2^20; and by how much is worked on at a time, to tune it;
- ridge on --rows x 784 -> 4096: codes on the card and in the host's memory, by arithmetic, with
  leave-one-out errors, and the error that TF32 adds;
- training: exact on energy; Cross-fitted on 2400 rows and all of protein, without trees, which are
  the processor's.

Beside a rate stands the processor's of the same machine, measured on fewer rows, and the goal for
one H100. What the card's memory cannot hold, or what --seconds leave no time for, is skipped,
which is said. Sets are read from the folder SKOPU_DATA; random ones of their shape stand in for
them. Power is what ``nvidia-smi`` reads during the work, where there is one.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --quick --torch-device cpu      # shows that it runs, on any machine
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import describe

from skopu import CrossFittedOPURegressor, OPUKernelRidge, SupervisedBinarizer
from skopu._core.integer_product import integers_win
from skopu._core.places import find_place, to_host
from skopu.devices import SimulatedOPU, gaussian

GIGABYTE = 2**30
GOALS = {  # of one H100
    "dense 784 -> 4096": "8e6/s",
    "dense 1e5 -> 1e5": "2e4/s",
    "structured 1e5 -> 1e5": "1.8e5/s",
    "ridge, codes on the card, float32": "1 s",
    "ridge, codes in host memory": "5 s",
    "exact, energy": "1.5 s",
    "Cross-fitted, 2400 rows": "3 s",
    "Cross-fitted, protein": "20 s",
}


class Run:
    """What is measured where, and what there is time for.

    Parameters
    ----------
    options : argparse.Namespace
    """

    def __init__(self, options):
        self.quick, self.options = options.quick, options
        # "cpu" is numpy: torch on the processor is asked for by number.
        self.torch_device = "cpu:0" if options.torch_device == "cpu" else options.torch_device
        self.place = find_place(self.torch_device)
        self._end = time.perf_counter() + options.seconds

    def size(self, full, quick):
        """Return one of two sizes."""
        return quick if self.quick else full

    def fits(self, name, n_bytes, seconds=0):
        """Whether there is memory and time for a study; say so if not."""
        left = self._end - time.perf_counter()
        if left < seconds:
            line(name, f"skipped: takes {seconds} s, and {left:.0f} s are left")
            return False
        if self.place.name.startswith("cuda"):
            free = torch.cuda.mem_get_info(self.place.name)[0] / GIGABYTE
            if n_bytes / GIGABYTE > free:
                line(name, f"skipped: takes {n_bytes / GIGABYTE:.0f} GB, {free:.0f} are free")
                return False
        return True

    def seconds(self, work, n_times=3):
        """Return the least time of some calls, after one that sets things up."""
        work()
        return min(self.once(work) for _ in range(n_times))

    def once(self, work):
        """Return the time of one call."""
        self.place.synchronize()
        start = time.perf_counter()
        work()
        self.place.synchronize()
        return time.perf_counter() - start

    def codes(self, n_codes, n_bits):
        """Return random codes on the card."""
        generator = self.place.generator(0)
        return torch.randint(
            0, 2, (n_codes, n_bits), dtype=torch.uint8, device=self.place.name, generator=generator
        )


def line(name, found, beside="", more=""):
    """Print a result with what stands beside it, and its goal."""
    print(
        f"| {name:42} | {found:>16} | {beside:>12} | {GOALS.get(name, ''):>7} | {more} |",
        flush=True,
    )


def rate(number):
    return f"{number:.3g}/s"


def power(work=None):
    """Return watts in use during ``work``, repeated, and the limit, where nvidia-smi tells."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=power.draw,power.limit", "--format=csv,noheader"]
    asked = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while work is not None and asked.poll() is None:
        work()
    return (asked.communicate()[0].strip().splitlines() or [""])[0]


def equality(run):
    """Compare the card with numpy."""
    rng = np.random.default_rng(0)
    for n_codes, n_bits, n_components in ((1, 5, 3), (150, 784, 1001), (300, 3000, 4097)):
        codes = rng.integers(0, 2, (n_codes, n_bits), dtype=np.uint8)
        expected = SimulatedOPU().project(codes, n_components)
        tensor = run.place.put(codes)
        answers = {"tensor": SimulatedOPU().project(tensor, n_components)}
        for max_memory in (0, GIGABYTE):
            device = SimulatedOPU(torch_device=run.torch_device, max_memory=max_memory)
            answers[f"array, max_memory={max_memory}"] = device.project(codes, n_components)
        device = SimulatedOPU()
        parts = [device.project(tensor[i::7], n_components) for i in range(min(7, n_codes))]
        answers["chunks"] = np.empty_like(expected)
        for i, part in enumerate(parts):
            answers["chunks"][i::7] = to_host(part)
        for name, answer in answers.items():
            np.testing.assert_array_equal(to_host(answer), expected, err_msg=name)
        options = {"medium": "structured"}
        expected = SimulatedOPU(**options).project(codes, n_components)
        answer = SimulatedOPU(**options).project(tensor, n_components)
        limit = 1e-5 * max(1.0, expected.max())
        np.testing.assert_allclose(to_host(answer), expected, atol=limit, rtol=0)
    line("equality: Gaussian, to the last bit", "yes", more="tensors, arrays, chunks, tiles")
    line("equality: structured, to 1e-5", "yes")
    line("bytes are multiplied as bytes", str(integers_win("codes", run.place)))


def equal_readouts(run):
    """Compare readouts and training with the processor's."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2, (3000, 60), dtype=np.uint8)
    y = codes[:, 0] * codes[:, 1] + codes[:, 2] + 0.1 * rng.standard_normal(len(codes))
    for alpha in (1.0, "loo", "gcv"):
        models = [
            OPUKernelRidge(alpha, n_components=500, gram="float64", torch_device=name).fit(codes, y)
            for name in ("cpu", run.torch_device)
        ]
        np.testing.assert_allclose(models[1].alpha_, models[0].alpha_, rtol=1e-6)
        predictions = [model.predict(codes) for model in models]
        np.testing.assert_allclose(*predictions, atol=1e-6)
    line("equality: ridge, to 1e-6", "yes", more="alpha given, by leave-one-out and by gcv")
    losses = [
        SupervisedBinarizer(
            8,
            gradient="exact",
            max_iter=60,
            encoder_penalty=0.01,
            random_state=0,
            torch_device=name,
        )
        .fit(codes[:400].astype(float), y[:400])
        .history_["loss"]
        for name in ("cpu", run.torch_device)
    ]
    np.testing.assert_allclose(*losses, rtol=0.02)
    line("equality: exact training, to 2 %", "yes", more="losses of 60 recorded steps")


def projections(run):
    """Projections a second of both media."""
    n_rows = run.size(200_000, 500)
    studies = [
        ("dense 784 -> 4096", "gaussian", 784, 4096, n_rows, 2000),
        ("dense 1e5 -> 1e5", "gaussian", *run.size((10**5, 10**5, 2**14, 8), (2000, 3000, 64, 8))),
        ("structured 1e5 -> 1e5", "structured", 10**5, 10**5, run.size(4096, 16), 64),
        ("structured 2^20 -> 2^20", "structured", 2**20, 2**20, run.size(512, 2), 4),
    ]
    for name, medium, n_bits, n_components, n_codes, n_host in studies:
        is_dense = medium == "gaussian"
        n_bytes = 2 * n_bits * n_components * is_dense + n_codes * (n_bits + 4 * n_components)
        if not run.fits(name, n_bytes + GIGABYTE, seconds=40 if n_bytes > 10 * GIGABYTE else 10):
            continue
        device = SimulatedOPU(medium=medium, max_memory=40 * GIGABYTE)
        work = partial(device.project, run.codes(n_codes, n_bits), n_components)
        spent = run.seconds(work, 2)
        more = f"{n_codes} x {n_bits} -> {n_components}; {power(work)}"
        is_large = is_dense and n_bits * n_components > 10**9
        beside = "" if is_large else rate(host_rate(medium, n_host, n_bits, n_components))
        line(name, rate(n_codes / spent), beside, more)
        del device, work
        run.place.release()
    from_host(run)


def host_rate(medium, n_codes, n_bits, n_components):
    """Return the processor's projections a second."""
    codes = np.random.default_rng(0).integers(0, 2, (n_codes, n_bits), dtype=np.uint8)
    device = SimulatedOPU(medium=medium)
    device.project(codes, n_components)
    start = time.perf_counter()
    device.project(codes, n_components)
    return n_codes / (time.perf_counter() - start)


def from_host(run):
    """Rate from numpy to numpy."""
    n_codes = run.size(100_000, 500)
    codes = np.random.default_rng(0).integers(0, 2, (n_codes, 784), dtype=np.uint8)
    device = SimulatedOPU(torch_device=run.torch_device)
    spent = run.seconds(lambda: device.project(codes, 4096), 2)
    line("dense 784 -> 4096, numpy to numpy", rate(n_codes / spent))


def portions(run):
    """Rate of the dense medium by how much is multiplied at a time."""
    codes, usual, found = run.codes(run.size(200_000, 500), 784), gaussian._ON_CARD, []
    try:
        for rows, sums in ((2**10, 2**22), (2**11, 2**23), (2**12, 2**24), (2**14, 2**26)):
            gaussian._ON_CARD = usual._replace(rows=rows, sums=sums)
            device = SimulatedOPU()
            spent = run.seconds(lambda device=device: device.project(codes, 4096), 2)
            found.append(f"2^{int(np.log2(sums))}: {len(codes) / spent:.3g}")
    finally:
        gaussian._ON_CARD = usual
    line("dense, by sums at a time", "", more=", ".join(found))


def ridge(run):
    """Fit a readout to many rows, on the card and from the host."""
    n_rows = run.size(run.options.rows, 3000)
    n_components, n_bits = run.size(4096, 256), 784
    if not run.fits("ridge", n_rows * n_bits + 6 * GIGABYTE, seconds=25):
        return
    X = run.codes(n_rows, n_bits)
    y = X[:, :10].sum(axis=1, dtype=torch.float64).cpu().numpy() - 5
    y += 0.1 * np.random.default_rng(0).standard_normal(n_rows)
    options = {"n_components": n_components, "torch_device": run.torch_device}
    found, few = {}, slice(0, min(n_rows, 5000))
    for gram in ("float32", "tf32", "float64"):
        model = OPUKernelRidge(1.0, gram=gram, **options)
        spent = run.seconds(lambda model=model: model.fit(X, y), 1)
        found[gram] = to_host(model.predict(X[few]))
        line(
            f"ridge, codes on the card, {gram}", f"{spent:.2f} s", more=f"{n_rows} rows; {power()}"
        )
    scale = np.std(y)
    for gram in ("float32", "tf32"):
        difference = np.sqrt(np.mean((found[gram] - found["float64"]) ** 2)) / scale
        line(
            f"predictions by {gram} less those by float64",
            f"{difference:.1e}",
            more="of the spread",
        )
    arrays = to_host(X)
    model = OPUKernelRidge(1.0, **options)
    beside = run_on_host(run, arrays, y, n_components)
    line(
        "ridge, codes in host memory",
        f"{run.seconds(lambda: model.fit(arrays, y), 1):.2f} s",
        beside,
    )
    spent = run.seconds(lambda: model.predict(X), 1)
    line("prediction, codes on the card", rate(n_rows / spent))
    if run.fits("ridge, alpha by leave-one-out", 0, seconds=40):
        model = OPUKernelRidge("loo", **options)
        spent = run.once(lambda: model.fit(X, y))
        line("ridge, alpha by leave-one-out", f"{spent:.2f} s", more=f"alpha {model.alpha_:.3g}")


def run_on_host(run, X, y, n_components):
    """Return what the processor would take, from a few of the rows."""
    n_few = min(len(y), run.size(20_000, 1000))
    model = OPUKernelRidge(1.0, n_components=n_components, gram="int7")
    codes, targets = X[:n_few], y[:n_few]
    spent = run.once(lambda: model.fit(codes, targets))
    return f"{spent * len(y) / n_few:.0f} s"


def load(name, shape):
    """Return inputs and targets of a set, or random ones of its shape, and which it was."""
    path = Path(os.environ.get("SKOPU_DATA", "."), f"{name}.npz")
    if path.exists():
        with np.load(path) as data:
            return (
                data["X"].astype(float),
                data["y"].astype(float).reshape(len(data["y"]), -1)[:, 0],
                name,
            )
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    y = np.tanh(X[:, 0] * X[:, 1]) + X[:, 2] + 0.1 * rng.standard_normal(len(X))
    return X, y, f"random, in the place of {name}"


def training(run):
    """Seconds of fits, beside the processor's of the small ones."""
    n_iter = run.size("auto", 30)
    X, y, which = load("energy", (768, 8))
    few = {} if not run.quick else {"encoder_penalty": 0.01}

    def exact(name):
        model = SupervisedBinarizer(
            64, gradient="exact", max_iter=n_iter, random_state=0, torch_device=name, **few
        )
        return lambda: model.fit(X, y)

    compare(run, "exact, energy", exact, which, seconds=30)
    X, y, which = load("protein", (45_000, 9))
    for name, n_rows in (("Cross-fitted, 2400 rows", 2400), ("Cross-fitted, protein", len(y))):
        rows = slice(0, run.size(n_rows, 300))

        def cross_fitted(torch_device, rows=rows):
            model = CrossFittedOPURegressor(
                max_iter=n_iter, trees=False, random_state=0, torch_device=torch_device
            )
            return lambda: model.fit(X[rows], y[rows])

        is_small = n_rows <= 2400
        has_host = is_small and (run.quick or run.options.slow)
        compare(run, name, cross_fitted, which, seconds=30 if is_small else 40, has_host=has_host)


def compare(run, name, make, which, seconds, has_host=True):
    """Print the seconds of a fit on the card and on the processor."""
    if not run.fits(name, 0, seconds):
        return
    here = run.once(make(run.torch_device))
    beside = f"{run.once(make('cpu')):.1f} s" if has_host else ""
    line(name, f"{here:.2f} s", beside, which)


def main():
    """Run all studies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch-device", default="cuda", help="cuda, cuda:1, or cpu to try it")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the ridge")
    parser.add_argument("--seconds", type=float, default=230, help="after which nothing is begun")
    parser.add_argument("--slow", action="store_true", help="the processor's fits of minutes, too")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    run = Run(parser.parse_args())
    print(describe())
    if run.place.name.startswith("cuda"):
        properties = torch.cuda.get_device_properties(run.place.name)
        memory = properties.total_memory / GIGABYTE
        print(f"{properties.name}, {memory:.0f} GB, CUDA {torch.version.cuda}; {power()}")
    print(f"{torch.get_num_threads()} thread(s) of the processor\n")
    line("", "card", "processor", "watts and remarks")
    print("|---|---|---|---|---|")
    with warnings.catch_warnings(action="default"):
        failed = [
            study.__name__
            for study in (equality, equal_readouts, projections, portions, ridge, training)
            if not succeeds(study, run)
        ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def succeeds(study, run):
    """Do a study and return whether it ended well; the others are done in any case."""
    try:
        study(run)
    except Exception as error:
        traceback.print_exc()
        line(study.__name__, "FAILED", more=f"{type(error).__name__}: {error}"[:300])
        run.place.release()
        return False
    return True


if __name__ == "__main__":
    main()
