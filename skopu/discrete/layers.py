"""Layers with binary weights, and sign activations."""

import torch
from torch import nn

from skopu.gradients.relaxations import straight_through
from skopu.training.binary_weight import BinaryWeight


class BinaryLinear(nn.Module):
    """Linear layer with binary weights and no bias: x of shape (n, d) to (n, k).

    Parameters
    ----------
    n_inputs, n_outputs : int
        d and k.
    generator : torch.Generator
    **settings : dict
        Of the :class:`BinaryWeight` of shape (k, d).
    """

    def __init__(self, n_inputs, n_outputs, generator, **settings):
        super().__init__()
        self.weight = BinaryWeight((n_outputs, n_inputs), generator, **settings)

    def forward(self, X):
        """Return X W'."""
        return nn.functional.linear(X, self.weight())


def sign(x):
    """Return 1 where x >= 0 and -1 elsewhere, with gradient 1 where abs(x) <= 1, else 0."""
    hard = torch.where(x >= 0, 1.0, -1.0).to(x)
    return straight_through(hard, nn.functional.hardtanh(x))
