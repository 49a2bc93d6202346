"""Binarizations through a camera: Figure 2 of Kozyrskiy et al. (2021) in simulation.

The paper compares them on a machine, on its classification sets. Here the machine is a simulated
device whose answers go through a camera; each method trains, and its readout is fitted and tests,
through one of its own. Protocol: that of ``protocol.py``; default settings; errors are means and
standard deviations over seeds, with a camera and without.

    SKOPU_DATA=folder python benchmarks/figure2.py
    SKOPU_DATA=folder python benchmarks/figure2.py --quick

Some twenty seconds of one core a fit of the supervised methods.
"""

import sys
import warnings
from itertools import product

import numpy as np
from joblib import Parallel, delayed
from protocol import (
    add_runs,
    is_classification,
    make_parser,
    mean_error,
    resolve,
    split,
    split_names,
)
from tqdm import tqdm

from skopu.comparison.methods import METHODS, Settings
from skopu.comparison.problems import CLASSIFICATION, REGRESSION
from skopu.comparison.report import format_error
from skopu.devices import Camera, SimulatedOPU
from skopu.exceptions import CameraWarning

SETS = "eeg,mocap,mocap@user2,miniboo,credit,german"
NAMES = "end-to-end,isolated,dfa,autoencoder,hyperplanes"
QUICK = Settings(n_bits=8, n_components=32, max_iter=10)


def fit(folder, name, key, seed, has_camera, settings, max_rows):
    """Return the test error of a method whose device has a camera, or has none."""
    warnings.simplefilter("ignore", CameraWarning)
    X, X_test, y, y_test = split(folder, name, seed, max_rows)
    task = CLASSIFICATION if is_classification(y) else REGRESSION
    opu = SimulatedOPU(camera=Camera(random_state=seed) if has_camera else None)
    model = METHODS[key].make(task, settings, seed)
    parts = [part for part in model.get_params() if part.rpartition("__")[2] == "opu"]
    model.set_params(**dict.fromkeys(parts, opu))
    return mean_error(model.fit(X, y).predict(X_test), y_test)


def main(argv=None):
    """Print a Markdown table."""
    options = parse(argv)
    cases = list(product(options.sets, options.methods, (False, True), options.seeds))
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(fit)(options.data, name, key, seed, camera, options.settings, options.max_rows)
        for name, key, camera, seed in cases
    )
    errors = np.array(list(tqdm(fits, total=len(cases), unit="fit", file=sys.stderr)))
    errors = errors.reshape(-1, 2, len(options.seeds))
    print("| set | method | no camera | camera |\n|---|---|---:|---:|")
    for (name, key), pair in zip(product(options.sets, options.methods), errors):
        spreads = pair.std(axis=1, ddof=1) if pair.shape[1] > 1 else (0.0, 0.0)
        cells = " | ".join(map(format_error, pair.mean(axis=1), spreads))
        print(f"| {name} | {METHODS[key].label} | {cells} |")


def parse(argv=None):
    """Return the options of the command line."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--methods", type=split_names, default=NAMES, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="one seed, short: does it run?")
    options = resolve(parser, argv)
    options.settings, options.max_rows = Settings(), 3000
    if options.quick:
        options.settings, options.max_rows, options.seeds = QUICK, 200, options.seeds[:1]
    unknown = sorted(set(options.methods) - set(METHODS))
    if unknown:
        parser.error(f"unknown method(s) {', '.join(unknown)}; known: {', '.join(METHODS)}")
    return options


if __name__ == "__main__":
    main()
