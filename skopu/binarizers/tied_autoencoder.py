"""The autoencoder with one matrix for encoder and decoder, and its training."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs, to_numpy, to_tensor
from skopu.training.epochs import MinibatchLoop
from skopu.training.optimizers import make_optimizer


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


class TrainedTiedAutoencoder(NamedTuple):
    """What training leaves: W (k, d), c (d,) and the record."""

    coef: np.ndarray
    intercept: np.ndarray
    history: dict
    n_iter: int


def train_tied_autoencoder(X, weights, settings, seed):
    r"""Train an autoencoder to restore rows from its codes.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Rows in [-1, 1].
    weights : ndarray of shape (n,)
        Weights of the rows.
    settings : object
        Anything with the training parameters of ``AutoencoderBinarizer`` as attributes.
    seed : int

    Returns
    -------
    trained : TrainedTiedAutoencoder
    """
    start_seed, batch_seed = draw_seeds(seed, 2)
    model = TiedAutoencoder(X.shape[1], settings.n_bits, start_seed).to(
        resolve_torch_device(settings.torch_device)
    )
    run = _TiedTraining(model, X, weights, settings, batch_seed).run()
    return TrainedTiedAutoencoder(
        to_numpy(model.weight), to_numpy(model.bias), run.history, run.n_iter
    )


class _TiedTraining(MinibatchLoop):
    """The run of an autoencoder."""

    description = "training autoencoder"

    def __init__(self, model, X, weights, settings, seed):
        optimizer = make_optimizer([{"params": model.parameters(), "lr": settings.learning_rate}])
        super().__init__(model, optimizer, len(weights), settings, seed)
        self._model, self._strength = model, settings.lambda_reg / 2
        self._inputs = Inputs(X, settings.torch_device, "float32")
        self._weights = to_tensor(weights / weights.mean(), settings.torch_device, "float32")

    def surrogate(self):
        chosen = self.chosen()
        error = restoration_error(self._model, self._inputs.rows(chosen), self._weights[chosen])
        return error.item(), error + self._strength * self._model.correlation(), 0


def restoration_error(model, rows, weights):
    """Return the mean squared error of restored rows (n, d), of ``weights`` (n,)."""
    restored = model(model.codes(rows))
    return (weights * (restored - rows).square().mean(1)).mean()
