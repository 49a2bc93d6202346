r"""The figures of "Light-in-the-loop" (Launay et al., 2020), checked.

MNIST: the official split, pixels standardised by their common mean and deviation, two hidden
layers of 1024 with tanh, minibatches of 128, 10 epochs, Adam's rate 1e-3 with a linear decay,
threshold 0.1. One run for each row, as in the paper; the settings were fixed before the runs.
``--small``: two layers of 256, the first 20000 images, 5 epochs, minibatches of 64, mean and
standard deviation of three seeds, test accuracy on all 10000 test images. ``--crossed``: is it the
rate or the light that costs accuracy? Both rates with and without optics, constant, since the
paper names no decay, ten seeds, two layers of 128, the first 10000 images, 5 epochs, minibatches of
64; verdicts compare means and standard deviations over seeds.

    SKOPU_DATA=folder python benchmarks/reproductions/optical_dfa.py --save dfa.jsonl
    SKOPU_DATA=folder python benchmarks/reproductions/optical_dfa.py --small --save dfa.jsonl
    SKOPU_DATA=folder python benchmarks/reproductions/optical_dfa.py --crossed --save dfa.jsonl
    SKOPU_DATA=folder python benchmarks/reproductions/optical_dfa.py --optical --only constant \
        --n-seeds 3    # the paper's configuration with and without optics

Some minutes a row on one core. ``--save FILE`` keeps every fit, and a second run with the same
file computes only what is missing; ``--optical`` adds the rows with simulated holography;
``--figure FILE`` draws loss and alignment; ``--speed`` only times an epoch of each algorithm and
of MLPClassifier.
"""

import argparse
import os
import sys
import time
import warnings
from operator import gt
from pathlib import Path

import numpy as np
from fits import Store, percent, table, verdict
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from tqdm import tqdm

from skopu import DFAClassifier
from skopu.devices import (
    AnchorRetrieval,
    Camera,
    OffAxisHolography,
    PhaseShiftingHolography,
    SimulatedOPU,
)

TERNARY = {"error_encoding": "ternary"}
# The paper's rate, and pixels as ``load`` leaves them, whatever the defaults are.
PAPER = {"learning_rate_init": 1e-3, "scaler": None}
FULL = {**PAPER, "hidden_layer_sizes": [1024, 1024], "batch_size": 128, "max_iter": 10}
SMALL = {**PAPER, "hidden_layer_sizes": [256, 256], "batch_size": 64, "max_iter": 5, "rows": 20000}
ROWS = [
    ("no quantisation", "97.7", {}),
    ("ternary", "97.6", TERNARY),
    ("ternary, lr 0.01", "95.8 (optical)", {**TERNARY, "learning_rate_init": 0.01}),
    (
        "ternary, lr 0.01 constant",
        "95.8 (optical)",
        {**TERNARY, "learning_rate_init": 0.01, "learning_rate": "constant"},
    ),
    ("backpropagation", "", {"algorithm": "backprop"}),
    ("frozen hidden layers", "", {"algorithm": "frozen"}),
]
RETRIEVALS = {
    "off-axis": OffAxisHolography,
    "phase shifting": PhaseShiftingHolography,
    "anchors": AnchorRetrieval,
}


def optical(retrieval, full_well):
    """Return a row with a camera of that many electrons and 8 bits."""
    settings = {**TERNARY, "retrieval": retrieval, "full_well": full_well}
    return (f"ternary, {retrieval}, {full_well:,} electrons", "", settings)


OPTICAL = [
    optical("off-axis", 3500),
    # The paper's own configuration.
    (
        "ternary, lr 0.01 constant, off-axis, 3,500 electrons",
        "95.8",
        {**ROWS[3][2], **optical("off-axis", 3500)[2]},
    ),
]
SMALL_ROWS = [row for row in ROWS if "lr" not in row[0]] + [
    *[
        (f"ternary, threshold {level}", "", {**TERNARY, "threshold": level})
        for level in (0.01, 0.03, 0.3)
    ],
    ("sign", "", {"error_encoding": "sign"}),
]
SMALL_OPTICAL = [optical("off-axis", wells) for wells in (10000, 1000, 100, 10)]
SMALL_OPTICAL += [optical(name, 10000) for name in RETRIEVALS if name != "off-axis"]
CROSSED = {**SMALL, "hidden_layer_sizes": [128, 128], "rows": 10000, "learning_rate": "constant"}
CROSSED_ROWS = [
    (f"ternary, rate {rate:g}, {label}", "", {**settings, "learning_rate_init": rate})
    for rate in (1e-3, 1e-2)
    for label, settings in (("no optics", TERNARY), ("off-axis", optical("off-axis", 3500)[2]))
]


