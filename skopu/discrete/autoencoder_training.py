"""Training denoising autoencoders, from arrays to arrays."""

from dataclasses import dataclass

import numpy as np
import torch

from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs, to_numpy, to_tensor
from skopu.discrete.autoencoder_network import Autoencoder
from skopu.training.epochs import MinibatchLoop
from skopu.training.optimizers import make_binary_optimizer

_MAX_CALIBRATION_ROWS = 16384


@dataclass(frozen=True)
class TrainedAutoencoder:
    """What training leaves: a coef (d_in, d_out), scale and shift for each layer; the record."""

    coefs: list
    scales: list
    shifts: list
    history: dict
    n_iter: int


def train_autoencoder(X, weights, settings, seed, activation="sign"):
    r"""Train an autoencoder to restore rows from noisy copies.

    The loss is :math:`\frac{1}{nd} \sum_i \|x_i - g(\mathrm{clip}(x_i + \nu \epsilon_i))\|^2`
    with standard normal :math:`\epsilon` and values clipped to [-1, 1].

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Rows in [-1, 1], two or more.
    weights : ndarray of shape (n,)
        Weights of the rows.
    settings : object
        Anything with the training parameters of ``BinaryAutoencoder`` as attributes.
    seed : int
    activation : {"sign", "relu"}, default="sign"

    Returns
    -------
    trained : TrainedAutoencoder
    """
    start_seed, noise_seed, batch_seed = draw_seeds(seed, 3)
    device = resolve_torch_device(settings.torch_device)
    hidden = np.atleast_1d(settings.hidden_layer_sizes).astype(int).tolist()
    model = Autoencoder(
        [X.shape[1], *hidden, settings.n_bits, *hidden[::-1], X.shape[1]],
        torch.Generator(device).manual_seed(start_seed),
        method="real" if settings.weights == "real" else settings.weight_optimizer,
        activation=activation,
    ).to(device)
    inputs = Inputs(X, device, "float32")
    row_weights = to_tensor(weights / weights.mean(), device, "float32")
    generator = torch.Generator(device).manual_seed(noise_seed)
    run = _AutoencoderTraining(model, inputs, row_weights, settings, generator, batch_seed).run()
    kept = np.arange(min(len(weights), _MAX_CALIBRATION_ROWS))
    noisy = corrupt(inputs.rows(kept), settings.noise, generator).double()
    layers = model.double().calibrated(noisy, row_weights[kept].double())
    coefs, scales, shifts = zip(*[[to_numpy(part) for part in layer] for layer in layers])
    if settings.weights == "binary":
        coefs = [coef.astype(np.int8) for coef in coefs]
    return TrainedAutoencoder(list(coefs), list(scales), list(shifts), run.history, run.n_iter)


def corrupt(X, noise, generator):
    """Return X plus normal noise of standard deviation ``noise``, clipped to [-1, 1]."""
    draws = torch.randn(X.shape, generator=generator, device=X.device)
    return (X + noise * draws).clamp(-1, 1)


class _AutoencoderTraining(MinibatchLoop):
    """The run of an autoencoder."""

    description = "training autoencoder"

    def __init__(self, model, inputs, weights, settings, generator, seed):
        optimizer = make_binary_optimizer(
            model, settings.learning_rate, settings.gamma, settings.tau
        )
        super().__init__(model, optimizer, len(weights), settings, seed)
        self._model, self._inputs, self._weights = model, inputs, weights
        self._noise, self._generator = settings.noise, generator

    def surrogate(self):
        chosen = self.chosen()
        rows = self._inputs.rows(chosen)
        restored = self._model(corrupt(rows, self._noise, self._generator))
        loss = (self._weights[chosen] * (restored - rows).square().mean(1)).mean()
        return loss.item(), loss, 0
