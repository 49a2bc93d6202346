"""Encoders: from inputs to the logits of Bernoulli bits."""

import numpy as np
import torch
from torch import nn

_INITIAL_SPREAD = 2.0  # standard deviation of the initial logits over the rows
_QUANTILES = (0.1, 0.9)


class LinearEncoder(nn.Module):
    r"""Linear encoder: bit probabilities :math:`\sigma(Wx + b)` (equation 12 of Kozyrskiy et al.).

    Parameters
    ----------
    n_features, n_bits : int
        d and k.
    """

    def __init__(self, n_features, n_bits):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_bits, n_features))
        self.bias = nn.Parameter(torch.zeros(n_bits))

    def forward(self, X):
        """Return logits of shape (n, k) for inputs (n, d)."""
        return nn.functional.linear(X, self.weight, self.bias)

    @torch.no_grad()
    def start(self, X, seed):
        """Set the starting weights from inputs X of shape (n, d).

        Directions are uniform on the sphere, scaled so that the logits spread by 2 over the
        rows: wide enough to be informative, narrow enough to be undecided. The threshold of
        a bit is a random quantile between 10 and 90 % of its projection, so bits cut the data
        at different places instead of all through the middle.
        """
        rng = np.random.default_rng(seed)
        directions = rng.standard_normal(self.weight.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        projections = X.cpu().numpy().astype(np.float64) @ directions.T
        scale, bias = scale_and_bias(projections, rng)
        self.weight.copy_(torch.from_numpy(directions * scale[:, None]))
        self.bias.copy_(torch.from_numpy(bias))

    def quantizer_penalty(self, progress):
        """Return 0: real weights may have any value."""
        return 0.0


def scale_and_bias(projections, rng):
    """Return what makes starting logits of projections (n, k): a scale and a bias for each bit."""
    spread = projections.std(axis=0)
    flat = 1e-8 * np.abs(projections).max(axis=0)
    scale = np.divide(_INITIAL_SPREAD, spread, out=np.ones(len(spread)), where=spread > flat)
    levels = rng.uniform(*_QUANTILES, size=len(spread))
    cuts = [np.quantile(column, level) for column, level in zip(projections.T, levels)]
    return scale, -np.array(cuts) * scale
