"""An encoder whose weights are -1 and 1, so that codes need additions and comparisons only."""

import numpy as np
import torch
from torch import nn

from skopu.training.binary_weight import BinaryWeight
from skopu.training.linear_encoder import scale_and_bias

_RAMP_EPOCHS = 100  # of the quantizer's strength, whatever the number of minibatches


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
        How the signs are trained; see :class:`~skopu.training.binary_weight.BinaryWeight`.
    quantizer : BinaryQuantizer or None, default=None
        Penalty of the latent weights of "ste".
    """

    def __init__(self, n_features, n_bits, generator, method="bop", quantizer=None):
        super().__init__()
        self.signs = BinaryWeight((n_bits, n_features), generator, method=method)
        self.log_scale = nn.Parameter(torch.zeros(n_bits))
        self.bias = nn.Parameter(torch.zeros(n_bits))
        self.quantizer = quantizer
        if quantizer is not None:
            start = quantizer.start_scale(self.signs.weight)
            self.alpha = nn.Parameter(start, quantizer.scale == "learn")

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
        scale, bias = scale_and_bias(projections, np.random.default_rng(seed))
        self.log_scale.copy_(torch.from_numpy(np.log(scale)))
        self.bias.copy_(torch.from_numpy(bias))

    def quantizer_penalty(self, progress):
        """Return the quantizer's penalty of the latent weights; 0 without a quantizer."""
        if self.quantizer is None:
            return 0.0
        epoch = 1 + (_RAMP_EPOCHS - 1) * progress
        strength = self.quantizer.strength_at(epoch, _RAMP_EPOCHS)
        return strength * self.quantizer.value(self.signs.weight, self.alpha)
