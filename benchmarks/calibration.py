"""Calibration from intensities alone: how well it explains a device, and training with it.

Devices: exact, with normal noise of 1 % of the mean intensity, and with the default camera; 64 bits
and 1024 components. The first table gives the passes announced before the first one and those made,
and the share of variance left unexplained: of the intensities of random codes, and of the readouts
that exact training leaves on each set, over the codes of the training rows. Forms are the least
squares solution, the matrix is nearest to them. The second compares test errors of exact training
with prediction in closed form, once with the true matrix and once with the calibrated device,
and of training by gradients that need a known matrix. Protocol: that of ``protocol.py``.

    export SKOPU_DATA=folder
    python benchmarks/calibration.py
    python benchmarks/calibration.py --gradients exact,rebar
"""

import sys
import time

import numpy as np
from protocol import add_runs, end_to_end, make_parser, mean_error, resolve, split, split_names
from tqdm import tqdm

from skopu import SupervisedBinarizer
from skopu.comparison.report import format_error
from skopu.devices import Camera, OPUDevice, SimulatedOPU, calibrate, calibration_passes

SETS = "boston,energy,eeg"
N_BITS, N_COMPONENTS, N_CODES = 64, 1024, 4000


class NoisyOPU(OPUDevice):
    """A simulated device whose answers have normal noise, a share of the mean intensity."""

    def __init__(self, noise=0.01):
        self.noise = noise

    def _project(self, codes, n_components):
        intensities = SimulatedOPU().project(codes, n_components)
        rng = np.random.default_rng(self.n_passes)
        scale = self.noise * codes.shape[1] / 2
        return intensities + rng.normal(0, scale, intensities.shape).astype(np.float32)


DEVICES = {  # and the noise to state
    "exact": (SimulatedOPU(), 0.0),
    "noise of 1 %": (NoisyOPU(), 0.01),
    "default camera": (SimulatedOPU(camera=Camera()), 0.03),
}


def unexplained(found, expected):
    """Variance over codes of the difference relative to that of what is expected."""
    return np.var(found - expected, axis=0).sum() / np.var(expected, axis=0).sum()


def fit(data, opu, gradient, prediction, seed):
    """Return the error and the model, of exact training unless another gradient is given."""
    X, X_test, y, y_test = data
    binarizer = SupervisedBinarizer(
        N_BITS, gradient=gradient, n_components=N_COMPONENTS, objective="auto", opu=opu
    )
    model = end_to_end(y, binarizer, prediction=prediction, random_state=seed).fit(X, y)
    return mean_error(model.predict(X_test), y_test), model


def known():
    """Return a device of known matrix with as many components as are calibrated."""
    return SimulatedOPU(max_components=N_COMPONENTS)


def readouts(options):
    """Yield set, weights (D - 1, q) of a trained readout and codes (n, k) of the rows."""
    for name in options.sets:
        data = split(options.data, name, 0)
        _, model = fit(data, known(), "exact", "mean", 0)
        p = model.binarizer_.bit_probabilities(data[0])
        codes = (p > np.random.default_rng(0).random(p.shape)).astype(np.uint8)
        # The last feature is the popcount, of which there is nothing to explain.
        yield name, np.atleast_2d(model.ridge_.coef_).T[:-1], codes


def accuracy_table(options, devices):
    """Print passes and shares of variance left unexplained."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, size=(N_CODES, N_BITS), dtype=np.uint8)
    cases = [("random codes", np.eye(N_COMPONENTS), codes)]
    cases += readouts(options)
    columns = [f"{name}: forms | matrix" for name, *_ in cases]
    print(f"| device | announced | passes | processor s | {' | '.join(columns)} |")
    print("|---|" + "---:|" * (3 + 2 * len(cases)))
    for label, (device, noise) in devices.items():
        cells = [calibration_passes(N_BITS, noise=noise), device.opu.n_passes]
        cells.append(f"{device.seconds:.1f}")
        for _, weights, shown in cases:
            n = len(weights)
            expected = SimulatedOPU().project(shown, n).astype(float) @ weights
            forms = device.expected_intensities(shown, n).astype(float) @ weights
            field = shown @ device.matrix(N_BITS, n).astype(complex).T
            cells += [f"{unexplained(forms, expected):.1e}"]
            cells += [f"{unexplained(np.abs(field) ** 2 @ weights, expected):.1e}"]
        print(f"| {label} | {' | '.join(map(str, cells))} |", flush=True)


def training_table(options, devices):
    """Print test errors with the true matrix and with calibrated devices."""
    opus = {"true matrix": known()} | {k: device for k, (device, _) in devices.items()}
    print(f"\n| set | gradient | {' | '.join(opus)} | largest change |")
    print("|---|---|" + "---|" * len(opus) + "---:|")
    jobs = [(n, g, o, s) for n in options.sets for g in options.gradients for o in opus
            for s in options.seeds]  # fmt: skip
    errors = {}
    for name, gradient, opu, seed in tqdm(jobs, unit="fit", file=sys.stderr):
        data = split(options.data, name, seed)
        error, _ = fit(data, opus[opu], gradient, "mean", seed)
        errors.setdefault((name, gradient), {}).setdefault(opu, []).append(error)
    for (name, gradient), found in errors.items():
        means = np.array([np.mean(cell) for cell in found.values()])
        spreads = [np.std(cell, ddof=1) if len(cell) > 1 else 0.0 for cell in found.values()]
        cells = " | ".join(format_error(*pair) for pair in zip(means, spreads))
        changes = means[1:] / means[0] - 1
        change = changes[np.abs(changes).argmax()]
        print(f"| {name} | {gradient} | {cells} | {change:+.1%} |")


def main():
    """Print the tables."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--gradients", type=split_names, default="exact", help="default: exact")
    options = resolve(parser)
    devices = {}
    for label, (opu, noise) in DEVICES.items():
        start = time.process_time()
        device = calibrate(opu, N_BITS, N_COMPONENTS, noise=noise)
        device.matrix(N_BITS, N_COMPONENTS)
        device.seconds = time.process_time() - start
        devices[label] = device, noise
    accuracy_table(options, devices)
    training_table(options, devices)


if __name__ == "__main__":
    main()