class Metered(BaseEstimator):
    """A retrieval whose answers are compared with those of the matrix behind the camera.

    Up to a complex factor for each component and conjugation, which training does not see.
    """

    def __init__(self, retrieval="off-axis", full_well=10000):
        self.retrieval = retrieval
        self.full_well = full_well

    def project(self, codes, n_components):
        """Return the retrieved field, adding up its products with the exact one."""
        if not hasattr(self, "_device"):
            opu = SimulatedOPU(0, camera=Camera(full_well=self.full_well))
            self._device = RETRIEVALS[self.retrieval](opu)
            self._matrix = SimulatedOPU(0).matrix(codes.shape[1], n_components)
            self._sums = np.zeros((4, n_components), dtype=complex)
        found = self._device.project(codes, n_components)
        exact = codes @ self._matrix.T
        pairs = ((exact, exact), (exact, found), (exact.conj(), found), (found, found))
        self._sums += [np.einsum("nd,nd->d", a.conj(), b) for a, b in pairs]
        return found

    @property
    def n_passes(self):
        """Frames of the camera."""
        return self._device.n_passes if hasattr(self, "_device") else 0

    def decibels(self):
        """Return the signal-to-noise ratio of all fields so far."""
        signal, straight, conjugate, power = self._sums
        explained = np.maximum(np.abs(straight), np.abs(conjugate)) ** 2 / signal.real
        return 10 * np.log10(explained.sum() / (power.real - explained).sum())


def load(folder):
    """Return X, y, X_test, y_test, with the training images' common mean and deviation."""
    with np.load(Path(folder, "mnist.npz")) as data:
        X, X_test = (data[f"x_{part}"].reshape(-1, 784).astype(float) for part in ("train", "test"))
        y, y_test = data["y_train"], data["y_test"]
    mean, spread = X.mean(), X.std()
    return (X - mean) / spread, y, (X_test - mean) / spread, y_test


def measure(settings, seed, data):
    """Fit, and return test accuracy, alignment of each epoch, frames and seconds."""
    settings = dict(settings)
    rows, retrieval = settings.pop("rows", None), settings.pop("retrieval", None)
    X, y, X_test, y_test = data
    if retrieval:
        settings["projector"] = Metered(retrieval, settings.pop("full_well"))
    has_alignment = settings.get("algorithm", "dfa") == "dfa"
    model = DFAClassifier(**settings, compute_alignment=has_alignment, random_state=seed)
    start = time.perf_counter()
    model.fit(X[:rows], y[:rows])
    return {
        "accuracy": model.score(X_test, y_test),
        "seconds": time.perf_counter() - start,
        "frames": int(model.n_passes_),
        "decibels": model.projector_.decibels() if retrieval else None,
        "loss": model.loss_curve_,
        "alignment": model.alignment_.tolist() if has_alignment else [],
    }


def show_alignment(found, epoch):
    """Return the mean cosine of each layer in an epoch, over the seeds that have one."""
    cosines = np.array([result["alignment"][epoch] for result in found if result["alignment"]])
    # A minibatch without an error above the threshold has no update, so no cosine.
    cosines = cosines[np.all(np.nan_to_num(cosines) != 0, axis=-1)] if len(cosines) else cosines
    return " / ".join(f"{value:.2f}" for value in cosines.mean(axis=0)) if len(cosines) else ""


def describe(name, published, found):
    """Return a line of the table from the results of the seeds."""
    first, last = (show_alignment(found, epoch) for epoch in (0, -1))
    accuracy = percent([r["accuracy"] for r in found], digits=2)
    seconds = np.mean([r["seconds"] for r in found])
    decibels = found[0].get("decibels")
    optics = [f"{found[0]['frames']:,}", f"{decibels:.1f}"] if decibels else ["", ""]
    return [name, published, accuracy, first, last, *optics, f"{seconds:.0f}"]


def crossed_verdicts(named):
    """Return a table of what rate and light cost, from the crossed rows."""
    slow, slow_lit, fast, fast_lit = (
        [result["accuracy"] for result in found] for _, found in named
    )
    pairs = {
        "the rate 0.01 costs accuracy without optics": (slow, fast),
        "the rate 0.01 costs accuracy with optics": (slow_lit, fast_lit),
        "optics cost accuracy at the rate 0.001": (slow, slow_lit),
        "optics cost accuracy at the rate 0.01": (fast, fast_lit),
    }
    rows = [
        # A few runs at the larger rate fail altogether, which an interval cannot tell.
        [claim, verdict(*pair), f"{sum(map(gt, *pair))} of {len(pair[0])}"]
        for claim, pair in pairs.items()
    ]
    return table(["claim", "by intervals", "seeds for which it holds"], rows)


