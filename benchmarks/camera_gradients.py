"""Variance of leave-one-out and of ``quadratic`` through a camera, at equal passes.

Both draw four codes for each row and step. A model of 64 bits and 1024 components is trained with
leave-one-out, and after 100 and 1500 minibatches the gradient of the loss of 128 rows with respect
to the encoder's weights is drawn 100 times with each. Printed is the total variance relative to the
squared norm of the mean gradient (that of ``quadratic``), times the passes of a row and step, of
the same weights before a device with the default camera and before one without; the quadratic model
is fitted to 2048 answers of that device, whose passes are not counted. With ``--collected`` it is
fitted to the answers that the steps of training ask for, and to no others, as the package does it:
training then goes through the camera too, and no pass is left out of the count. Test errors of
both, at equal passes, are printed by ``camera.py --gradients loo,quadratic``. Rows: the training
part of seed 0 in ``protocol.py``.

    export SKOPU_DATA=folder
    python benchmarks/camera_gradients.py
"""

import warnings
from unittest.mock import patch

import numpy as np
import torch
from gradient_variance import gradients, make_model, train
from protocol import is_classification, make_parser, resolve, split

from skopu.devices import Camera, SimulatedOPU
from skopu.exceptions import CameraWarning
from skopu.gradients import LeaveOneOut, Quadratic
from skopu.losses import CrossEntropy, SquaredError
from skopu.training.answers import DeviceAnswers

SETS = "boston,energy,eeg"
ESTIMATORS = {"loo": LeaveOneOut(4), "quadratic": Quadratic(4)}
N_BITS, N_COMPONENTS, N_ROWS = 64, 1024, 128
STAGES, CAMERAS = (100, 1500), (None, Camera())
N_FITTED_ROWS = 512


def load(folder, name):
    """Rows, targets and loss of a set, as tensors."""
    X, _, y, _ = split(folder, name, 0)
    loss, targets = SquaredError(), y[:, None]
    if is_classification(y):
        loss, targets = CrossEntropy(), np.eye(y.max() + 1)[y]
    return torch.tensor(X).float(), torch.tensor(targets).float(), loss


def put_before(model, opu, X):
    """Give the model another device, and a quadratic model fitted to its answers."""
    estimator = ESTIMATORS["quadratic"]
    model.answers = DeviceAnswers(opu, N_COMPONENTS, estimator.fit_penalty)
    rows = np.random.default_rng(0).integers(len(X), size=N_FITTED_ROWS)
    with torch.no_grad():
        codes = estimator.draw(model.encoder(X[rows]), model.generator).codes.flatten(0, 1)
        model.answers.intensities(codes)
    model.answers.learn()
    model.answers.mark()


def variances(options, name):
    """Return variance times passes by (stage, has no camera, estimator)."""
    X, targets, loss = load(options.data, name)
    batch = X[:N_ROWS], targets[:N_ROWS]
    return (collected if options.collected else fresh)(X, targets, loss, batch, options.repeats)


def fresh(X, targets, loss, batch, n_repeats):
    """With the same weights before all devices, and answers asked for beside the training."""
    model = make_model(X, targets, loss, N_BITS, N_COMPONENTS, encoder_penalty=0.01)
    found, done, rng = {}, 0, np.random.default_rng(0)
    for stage in STAGES:
        put_before(model, SimulatedOPU(), X)
        train(model, X, targets, stage - done, rng)
        done = stage
        for camera in CAMERAS:
            put_before(model, SimulatedOPU(camera=camera), X)
            found |= measure(model, (stage, camera is None), batch, n_repeats)
    return found


def collected(X, targets, loss, batch, n_repeats):
    """With a training of its own before each device, which asks for the answers."""
    found = {}
    for camera in CAMERAS:
        model = make_model(X, targets, loss, N_BITS, N_COMPONENTS, encoder_penalty=0.01)
        rng = np.random.default_rng(0)
        penalty = ESTIMATORS["quadratic"].fit_penalty
        model.answers = DeviceAnswers(SimulatedOPU(camera=camera), N_COMPONENTS, penalty)
        done = 0
        for stage in STAGES:
            train(model, X, targets, stage - done, rng)
            done = stage
            # Those drawn again and again from one minibatch would make a better model of it.
            with patch.object(DeviceAnswers, "_wants_answers", return_value=False):
                found |= measure(model, (stage, camera is None), batch, n_repeats)
    return found


def measure(model, place, batch, n_repeats):
    """Return variance times passes of both estimators, by place and name."""
    drawn = {key: gradients(model, e, *batch, n_repeats) for key, e in ESTIMATORS.items()}
    size = drawn["quadratic"].mean(0).square().sum()
    return {
        (*place, key): f"{drawn[key].var(0).sum() / size * estimator.n_passes(N_BITS):.3g}"
        for key, estimator in ESTIMATORS.items()
    }


def main():
    """Print a Markdown table."""
    parser = make_parser(__doc__, SETS)
    parser.add_argument("--repeats", type=int, default=100, help="gradients drawn of each")
    parser.add_argument("--collected", action="store_true", help="answers of the training only")
    options = resolve(parser)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CameraWarning)
    titles = [
        f"{stage} steps, {'no camera' if camera is None else 'camera'}"
        for stage in STAGES
        for camera in CAMERAS
    ]
    print(f"| set | gradient | {' | '.join(titles)} |\n|---|---|{'---:|' * len(titles)}")
    for name in options.sets:
        found = variances(options, name)
        for key in ESTIMATORS:
            cells = [found[s, camera is None, key] for s in STAGES for camera in CAMERAS]
            print(f"| {name} | {key} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
