"""An encoder whose weights are -1 and 1, so that codes need additions and comparisons only."""

import numpy as np
import torch
from torch import nn

from skopu.nn.binary import BinaryWeight

_INITIAL_SPREAD = 2.0  # standard deviation of the initial logits, as for real weights
_QUANTILES = (0.1, 0.9)


class BinaryEncoder(nn.Module):
    r"""Encoder with bit probabilities :math:`\sigma(s \circ Bx + b)`, entries of B being -1 and 1.

    The scales s are positive, one for each bit. The most probable code is
    :math:`1[Bx > -b / s]`: additions, and a comparison with a number for each bit.

    Parameters
    ----------
    n_features, n_bits : int
        d and k.
    generator : torch.Generator
        Source of the starting signs.
    method : {"bop", "ste"}, default="bop"
        How the signs are trained; see :class:`~skopu.nn.binary.BinaryWeight`.
    """

    def __init__(self, n_features, n_bits, generator, method="bop"):
        super().__init__()
        self.signs = BinaryWeight((n_bits, n_features), generator, method=method)
        self.log_scale = nn.Parameter(torch.zeros(n_bits))
        self.bias = nn.Parameter(torch.zeros(n_bits))

    @property
    def weight(self):
        """W of shape (k, d), the signs times their scales, with their gradients."""
        return self.log_scale.exp()[:, None] * self.signs()

    def forward(self, X):
        """Return logits of shape (n, k) for inputs (n, d)."""
        return nn.functional.linear(X, self.weight, self.bias)

    @torch.no_grad()
    def start(self, X, seed):
        """Set scales and biases from inputs X of shape (n, d), as ``LinearEncoder`` does.

        Logits spread by 2 over the rows, and bits cut them at random quantiles between 10
        and 90 %.
        """
        projections = (X.double() @ self.signs.hard().double().T).cpu().numpy()
        spread = projections.std(axis=0)
        varies = spread > 1e-8 * np.abs(projections).max(axis=0)
        scale = _INITIAL_SPREAD / np.where(varies, spread, _INITIAL_SPREAD)
        levels = np.random.default_rng(seed).uniform(*_QUANTILES, size=len(scale))
        cuts = [np.quantile(column, level) for column, level in zip(projections.T, levels)]
        self.log_scale.copy_(torch.from_numpy(np.log(scale)))
        self.bias.copy_(torch.from_numpy(-np.array(cuts) * scale))
