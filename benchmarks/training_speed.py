"""Processor time of a training step: plain, in place, black box, collapsed and exact.

One process, one thread, the five interleaved; medians and ratios of processor time are printed.

- plain: End-to-End with leave-one-out in float32, the paper's formulas a line each;
- in place: the same arithmetic with one product for both parts of R and no new array after it;
- black box: skopu's way around a device that only answers codes, with that product as device;
- collapsed: the same predictions from a known matrix, as quadratic forms of the bits;
- exact: no draws and no device, the gradient of the expected loss itself.

The first four are checked to give the same gradient from the same draws.

    python benchmarks/training_speed.py --bits 64 --components 4096 --draws 8 --batch 256
"""

import argparse
import time

import numpy as np
import torch
from machine import describe
from threadpoolctl import threadpool_limits
from torch.distributions import Bernoulli

from skopu.devices import OPUDevice, SimulatedOPU
from skopu.gradients import LeaveOneOut
from skopu.losses import SquaredError
from skopu.objectives import Objective
from skopu.training.encoders import LinearEncoder
from skopu.training.exact_model import ExactModel
from skopu.training.joint import JointModel

PENALTY = 1e-3


class PlainDevice(OPUDevice):
    """|Rz|^2 by one float32 product with the real and imaginary parts of R."""

    def __init__(self, matrix):
        self.matrix_ = torch.from_numpy(np.concatenate([matrix.real, matrix.imag]).T.copy())

    def project(self, codes, n_components):
        """Project uint8 or bool codes without checking them."""
        parts = (torch.from_numpy(codes).float() @ self.matrix_).square_()
        return (parts[:, :n_components].add_(parts[:, n_components:])).numpy()


class Plain:
    """The paper's algorithm; it starts from the weights of a joint model."""

    def __init__(self, model, features):
        self.encoder, self.readout = model.encoder, model.readout
        self.matrix, self.generator = model.answers.device.matrix_, model.generator
        self.groups, self.n_draws = model.groups, model.gradient.n_draws
        self.features = features

    def step(self, X, targets, weights):
        """Return the loss and the surrogate of a minibatch."""
        readout = self.readout
        logits = self.encoder(X)
        bits = Bernoulli(logits=logits, validate_args=False)
        uniforms = torch.rand((self.n_draws, *logits.shape), generator=self.generator)
        codes = (uniforms < bits.probs.detach()).float()
        flat = codes.flatten(0, 1)
        popcounts = flat.sum(1)
        common = (popcounts - readout.popcount_mean) / readout.popcount_scale
        predictions = self.features(flat, popcounts, self.matrix, readout) @ readout.weight[:-1]
        predictions = predictions + torch.outer(common, readout.weight[-1]) + readout.bias
        losses = (predictions.view(self.n_draws, len(X), -1) - targets).square().sum(-1)
        fixed = losses.detach()
        advantages = fixed - (fixed.sum(0) - fixed) / (self.n_draws - 1)
        rows = (advantages * bits.log_prob(codes).sum(-1) + losses).mean(0)
        penalty = self.encoder.weight.square().sum() / len(self.encoder.weight)
        penalty = PENALTY * (penalty + readout.weight.square().sum())
        return fixed.mean().item(), (weights * rows).mean() + penalty


def features_by_formula(codes, popcounts, matrix, readout):
    """Centred and scaled intensities, each step a new array."""
    real, imaginary = matrix.chunk(2, 1)
    intensities = (codes @ real) ** 2 + (codes @ imaginary) ** 2
    return (intensities - popcounts[:, None] * readout.gain) / readout.scale


def features_in_place(codes, popcounts, matrix, readout):
    """Centred and scaled intensities in one array."""
    real, imaginary = (codes @ matrix).square_().chunk(2, 1)
    return real.add_(imaginary).addr_(popcounts, readout.gain, alpha=-1).div_(readout.scale)


def make_models(options, X):
    """Return the five models, started alike."""
    matrix = SimulatedOPU().matrix(options.bits, options.components)
    models = {}
    plain = {"plain": features_by_formula, "in place": features_in_place}
    for name in (*plain, "black box", "collapsed"):
        models[name] = JointModel(
            LinearEncoder(X.shape[1], options.bits),
            SimulatedOPU() if name == "collapsed" else PlainDevice(matrix),
            LeaveOneOut(options.draws),
            Objective(SquaredError(), 1.0),
            n_components=options.components,
            encoder_penalty=PENALTY,
            readout_penalty=PENALTY,
            learn_gamma=None,
            generator=torch.Generator().manual_seed(0),
        )
    encoder = LinearEncoder(X.shape[1], options.bits)
    models["exact"] = ExactModel(encoder, SquaredError(), 1.0, PENALTY, PENALTY)
    for model in models.values():
        model.start(X[:1024], 1, seed=0)
    for name, features in plain.items():
        models[name] = Plain(models[name], features)
    return models


def step(model, optimizer, *batch):
    """One step of training; returns its seconds."""
    start = time.process_time()
    _, surrogate = model.step(*batch)
    optimizer.zero_grad()
    surrogate.backward()
    optimizer.step()
    return time.process_time() - start


def check_agreement(models, *batch):
    """Raise AssertionError unless the first four give the same gradients for the same draws."""
    found = []
    for name in ("plain", "in place", "black box", "collapsed"):
        model = models[name]
        model.generator.manual_seed(1)
        torch.nn.init.normal_(
            model.readout.weight, generator=torch.Generator().manual_seed(2), std=0.1
        )
        _, surrogate = model.step(*batch)
        weights = model.encoder.weight, model.readout.weight
        found.append(torch.cat([g.ravel() for g in torch.autograd.grad(surrogate, weights)]))
        torch.nn.init.zeros_(model.readout.weight)
    for other in found[1:]:
        error = (other - found[0]).norm() / found[0].norm()
        assert error < 1e-4, f"gradients differ by {error:.2g} of their norm"


def main():
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"bits": 64, "components": 4096, "draws": 8, "batch": 256, "inputs": 20, "steps": 50}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(5000, options.inputs, generator=generator)
    y = X[:, :1].sin() + X[:, 1:2] * X[:, 2:3]
    with threadpool_limits(1):
        models = make_models(options, X)
        optimizers = {n: torch.optim.Adam(m.groups(0.05, 0.01)) for n, m in models.items()}
        ones = torch.ones(options.batch)
        check_agreement(models, X[: options.batch], y[: options.batch], ones)
        seconds = {name: [] for name in models}
        for _ in range(options.steps + 3):
            rows = torch.randint(len(X), (options.batch,), generator=generator)
            for name, model in models.items():
                seconds[name].append(step(model, optimizers[name], X[rows], y[rows], ones))
    print(f"{vars(options)}; {describe()}")
    medians = {name: float(np.median(values[3:])) for name, values in seconds.items()}
    for name, median in medians.items():
        ratio = medians["plain"] / median
        print(f"{name:10s} {1e3 * median:9.2f} ms a step   {ratio:6.1f} times the plain speed")


if __name__ == "__main__":
    main()
