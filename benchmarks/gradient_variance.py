"""Variance and bias of every gradient estimator, early and late in training.

A model of 32 bits and 512 components is trained with leave-one-out; at 100 and at 1500
minibatches, the gradient of the loss of 128 rows with respect to the encoder's weights is drawn
200 times with every estimator. Printed is the total variance relative to the squared norm of the
mean gradient, times the passes of a row and step: what an estimator costs in passes for equal
precision. For biased estimators the norm of the bias follows, relative to that of the mean
gradient. The mean gradient is that of 400 gradients of ``Quadratic``, which is unbiased and has the
least variance; its agreement with 1600 of leave-one-out with 16 draws is printed below the
table, in standard errors of the latter (the root mean square over the weights, 1 if both agree).

    python benchmarks/gradient_variance.py
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import scale
from tqdm import tqdm

from skopu.devices import SimulatedOPU
from skopu.gradients import (
    ARM,
    REBAR,
    AdaptiveNoise,
    DisARM,
    GumbelSigmoid,
    LeaveOneOut,
    LocalExpectation,
    Quadratic,
    Reinforce,
    SigmoidSurrogate,
    StraightThrough,
)
from skopu.losses import CrossEntropy, SquaredError
from skopu.objectives import Objective
from skopu.training.encoders import LinearEncoder
from skopu.training.joint import JointModel

ESTIMATORS = [Reinforce(1), Reinforce(4), ARM(4), DisARM(4)]
ESTIMATORS += [LeaveOneOut(2), LeaveOneOut(4), LeaveOneOut(8), LocalExpectation(1)]
ESTIMATORS += [REBAR(4), Quadratic(2), Quadratic(4)]
ESTIMATORS += [StraightThrough(4), AdaptiveNoise(4), SigmoidSurrogate(4)]
ESTIMATORS += [GumbelSigmoid(4, t, t) for t in (1.0, 0.3)]
REFERENCE = Quadratic(4)
STAGES = (100, 1500)
N_BITS, N_COMPONENTS, N_ROWS, N_REPEATS = 32, 512, 128, 200


def load(name):
    """Rows, targets and loss of a set, as tensors."""
    X, y = (load_diabetes if name == "diabetes" else load_breast_cancer)(return_X_y=True)
    loss, targets = SquaredError(), scale(y.astype(float))[:, None]
    if name == "breast cancer":
        loss, targets = CrossEntropy(), np.eye(2)[y]
    return torch.tensor(scale(X)).float(), torch.tensor(targets).float(), loss


def make_model(X, targets, loss, n_bits=N_BITS, n_components=N_COMPONENTS, encoder_penalty=0.03):
    """Return a joint model at its start, which keeps the device's answers for ``Quadratic``."""
    model = JointModel(
        LinearEncoder(X.shape[1], n_bits),
        SimulatedOPU(),
        REFERENCE,
        Objective(loss, 1.0),
        n_components=n_components,
        encoder_penalty=encoder_penalty,
        readout_penalty=1e-3,
        learn_gamma=None,
        generator=torch.Generator().manual_seed(0),
    )
    model.start(X, targets.shape[1], seed=0)
    return model


def train(model, X, targets, n_iter, rng):
    """Train with the settings of ``SupervisedBinarizer``, without the decay."""
    model.gradient = LeaveOneOut(4)
    optimizer = torch.optim.Adam(model.groups(0.05, 0.01), betas=(0.9, 0.99))
    for _ in range(n_iter):
        rows = rng.choice(len(X), N_ROWS, replace=False)
        _, surrogate = model.step(X[rows], targets[rows], torch.ones(N_ROWS))
        optimizer.zero_grad()
        surrogate.backward()
        optimizer.step()
        model.mark()


def gradients(model, estimator, X, targets, n_repeats):
    """Gradients of the encoder's weights without penalty, shape (n_repeats, k d)."""
    drawn = []
    model.gradient = estimator
    model.learned = torch.nn.ParameterDict(estimator.learned(model.encoder(X).shape[-1]))
    for _ in range(n_repeats):
        logits = model.encoder(X)
        draws = estimator.draw(logits, model.generator)
        costs = model.costs(draws, model.predict(draws.codes), targets)
        surrogate = estimator.surrogate(logits, draws, costs).mean()
        drawn.append(torch.autograd.grad(surrogate, model.encoder.weight)[0].ravel())
        model.answers.learn()
        model.mark()
    return torch.stack(drawn)


def measure(model, batch):
    """Yield the cell of every estimator, then the agreement of the two references."""
    mean = gradients(model, REFERENCE, *batch, 2 * N_REPEATS).mean(0)
    size = mean.square().sum()
    for estimator in ESTIMATORS:
        drawn = gradients(model, estimator, *batch, N_REPEATS)
        variance = drawn.var(0).sum() / size * estimator.n_passes(N_BITS)
        cell = f"{variance:.3g}" if variance < 10 else f"{variance:.0f}"
        if not estimator.unbiased:
            cell += f" (bias {(drawn.mean(0) - mean).norm() / size.sqrt():.2f})"
        yield cell
    drawn = gradients(model, LeaveOneOut(16), *batch, 8 * N_REPEATS)
    errors = (drawn.mean(0) - mean) / (drawn.std(0) / len(drawn) ** 0.5)
    yield f"{errors.square().mean().sqrt():.2f}"


def main():
    """Print a markdown table."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    torch.set_num_threads(1)
    columns = {}
    bar = tqdm(total=4 * (len(ESTIMATORS) + 1))
    for name in ("diabetes", "breast cancer"):
        X, targets, loss = load(name)
        model, rng, done = make_model(X, targets, loss), np.random.default_rng(0), 0
        for stage in STAGES:
            train(model, X, targets, stage - done, rng)
            done = stage
            cells = columns.setdefault(f"{name}, {stage} steps", [])
            for cell in measure(model, (X[:N_ROWS], targets[:N_ROWS])):
                cells.append(cell)
                bar.update()
    print(f"| relative variance x passes | passes | {' | '.join(columns)} |")
    print(f"|---|---:|{'---:|' * len(columns)}")
    for number, estimator in enumerate(ESTIMATORS):
        cells = " | ".join(column[number] for column in columns.values())
        print(f"| {estimator!r} | {estimator.n_passes(N_BITS)} | {cells} |")
    agreement = ", ".join(f"{name}: {column[-1]}" for name, column in columns.items())
    print(f"\nagreement of Quadratic and LeaveOneOut: {agreement}")


if __name__ == "__main__":
    main()
