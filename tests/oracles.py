"""Slow, plain computations that the package is compared with, and devices that misbehave."""

import time
from itertools import product

import numpy as np
import torch

from skopu.devices import MachineOPU, OPUDevice, SimulatedOPU


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


class VendorError(Exception):
    """What the library of a machine may raise, of no class that anybody expects."""


class Flaky(MachineOPU):
    """A machine with faults: each call fails with some probability, one for good.

    Parameters
    ----------
    seed : int
        Of the faults; the matrix is always that of ``SimulatedOPU(0)``.
    rate : float
        Probability that a call fails.
    kinds : sequence of str
        Methods of this class, without the underscore.
    dies_at : int or None
        Number of the call from which on the machine is lost, until ``repair``.
    """

    max_batch = 50
    full_scale = 1e4

    def __init__(self, seed=0, rate=0.0, kinds=(), dies_at=None):
        self.seed, self.rate, self.kinds, self.dies_at = seed, rate, kinds, dies_at
        self.rng = np.random.default_rng(seed)
        self.n_calls, self.n_faults, self.pauses, self.fault_seen = 0, 0, [], None
        self._matrix = SimulatedOPU(0)
        self._sleep = self.pauses.append

    def repair(self):
        """Make the machine whole."""
        self.rate, self.dies_at = 0.0, None

    def _project(self, codes, n_components):
        self.n_calls += 1
        frames = self._matrix.project(codes, n_components).copy()
        if self.dies_at is not None and self.n_calls >= self.dies_at:
            raise ConnectionResetError("device lost")
        if self.rng.random() < self.rate:
            self.n_faults += 1
            self.fault_seen = str(self.rng.choice(self.kinds))
            return getattr(self, f"_{self.fault_seen}")(frames, codes)
        return frames

    def _timeout(self, frames, codes):
        raise TimeoutError("no trigger")

    def _hang(self, frames, codes):
        time.sleep(0.15)
        return frames[::-1]

    def _vendor(self, frames, codes):
        raise VendorError("-7")

    def _dropped(self, frames, codes):
        return np.delete(frames, self.rng.integers(len(frames)), axis=0)

    def _extra(self, frames, codes):
        return np.concatenate([frames, frames[:1]])

    def _narrow(self, frames, codes):
        return frames[:, :-1]

    def _nothing(self, frames, codes):
        return None

    def _dark(self, frames, codes):
        frames[self._lit(codes)] = 0
        return frames

    def _saturated(self, frames, codes):
        frames[self._lit(codes), 1:] = self.full_scale
        return frames

    def _stuck(self, frames, codes):
        frames[self._lit(codes)] = 7.0
        return frames

    def _garbage(self, frames, codes):
        frames[self.rng.integers(len(frames)), 0] = self.rng.choice([np.nan, np.inf, -1.0])
        return frames

    def _repeated(self, frames, codes):
        differs = np.flatnonzero((codes[1:] != codes[:-1]).any(axis=1) & codes[:-1].any(axis=1))
        if not len(differs):
            raise TimeoutError("no trigger")
        row = self.rng.choice(differs)
        frames[row + 1] = frames[row]
        return frames

    def _lit(self, codes):
        """A lit code's row, or none, which then is a fault of another kind."""
        lit = np.flatnonzero(codes.any(axis=1))
        if not len(lit):
            raise TimeoutError("no trigger")
        return self.rng.choice(lit)
