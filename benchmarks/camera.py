"""What a camera costs the end-to-end estimators: a table, and a picture against noise and bits.

Protocol: that of ``protocol.py`` (at most 3000 rows, a fifth of them for testing, standardised on
the training part). Default settings: 64 bits, 1024 components, 10 draws at prediction. A device
with a camera is used for training and for prediction alike, and compared with the same device read
exactly. This is Figure 2 of Kozyrskiy et al. (2021) in simulation.

Errors are mean +- sd over seeds, which choose the rows; the change is that of the mean error, with
its standard error over seeds and repeats. A repeat starts training from other weights and draws,
with other noise: a rounding error is enough to make training end elsewhere, and on eeg such ends
differ by a tenth of the error, so one repeat would say little about the camera.

    export SKOPU_DATA=folder
    python benchmarks/camera.py
    python benchmarks/camera.py --gradients loo,quadratic
    python benchmarks/camera.py --table no --figure camera.png --repeats 1 --max-iter 500
"""

import sys
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, end_to_end, make_parser, mean_error, resolve, split, split_names
from tqdm import tqdm

from skopu import SupervisedBinarizer
from skopu.comparison.report import format_error
from skopu.devices import Camera, SimulatedOPU
from skopu.exceptions import CameraWarning

SETS = "boston,energy,eeg"
SWEEPS = {  # settings of the camera that the picture varies, one at a time
    "full_well": ("full well (electrons)", (1e1, 1e2, 1e3, 1e4, 1e5)),
    "read_noise": ("read noise (electrons)", (2.0, 50.0, 200.0, 800.0, 3200.0)),
    "bits": ("bits", (2, 3, 4, 6, 8, 12)),
}
DEFAULT = {}


def fit(folder, name, seed, repeat, gradient, camera, max_iter):
    """Return test error and processor time of one fit; ``camera`` holds parameters of one."""
    warnings.simplefilter("ignore", CameraWarning)
    X, X_test, y, y_test = split(folder, name, seed)
    seen = None if camera is None else Camera(random_state=repeat, **camera)
    binarizer = SupervisedBinarizer(
        gradient=gradient, opu=SimulatedOPU(camera=seen), max_iter=max_iter
    )
    start = time.process_time()
    model = end_to_end(y, binarizer, random_state=seed + 1000 * repeat).fit(X, y)
    predictions = model.predict(X_test)
    seconds = time.process_time() - start
    return mean_error(predictions, y_test), seconds


def run(options, cameras, gradients):
    """Return errors and seconds by set and gradient: arrays (cameras, seeds, repeats, 2)."""
    repeats = range(options.repeats)
    jobs = list(product(options.sets, gradients, range(len(cameras)), options.seeds, repeats))
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(fit)(options.data, name, seed, repeat, gradient, cameras[place], options.max_iter)
        for name, gradient, place, seed, repeat in jobs
    )
    found = list(tqdm(fits, total=len(jobs), unit="fit", file=sys.stderr))
    shape = len(cameras), len(options.seeds), options.repeats, 2
    cells = np.array(found).reshape(-1, *shape)
    return dict(zip(product(options.sets, gradients), cells))


def table(options):
    """Print what the default camera changes."""
    found = run(options, [None, DEFAULT], options.gradients)
    print("| set | gradient | no camera | default camera | change | processor s |")
    print("|---|---|---|---|---:|---:|")
    for (name, gradient), cells in found.items():
        errors, seconds = cells[..., 0], cells[..., 1].mean(axis=(1, 2))
        means = errors.mean(axis=2)  # over repeats
        spreads = means.std(axis=1, ddof=1) if means.shape[1] > 1 else (0.0, 0.0)
        shown = " | ".join(format_error(*pair) for pair in zip(means.mean(axis=1), spreads))
        change = means[1].mean() / means[0].mean() - 1
        doubt = np.std(errors[1] - errors[0]) / np.sqrt(max(1, errors[0].size - 1))
        doubt /= means[0].mean()
        times = f"{seconds[0]:.0f} and {seconds[1]:.0f}"
        print(f"| {name} | {gradient} | {shown} | {change:+.1%} +- {doubt:.1%} | {times} |")


def sweep(options):
    """Print errors against the settings of the camera, and draw them."""
    cameras = [None, DEFAULT]
    for setting, (_, values) in SWEEPS.items():
        default = getattr(Camera(), setting)
        cameras += [{setting: value} for value in values if value != default]
    found = run(options, cameras, options.gradients[:1])
    errors = {name: cells[..., 0].mean(axis=(1, 2)) for (name, _), cells in found.items()}
    print(f"\n| camera | {' | '.join(options.sets)} |\n|---|{'---:|' * len(options.sets)}")
    for place, camera in enumerate(cameras):
        parts = "none" if camera is None else ", ".join(f"{k}={v:g}" for k, v in camera.items())
        cells = [f"{errors[n][place]:.4g} ({errors[n][place] / errors[n][0]:.2f})" for n in errors]
        print(f"| {parts or 'default'} | {' | '.join(cells)} |")
    draw(options.figure, cameras, errors)


def draw(path, cameras, errors):
    """Draw the errors relative to those without a camera."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    plt.style.use(Path(__file__).with_name("style.mplstyle"))
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True)
    for ax, (setting, (label, values)) in zip(axes, SWEEPS.items()):
        default = getattr(Camera(), setting)
        places = [cameras.index(DEFAULT if v == default else {setting: v}) for v in values]
        for name, found in errors.items():
            ax.plot(values, found[places] / found[0], label=name)
        ax.axhline(1, color="0.6", linewidth=0.8, marker="")
        ax.set(xlabel=label, yscale="log", xscale="linear" if setting == "bits" else "log")
        if setting == "bits":
            ax.set_xticks(values)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("test error / that without camera")
    axes[0].legend()
    figure.savefig(path)


def parse(argv=None):
    """Return the options of the command line."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--repeats", type=int, default=3, help="fits of each (default: 3)")
    parser.add_argument("--max-iter", type=int, default=None, help="steps (default: as always)")
    parser.add_argument("--gradients", type=split_names, default="loo", help="default: loo")
    parser.add_argument("--table", choices=("yes", "no"), default="yes")
    parser.add_argument("--figure", help="file for the picture (default: none is made)")
    parser.add_argument("--quick", action="store_true", help="few steps, one seed: does it run?")
    options = resolve(parser, argv)
    options.max_iter = options.max_iter or "auto"
    if options.quick:
        options.max_iter, options.repeats, options.seeds = 30, 1, options.seeds[:1]
    return options


def main():
    """Print the tables; draw the picture where asked."""
    options = parse()
    if options.table == "yes":
        table(options)
    if options.figure:
        sweep(options)


if __name__ == "__main__":
    main()
