"""Slow, plain computations that the package is compared with, and devices that misbehave."""

from itertools import product

import numpy as np
import torch

from skopu.devices import OPUDevice, SimulatedOPU


def all_codes(n_bits):
    """Every binary code of n_bits bits, shape (2^k, k)."""
    return np.array(list(product((0, 1), repeat=n_bits)), dtype=np.uint8)


def code_probabilities(logits):
    """Probability of every code under independent bits, shape (2^k, n), with its graph."""
    codes = torch.from_numpy(all_codes(logits.shape[1])).to(logits.dtype)
    p = torch.sigmoid(logits)
    return torch.prod(codes[:, None] * p + (1 - codes[:, None]) * (1 - p), dim=-1)


def exact_objective(logits, answers, targets, loss, kappa):
    """J of every row, shape (n,), by summing over all codes; ``answers`` is (2^k, q)."""
    probabilities = code_probabilities(logits)  # (2^k, n)
    predictions = answers[:, None].expand(-1, len(targets), -1)
    risk = (probabilities * loss.value(predictions, targets)).sum(0)
    mean = torch.einsum("cn,cq->nq", probabilities, answers)
    return kappa * risk + (1 - kappa) * loss.value(mean, targets)


class BlackBox(OPUDevice):
    """A simulated device that keeps its matrix to itself, as a machine does."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def _project(self, codes, n_components):
        return SimulatedOPU(self.random_state).project(codes, n_components)


class Interrupting(BlackBox):
    """Raises KeyboardInterrupt at its n-th call, as Ctrl-C does."""

    def __init__(self, random_state=0, calls=20):
        super().__init__(random_state)
        self.calls = calls

    def _project(self, codes, n_components):
        self.n_calls = getattr(self, "n_calls", 0) + 1
        if self.n_calls == self.calls:
            raise KeyboardInterrupt
        return super()._project(codes, n_components)


class Hardware(BlackBox):
    """One machine: clones are the machine itself, and its camera has an unknown gain."""

    def __init__(self, random_state=0, gain=0.37):
        super().__init__(random_state)
        self.gain = gain

    def __sklearn_clone__(self):
        return self

    def _project(self, codes, n_components):
        return self.gain * super()._project(codes, n_components)
