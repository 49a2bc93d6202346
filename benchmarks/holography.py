"""Accuracy of retrieved fields against oversampling, electrons, bits, drift and dead pixels.

The figure is 10 log10 of mean |Rz|^2 over mean squared error, in decibels: mean +- standard
deviation over devices, with random codes of 64 bits and 256 components. Rows of the intensity-only
retrieval are turned to the phase that intensities cannot tell. Prints Markdown tables.

    python benchmarks/holography.py
    python benchmarks/holography.py --figure holography.png   # electrons and bits as a picture too
"""

import argparse
import warnings

import numpy as np
from tqdm import tqdm

from skopu.devices import (
    AnchorRetrieval,
    Camera,
    OffAxisHolography,
    PhaseShiftingHolography,
    SimulatedOPU,
)
from skopu.exceptions import CameraWarning

N_DEVICES, N_CODES, N_BITS, N_COMPONENTS = 5, 256, 64, 256
METHODS = {
    "off-axis": OffAxisHolography,
    "phase shifting": PhaseShiftingHolography,
    "anchors": AnchorRetrieval,
}
ELECTRONS = (1e2, 1e3, 1e4, 1e5, 1e6)
BITS = (4, 6, 8, 10, 12, None)


class DoubleOPU(SimulatedOPU):
    """The simulated device with R and intensities in float64."""

    def _field(self, codes, n_components):
        return codes @ self.exact_matrix(codes.shape[1], n_components).T

    def _intensities(self, codes, n_components):
        return np.abs(self._field(codes, n_components)) ** 2

    def exact_matrix(self, n_bits, n_components):
        """R as ``matrix`` tells it, taken for exact."""
        return SimulatedOPU(self.random_state).matrix(n_bits, n_components).astype(complex)


def turned(expected, field):
    """Columns of R z, each with the phase and conjugation that fit the field best."""
    phase, mirror = (np.sum(field * part, axis=0) for part in (expected.conj(), expected))
    flipped = np.abs(mirror) > np.abs(phase)
    expected = np.where(flipped, expected.conj(), expected)
    return expected * np.exp(1j * np.angle(np.where(flipped, mirror, phase)))


def decibels(retrieval, seed):
    """Signal over error of one device."""
    codes = np.random.default_rng(seed).integers(0, 2, size=(N_CODES, N_BITS))
    expected = codes @ DoubleOPU(seed).exact_matrix(N_BITS, N_COMPONENTS).T
    field = retrieval.project(codes, N_COMPONENTS).astype(complex)
    if isinstance(retrieval, AnchorRetrieval):
        expected = turned(expected, field)
    error = np.mean(np.abs(field - expected) ** 2)
    return 10 * np.log10(np.mean(np.abs(expected) ** 2) / error)


def measure(method, camera=None, **parameters):
    """Mean and standard deviation over devices; ``camera`` holds parameters of one."""
    found = []
    for seed in range(N_DEVICES):
        seen = None if camera is None else Camera(random_state=seed, **camera)
        device = (DoubleOPU if seen is None else SimulatedOPU)(seed, camera=seen)
        found.append(decibels(METHODS[method](device, **parameters), seed))
    return np.mean(found), np.std(found, ddof=1)


def tables():
    """Yield title, name of the row's setting, and rows as a dict of setting to dict of figures."""
    yield (
        "Without a camera (float64), and with the default one",
        "camera",
        {
            "none": {name: {} for name in METHODS},
            "default": {name: {"camera": {}} for name in METHODS},
        },
    )
    yield (
        "Off-axis: pixels per component",
        "oversampling",
        {
            s: {
                "none": {"method": "off-axis", "oversampling": s},
                "default camera": {"method": "off-axis", "oversampling": s, "camera": {}},
            }
            for s in (2, 2.5, 3, 3.5, 4, 6, 8)
        },
    )
    for setting, values in (
        ("full_well", ELECTRONS),
        ("bits", BITS),
        ("drift", (0, 1e-3, 1e-2, 1e-1)),
        ("dead_pixels", (0, 1e-3, 1e-2)),
    ):
        rows = {v: {name: {"camera": {setting: v}} for name in METHODS} for v in values}
        yield f"Camera: {setting}", setting, rows
    yield (
        "Reference: phase drift from frame to frame, in radians",
        "phase_drift",
        {
            drift: {
                name: {"camera": {}, "phase_drift": drift}
                for name in ("off-axis", "phase shifting")
            }
            for drift in (0, 1e-3, 1e-2, 1e-1)
        },
    )
    yield (
        "Anchors: their number (frames per code less one)",
        "n_anchors",
        {
            n: {"default camera": {"method": "anchors", "camera": {}, "n_anchors": n}}
            for n in (2, 3, 4, 6, 8)
        },
    )


def show(title, setting, rows):
    """Print one table and return its means by row."""
    columns = list(next(iter(rows.values())))
    lines = [
        f"\n{title}\n",
        f"| {' | '.join([setting, *columns])} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    means = {}
    for value, cells in tqdm(rows.items(), desc=title, leave=False):
        found = [measure(**{"method": name, **cell}) for name, cell in cells.items()]
        means[value] = [mean for mean, _ in found]
        label = f"{value:g}" if isinstance(value, float) else value
        lines.append(f"| {label} | {' | '.join(f'{m:.1f} +- {s:.1f}' for m, s in found)} |")
    print("\n".join(lines), flush=True)
    return columns, means


def draw(path, found):
    """Draw decibels against electrons and bits."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
    for ax, (setting, label) in zip(
        axes, [("full_well", "full well (electrons)"), ("bits", "bits")], strict=True
    ):
        columns, means = found[setting]
        values = [v for v in means if v is not None]
        ax.plot(values, [means[v] for v in values], "o-", label=columns)
        ax.set_xlabel(label)
    axes[0].set(xscale="log", ylabel="signal / error (dB)")
    axes[0].legend()
    figure.savefig(path, dpi=150)


def main():
    """Print the tables; draw the picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figure", help="file for a picture of electrons and bits")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", CameraWarning)
    found = {setting: show(title, setting, rows) for title, setting, rows in tables()}
    if arguments.figure:
        draw(arguments.figure, found)


if __name__ == "__main__":
    main()
