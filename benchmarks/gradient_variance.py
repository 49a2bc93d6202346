"""Variance of the gradient estimators, early and late in training.

A model of 32 bits and 512 components is trained with leave-one-out; at 100 and at 1500
minibatches, the gradient of the loss of 128 rows with respect to the encoder's weights is drawn
400 times with every estimator. Printed is the total variance relative to the squared norm of the
mean gradient, times the draws: what an estimator costs in passes for equal precision. The mean
gradient comes from 3200 further gradients of leave-one-out with 16 draws.

    python benchmarks/gradient_variance.py
"""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import scale

from skopu.devices import SimulatedOPU
from skopu.gradients import DisARM, LeaveOneOut, Reinforce
from skopu.losses import CrossEntropy, SquaredError
from skopu.nn.encoders import LinearEncoder
from skopu.objectives import Objective
from skopu.training.joint import JointModel

ESTIMATORS = [Reinforce(1), Reinforce(4), LeaveOneOut(2), LeaveOneOut(4), LeaveOneOut(8)]
ESTIMATORS += [DisARM(2), DisARM(4), DisARM(8)]
STAGES = (100, 1500)
N_ROWS, N_REPEATS = 128, 400


def load(name):
    """Rows, targets and loss of a set, as tensors."""
    X, y = (load_diabetes if name == "diabetes" else load_breast_cancer)(return_X_y=True)
    loss, targets = SquaredError(), scale(y.astype(float))[:, None]
    if name == "breast cancer":
        loss, targets = CrossEntropy(), np.eye(2)[y]
    return torch.tensor(scale(X)).float(), torch.tensor(targets).float(), loss


def make_model(X, targets, loss):
    """Return a joint model at its start."""
    model = JointModel(
        LinearEncoder(X.shape[1], 32),
        SimulatedOPU(),
        LeaveOneOut(4),
        Objective(loss, 1.0),
        n_components=512,
        encoder_penalty=0.03,
        readout_penalty=1e-3,
        learn_gamma=None,
        generator=torch.Generator().manual_seed(0),
    )
    model.start(X, targets.shape[1], seed=0)
    return model


def train(model, X, targets, n_iter, rng):
    """Train with the settings of ``SupervisedBinarizer``, without the decay."""
    optimizer = torch.optim.Adam(model.groups(0.05, 0.01), betas=(0.9, 0.99))
    for _ in range(n_iter):
        rows = rng.choice(len(X), N_ROWS, replace=False)
        _, surrogate = model.step(X[rows], targets[rows], torch.ones(N_ROWS))
        optimizer.zero_grad()
        surrogate.backward()
        optimizer.step()


def gradients(model, estimator, X, targets, n_repeats):
    """Gradients of the encoder's weights without penalty, shape (n_repeats, k d)."""
    drawn = []
    for _ in range(n_repeats):
        logits = model.encoder(X)
        codes = estimator.draw(logits, model.generator)
        terms = model.objective.score_terms(model.predict(codes), targets)
        surrogate = estimator.surrogate(logits, codes, terms).mean()
        drawn.append(torch.autograd.grad(surrogate, model.encoder.weight)[0].ravel())
    return torch.stack(drawn)


def main():
    """Print a markdown table."""
    torch.set_num_threads(1)
    columns = {}
    for name in ("diabetes", "breast cancer"):
        X, targets, loss = load(name)
        model, rng, done = make_model(X, targets, loss), np.random.default_rng(0), 0
        for stage in STAGES:
            train(model, X, targets, stage - done, rng)
            done = stage
            batch = X[:N_ROWS], targets[:N_ROWS]
            mean = gradients(model, LeaveOneOut(16), *batch, 8 * N_REPEATS).mean(0)
            columns[f"{name}, {stage} steps"] = [
                estimator.n_draws
                * (gradients(model, estimator, *batch, N_REPEATS) - mean).square().sum(1).mean()
                / mean.square().sum()
                for estimator in ESTIMATORS
            ]
    print(f"| relative variance x draws | {' | '.join(columns)} |")
    print(f"|---|{'---:|' * len(columns)}")
    for number, estimator in enumerate(ESTIMATORS):
        cells = " | ".join(f"{column[number]:.1f}" for column in columns.values())
        print(f"| {type(estimator).__name__}, S = {estimator.n_draws} | {cells} |")


if __name__ == "__main__":
    main()
