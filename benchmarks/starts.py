"""Where a supervised encoder starts, and codes that harden: what helps, what training rows tell.

One encoder of 64 bits by REINFORCE ("loo") and a readout of 1024 features, ten draws averaged,
from each ``start`` that SupervisedBinarizer has. "Hardening": in the second half of the training
the logits grow threefold, beside what training does, so that codes become nearly deterministic.
Each is read as it was trained, and ("sharper") with its logits times the best of 1, 1.5 and 2.5 by
the readout's leave-one-out error. Before any training a start is judged by the leave-one-out error
of a ridge with the exact kernel of its codes, which takes no pass ("told").
Thermometer codes without training stand beside. Errors as in ``protocol``:

    SKOPU_DATA=folder python benchmarks/starts.py --seeds 0 --max-rows 400

Strength and scaling are chosen once, from the usual start, and used for all but "auto", which
chooses them with the start.
"""

import sys
from unittest.mock import patch

import numpy as np
import torch
from joblib import Parallel, delayed
from protocol import add_runs, is_classification, make_parser, mean_error, resolve, split
from scipy.special import expit
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from skopu import OPURandomFeatures, SupervisedBinarizer, ThermometerBinarizer
from skopu._core.random import dither
from skopu._core.scaling import apply_scaler
from skopu.end_to_end.averaging import MeanFeatures
from skopu.ridge.leave_one_out import leave_out
from skopu.training.encoders import LinearEncoder
from skopu.training.joint import JointModel

SETS = "energy,yacht,boston,airfoil,german,credit,miniboo,eeg"
STARTS = "hyperplanes; thresholds; mixed; hyperplanes, hardening; auto"
N_BITS, N_DRAWS, GROWTH, FACTORS = 64, 10, 3.0, (1.0, 1.5, 2.5)


def hardening(max_iter):
    """Return a method in the place of ``JointModel.step``, under which logits grow."""
    usual, rate = JointModel.step, GROWTH ** (2 / max_iter)

    def step(model, *rows):
        if model.progress > 0.5:
            with torch.no_grad():
                model.encoder.weight *= rate
                model.encoder.bias *= rate
        return usual(model, *rows)

    return step


class Readout:
    """Ridge on features of codes, and how wrong it is: left out, and on new rows."""

    def __init__(self, features, test_features, y, y_test):
        self.labels = np.unique(y) if is_classification(y) else None
        targets = y[:, None] if self.labels is None else 2.0 * (y[:, None] == self.labels) - 1
        features, test_features = (
            np.asarray(part, dtype=np.float64) for part in (features, test_features)
        )
        choice, _ = leave_out(features, targets, np.ones(len(y)), fit_intercept=True)
        self.left_out = choice.errors.min()
        found = choice.readout.predict(test_features)
        found = found[:, 0] if self.labels is None else self.labels[found.argmax(axis=1)]
        self.error = mean_error(found, y_test)


def read_codes(codes, codes_test, *targets, form="centered"):
    """Return the readout of codes that are not drawn."""
    features = OPURandomFeatures(1024 if form == "centered" else 10**5, form=form)
    return Readout(features.fit_transform(codes), features.transform(codes_test), *targets)


def read_draws(binarizer, factor, X, X_test, *targets):
    """Return the readout of averages over draws of codes of sharper logits."""
    features = OPURandomFeatures(1024)._fit_bits(N_BITS, binarizer.opu_)
    thresholds = dither(N_DRAWS, N_BITS, 0)
    parts = [
        MeanFeatures().of(features, expit(factor * binarizer._logits(rows)), thresholds)
        for rows in (X, X_test)
    ]
    return Readout(*parts, *targets)


def told(start, binarizer, X, X_test, *targets):
    """Return the leave-one-out error of the exact kernel of the codes of a start."""
    rows, rows_test = (apply_scaler(binarizer.scaler_, part) for part in (X, X_test))
    encoder = LinearEncoder(rows.shape[1], N_BITS, start).double()
    encoder.start(torch.from_numpy(np.asarray(rows, dtype=np.float64)), 0)
    W, b = encoder.weight.detach().numpy(), encoder.bias.detach().numpy()
    codes = [(part @ W.T + b > 0).astype(np.uint8) for part in (rows, rows_test)]
    return read_codes(*codes, *targets, form="exact").left_out


def measure(name, seed, options):
    """Return rows (method, told, error, error of the best factor, the factor) of one split."""
    X, X_test, y, y_test = split(options.data, name, seed, options.max_rows)
    settings = {"n_components": 1024, "max_iter": options.max_iter, "random_state": seed}
    cuts = ThermometerBinarizer(N_BITS).fit(X)
    read = read_codes(cuts.transform(X), cuts.transform(X_test), y, y_test)
    found = [("thermometer", np.nan, read.error, np.nan, 1.0)]
    for method in options.starts:
        start, *hardens = method.split(", ")
        step = hardening(options.max_iter) if hardens else JointModel.step
        own = {**settings, "start": start}
        if start == "auto":
            own.update(encoder_penalty="auto", scaler="auto")
        with patch.object(JointModel, "step", step):
            binarizer = SupervisedBinarizer(N_BITS, **own).fit(X, y)
        if "encoder_penalty" not in settings:
            scaler = "standard" if isinstance(binarizer.scaler_, StandardScaler) else "quantile"
            settings.update(encoder_penalty=binarizer.encoder_penalty_, scaler=scaler)
        reads = [read_draws(binarizer, f, X, X_test, y, y_test) for f in FACTORS]
        best = int(np.argmin([read.left_out for read in reads]))
        judged = told(binarizer.start_, binarizer, X, X_test, y, y_test)
        method = f"auto: {binarizer.start_}" if start == "auto" else method
        found.append((method, judged, reads[0].error, reads[best].error, FACTORS[best]))
    return found


def main():
    """Print a Markdown table: a row a set and method, means over seeds."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--max-rows", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--max-iter", type=int, default=1500, help="default: %(default)s")
    parser.add_argument("--starts", default=STARTS, help="default: %(default)s")
    options = resolve(parser)
    options.starts = [name.strip() for name in options.starts.split(";")]
    jobs = [(name, seed) for name in options.sets for seed in options.seeds]
    splits = Parallel(options.n_jobs, return_as="generator")(
        delayed(measure)(*job, options) for job in jobs
    )
    found = {}
    for job, rows in zip(jobs, tqdm(splits, total=len(jobs), unit="split", file=sys.stderr)):
        found[job] = rows
        for row in rows:
            print(*job, *row, file=sys.stderr, flush=True)
    print("| set | start | told | error | error, sharper | factor |")
    print("|---|---|---:|---:|---:|---:|")
    for name in options.sets:
        for number, (method, *_) in enumerate(found[name, options.seeds[0]]):
            values = np.mean([found[name, s][number][1:] for s in options.seeds], axis=0)
            print(f"| {name} | {method} | " + " | ".join(f"{v:.4g}" for v in values) + " |")


if __name__ == "__main__":
    main()
