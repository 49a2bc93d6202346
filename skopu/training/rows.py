"""The rows of a training run, and the order in which they come."""

from itertools import islice

import numpy as np
import torch

from skopu._core.tensors import Inputs, to_tensor

_MOVED_TOGETHER = 256  # minibatches whose numbers go to a card at a time
_MAX_START_ROWS = 4096  # rows that an encoder's start is measured on


def minibatches(n_samples, batch_size, seed):
    """Yield index arrays for ever: each epoch visits every row once, in a new order."""
    if n_samples <= batch_size:
        while True:
            yield np.arange(n_samples)
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n_samples)
        # The last, short part of an epoch is left out: its rows come up in later epochs.
        for start in range(0, n_samples - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def in_advance(batches, device):
    """Yield index arrays as they come; for a card as tensors, moved there many at a time."""
    if device.type == "cpu":
        yield from batches
    while block := list(islice(batches, _MOVED_TOGETHER)):
        yield from torch.as_tensor(np.stack(block), device=device)


class TrainingRows:
    """Rows to train on and rows held out, as tensors.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    targets : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    settings : object
        With ``early_stopping``, ``validation_fraction`` and ``torch_device``.
    dtype : {"float32", "float64"}
    seed : int
        Of the choice of the rows held out.
    """

    def __init__(self, X, targets, weights, settings, dtype, seed):
        self._inputs = Inputs(X, settings.torch_device, dtype)
        self._targets = to_tensor(targets, settings.torch_device, dtype)
        # Of mean one: twice all weights is the same problem, with the same penalties and rates.
        weights = weights / weights.mean()
        self._weights = to_tensor(weights, settings.torch_device, dtype)
        order = np.random.default_rng(seed).permutation(len(weights))
        n_held_out = 0
        if settings.early_stopping:
            n_held_out = max(1, round(settings.validation_fraction * len(order)))
        # Sorted, since an order of its own would cost a jump in memory for every row.
        self._held_out, self._train = order[:n_held_out], np.sort(order[n_held_out:])
        self._train_there = torch.as_tensor(self._train, device=self.device)
        if not len(self._train):
            raise ValueError(
                f"early_stopping=True holds out validation_fraction="
                f"{settings.validation_fraction} of {len(order)} rows and leaves none to train "
                "on: give more rows or set early_stopping=False."
            )

    def start_rows(self):
        """Return inputs of the first training rows, whose order says nothing about them."""
        return self._inputs.rows(self._train[:_MAX_START_ROWS])

    @property
    def n_rows(self):
        """Number of training rows."""
        return len(self._train)

    @property
    def is_dense(self):
        """Whether rows are gathered where they are, without the processor."""
        return self._inputs.is_dense

    @property
    def device(self):
        """The torch device on which they are."""
        return self._targets.device

    def rows(self, positions):
        """Return inputs, targets and weights of training rows."""
        if isinstance(positions, torch.Tensor):
            return self._gather(self._train_there[positions])
        return self._gather(self._train[positions])

    def held_out(self):
        """Return inputs, targets and weights of the validation rows."""
        return self._gather(self._held_out)

    def _gather(self, indices):
        chosen = torch.as_tensor(indices, device=self._targets.device)
        return self._inputs.rows(indices), self._targets[chosen], self._weights[chosen]
