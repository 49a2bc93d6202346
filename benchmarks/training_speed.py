"""Seconds a training step takes: device, quadratic form, and exact gradient side by side.

One process, one thread, the three interleaved; medians and ratios are printed. The plain form
projects every draw with a float32 matrix held in memory (the same arithmetic as a black-box
device, without its checks); the collapsed form computes the same predictions from a known
matrix; the exact gradient needs neither.

    python benchmarks/training_speed.py --bits 64 --components 4096 --draws 8 --batch 256
"""

import argparse
import time

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from skopu.devices import OPUDevice, SimulatedOPU
from skopu.gradients import LeaveOneOut
from skopu.losses import SquaredError
from skopu.nn.encoders import LinearEncoder
from skopu.objectives import Objective
from skopu.training.exact import ExactModel
from skopu.training.joint import JointModel


class PlainDevice(OPUDevice):
    """|Rz|^2 by one float32 product with the real and imaginary parts of R."""

    def __init__(self, matrix):
        self.matrix_ = torch.from_numpy(np.concatenate([matrix.real, matrix.imag]).T.copy())

    def project(self, codes, n_components):
        """Project uint8 or bool codes without checking them."""
        parts = (torch.from_numpy(codes).float() @ self.matrix_).square_()
        return (parts[:, :n_components] + parts[:, n_components:]).numpy()


def make_models(options, X):
    """Return the three models, started alike."""
    matrix = SimulatedOPU().matrix(options.bits, options.components)
    models = {}
    for name, device in (("plain", PlainDevice(matrix)), ("collapsed", SimulatedOPU())):
        models[name] = JointModel(
            LinearEncoder(X.shape[1], options.bits),
            device,
            LeaveOneOut(options.draws),
            Objective(SquaredError(), 1.0),
            n_components=options.components,
            encoder_penalty=1e-3,
            readout_penalty=1e-3,
            learn_gamma=None,
            generator=torch.Generator().manual_seed(0),
        )
    encoder = LinearEncoder(X.shape[1], options.bits)
    models["exact"] = ExactModel(encoder, SquaredError(), 1.0, 1e-3, 1e-3)
    for model in models.values():
        model.start(X[:1024], 1, seed=0)
    return models


def step(model, optimizer, *batch):
    """One step of training; returns its seconds."""
    start = time.perf_counter()
    _, surrogate = model.step(*batch)
    optimizer.zero_grad()
    surrogate.backward()
    optimizer.step()
    return time.perf_counter() - start


def main():
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"bits": 64, "components": 4096, "draws": 8, "batch": 256, "inputs": 20, "steps": 30}
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
        seconds = {name: [] for name in models}
        for _ in range(options.steps + 3):
            rows = torch.randint(len(X), (options.batch,), generator=generator)
            batch = X[rows], y[rows], torch.ones(options.batch)
            for name, model in models.items():
                seconds[name].append(step(model, optimizers[name], *batch))
    blas = {(d["internal_api"], d.get("architecture", "-")) for d in threadpool_info()}
    print(f"{vars(options)}; torch {torch.backends.cpu.get_cpu_capability()}; {sorted(blas)}")
    medians = {name: float(np.median(values[3:])) for name, values in seconds.items()}
    for name, median in medians.items():
        ratio = medians["plain"] / median
        print(f"{name:10s} {1e3 * median:9.2f} ms a step   {ratio:6.1f} times the plain speed")


if __name__ == "__main__":
    main()