HEADER = [
    "",
    "paper, %",
    "test accuracy, %",
    "alignment, epoch 1",
    "last epoch",
    "frames",
    "optics, dB",
    "s",
]


def draw(named, path):
    """Draw loss and alignment of every row (name, results of the seeds) against epochs."""
    import matplotlib.pyplot as plt

    plt.style.use(Path(__file__).parents[1] / "style.mplstyle")
    figure, axes = plt.subplots(1, 3, figsize=(11, 4))
    cycle = plt.rcParams["axes.prop_cycle"]()  # a row keeps its line in all panels
    for name, found in named:
        epochs = np.arange(1, len(found[0]["loss"]) + 1)
        style = {"label": name, **next(cycle)}
        axes[0].plot(epochs, np.mean([r["loss"] for r in found], axis=0), **style)
        if not found[0]["alignment"]:
            continue
        cosines = np.array([r["alignment"] for r in found], dtype=float)
        cosines[cosines == 0] = np.nan  # a minibatch without an update
        for layer, ax in enumerate(axes[1:]):
            ax.plot(epochs, np.nanmean(cosines[:, :, layer], axis=0), **style)
    axes[0].set(yscale="log", ylabel="training loss")
    for layer, ax in enumerate(axes[1:], start=1):
        ax.set(ylim=(0, 1), ylabel=f"alignment, layer {layer}")
    for ax in axes:
        ax.set_xlabel("epochs")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    figure.savefig(path)


def compare_speed(data, n_rows=6400, n_rounds=4):
    """Return a table of seconds an epoch: medians of rounds in which all take turns."""
    X, y = data[0][:n_rows], data[1][:n_rows]
    size = {**FULL, "max_iter": 1}
    peer_size = {name: value for name, value in size.items() if name != "scaler"}
    models = {
        "DFAClassifier": DFAClassifier(**size),
        "ternary": DFAClassifier(**size, **TERNARY),
        "backprop": DFAClassifier(**size, algorithm="backprop"),
        "MLPClassifier": MLPClassifier(**peer_size, activation="tanh"),
    }
    models["DFAClassifier"].fit(X, y)  # loads torch
    seconds = {name: [] for name in models}
    for _ in range(n_rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(X, y)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: np.median(values) for name, values in seconds.items()}
    peer = medians["MLPClassifier"]
    rows = [[name, f"{found:.2f}", f"{found / peer:.2f}"] for name, found in medians.items()]
    return table([f"an epoch of {n_rows} rows", "seconds", "of MLPClassifier"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKOPU_DATA"))
    parser.add_argument("--save", help="file of results, read and added to")
    parser.add_argument("--small", action="store_true", help="the small setting, three seeds")
    parser.add_argument("--crossed", action="store_true", help="rates with and without optics")
    parser.add_argument("--optical", action="store_true", help="with simulated holography")
    parser.add_argument("--speed", action="store_true", help="only time an epoch of each")
    parser.add_argument("--only", help="rows whose name holds this")
    parser.add_argument("--n-seeds", type=int, help="runs of a row (default: 1, 3 or 10, as above)")
    parser.add_argument("--figure", help="draw loss and alignment into this file")
    args = parser.parse_args()
    if not args.data:
        sys.exit("give the folder of mnist.npz by --data or SKOPU_DATA")
    if args.speed:
        warnings.simplefilter("ignore", ConvergenceWarning)
        sys.exit(print(compare_speed(load(args.data))))
    base, n_seeds = (SMALL, 3) if args.small else (FULL, 1)
    rows, with_light = (SMALL_ROWS, SMALL_OPTICAL) if args.small else (ROWS, OPTICAL)
    if args.crossed:
        base, n_seeds, rows, with_light = CROSSED, 10, CROSSED_ROWS, []
    rows = [r for r in rows + with_light * args.optical if not args.only or args.only in r[0]]
    store, data = Store(args.save, measure), load(args.data)
    lines, named = [], []
    for name, published, settings in tqdm(rows, desc="rows"):
        seeds = range(args.n_seeds or n_seeds)
        found = [store.get({**base, **settings}, seed, data) for seed in seeds]
        lines.append(describe(name, published, found))
        named.append((name, found))
    print(table(HEADER, lines))
    if args.crossed and not args.only:
        print("", crossed_verdicts(named), sep="\n")
    if args.figure:
        draw(named, args.figure)


if __name__ == "__main__":
    main()
