"""The autoencoder with one matrix for encoder and decoder."""

import numpy as np
import torch
from torch import nn


class TiedAutoencoder(nn.Module):
    r"""Codes :math:`b = 1[Wx > 0]`, restored rows :math:`\tanh(W^\top b + c)`.

    Parameters
    ----------
    n_features, n_bits : int
        d and k.
    seed : int
        Of the start: W with orthonormal rows or columns, whichever there are fewer of.
    """

    def __init__(self, n_features, n_bits, seed):
        super().__init__()
        draws = np.random.default_rng(seed).standard_normal((n_bits, n_features))
        left, _, right = np.linalg.svd(draws, full_matrices=False)
        self.weight = nn.Parameter(torch.from_numpy(left @ right).float())
        self.bias = nn.Parameter(torch.zeros(n_features))

    @torch.no_grad()
    def codes(self, X):
        """Return codes (n, k) of rows (n, d), as floats without a gradient."""
        return (X @ self.weight.T > 0).to(X.dtype)

    def forward(self, codes):
        """Return restored rows (n, d) of codes (n, k)."""
        return torch.tanh(codes @ self.weight + self.bias)

    def correlation(self):
        r"""Return :math:`\|W^\top W - I\|^2`.

        With d > k this is :math:`\|W W^\top - I\|^2 + d - k`, of the smaller matrix.
        """
        n_bits, n_features = self.weight.shape
        thin = self.weight if n_features <= n_bits else self.weight.T
        gram = thin.T @ thin
        distance = (gram - torch.eye(len(gram), device=gram.device)).square().sum()
        return distance + max(0, n_features - n_bits)
