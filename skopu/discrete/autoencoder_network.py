"""Autoencoders with a binary code in the middle."""

from itertools import pairwise

import torch
from torch import nn

from skopu.discrete.layers import BinaryLinear, sign

_EPS = 1e-5  # under the root of the batch normalisation
ACTIVATIONS = {"sign": sign, "relu": torch.relu}


class Autoencoder(nn.Module):
    """Layers without bias, each with a batch normalisation, and tanh at the end.

    Parameters
    ----------
    sizes : sequence of int
        Of the inputs, the hidden layers of the encoder, the code, those of the decoder, and the
        inputs again.
    generator : torch.Generator
        Source of the starting weights.
    method : {"bop", "ste", "real"}
        How the weights are trained; "real" ones are not made binary.
    activation : {"sign", "relu"}
        After every layer but the last, the code's included.
    """

    def __init__(self, sizes, generator, *, method, activation):
        super().__init__()
        make = _real_linear if method == "real" else BinaryLinear
        settings = {} if method == "real" else {"method": method}
        shapes = list(pairwise(sizes))
        self.linear = nn.ModuleList([make(*shape, generator, **settings) for shape in shapes])
        self.norm = nn.ModuleList([nn.BatchNorm1d(size, eps=_EPS) for size in sizes[1:]])
        self.activation = ACTIVATIONS[activation]

    def forward(self, X):
        """Return reconstructions in (-1, 1) of rows in [-1, 1], both (n, d)."""
        for number, (linear, norm) in enumerate(zip(self.linear, self.norm)):
            X = norm(linear(self.activation(X) if number else X))
        return torch.tanh(X)

    @torch.no_grad()
    def calibrated(self, X, weights):
        """Return (coef, scale, shift) of each layer for prediction: activation(X W a + b).

        The statistics of the normalisations are measured anew on rows (n, d) of ``weights``
        (n,): those of training are averages over states of the weights that are no more.
        """
        layers, weights = [], weights / weights.sum()
        for linear, norm in zip(self.linear, self.norm):
            coef = _final_weight(linear).to(X.dtype).T
            H = X @ coef
            mean = weights @ H
            scale = norm.weight / (weights @ (H - mean).square() + _EPS).sqrt()
            shift = norm.bias - mean * scale
            X = self.activation(H * scale + shift)
            layers.append((coef, scale, shift))
        return layers


def _real_linear(n_inputs, n_outputs, generator):
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, bias=False)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    return layer


def _final_weight(linear):
    return linear.weight.hard() if isinstance(linear, BinaryLinear) else linear.weight
