"""Training multilayer perceptrons of binary weights and activations, from arrays to arrays."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu._core.tensors import to_numpy
from skopu.discrete.layers import BinaryLinear, ScaledSigns, sign
from skopu.losses import CrossEntropy
from skopu.penalties import resolve_penalty
from skopu.training.binary_weight import binary_weights, set_temperature
from skopu.training.epochs import EpochLoop
from skopu.training.optimizers import cosine_decay, make_binary_optimizer, no_decay
from skopu.training.rows import TrainingRows

_LAST_TEMPERATURE = 0.05  # relaxed weights end here, from 1
_MAX_RECALIBRATION_ROWS = 16384
_EPS = 1e-5  # under the root of every normalisation
ACTIVATIONS = {"sign": sign, "relu": torch.relu}


@dataclass(frozen=True)
class Layer:
    """One layer for prediction: h W scaled and shifted, after the row's own normalisation.

    ``coef`` is (d, k), ``scale`` and ``intercept`` are (k,).
    """

    coef: np.ndarray
    scale: np.ndarray
    intercept: np.ndarray


@dataclass(frozen=True)
class TrainedBinaryNetwork:
    """What training leaves: layers with binary and with latent weights, and the record."""

    layers: list
    latent_layers: list | None
    alphas: np.ndarray | None
    history: dict
    loss_curve: list
    n_iter: int


class BinaryNetwork(nn.Module):
    """Perceptron whose layers are binary weights, a normalisation and the sign or a rectifier.

    The inputs are real, and nothing follows the last layer: its outputs are logits.

    Parameters
    ----------
    sizes : sequence of int
        Of the inputs, the hidden layers and the outputs.
    generator : torch.Generator
    normalization : {"batch", "layer"}
    activation : {"sign", "relu"}, default="sign"
    quantizer : BinaryQuantizer or None, default=None
    **settings : dict
        Of the binary weights.
    """

    def __init__(
        self, sizes, generator, *, normalization, activation="sign", quantizer=None, **settings
    ):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        shapes = list(pairwise(sizes))
        self.linear = nn.ModuleList([BinaryLinear(*s, generator, **settings) for s in shapes])
        norm = nn.BatchNorm1d if normalization == "batch" else nn.LayerNorm
        self.norm = nn.ModuleList([norm(size, eps=_EPS) for size in sizes[1:]])
        self.quantizer, self.alphas = quantizer, None
        if quantizer is not None:
            starts = [quantizer.start_scale(w.weight) for w in binary_weights(self)]
            learned = quantizer.scale == "learn"
            self.alphas = nn.ParameterList([nn.Parameter(s, learned) for s in starts])

    def forward(self, X):
        """Return logits (n, q)."""
        for number, (linear, norm) in enumerate(zip(self.linear, self.norm)):
            X = norm(linear(self.activation(X) if number else X))
        return X

    def alpha(self, number):
        """Return what a layer's signs stand for: the scales of real weights, 1 for others."""
        weight = self.linear[number].weight
        if isinstance(weight, ScaledSigns):
            return weight.scales().double()
        if weight.method != "real":
            return 1.0
        alpha = weight.weight.abs().mean() if self.alphas is None else self.alphas[number].abs()
        return alpha.item()

    def penalty(self, epoch, n_epochs):
        """Return the quantizer's penalty in an epoch, counted from 1."""
        if self.quantizer is None:
            return 0.0
        pairs = zip(binary_weights(self), self.alphas)
        total = sum(self.quantizer.value(part.weight, alpha) for part, alpha in pairs)
        return self.quantizer.strength_at(epoch, n_epochs) * total


def train_binary_network(X, targets, weights, hidden, settings, seed):
    """Train a network and recalibrate it with the weights it predicts with.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Scaled inputs.
    targets : ndarray of shape (n, q)
        One column of zeros and ones for each class.
    weights : ndarray of shape (n,)
        Weights of the rows.
    hidden : list of int
        Sizes of the hidden layers.
    settings : object
        Anything with the training parameters of ``BinaryMLPClassifier`` as attributes.
    seed : int

    Returns
    -------
    trained : TrainedBinaryNetwork
    """
    split_seed, network_seed, batch_seed = draw_seeds(seed, 3)
    data = TrainingRows(X, targets, weights, settings, "float32", split_seed)
    _check_rows(data, settings)
    network = BinaryNetwork(
        [X.shape[1], *hidden, targets.shape[1]],
        torch.Generator(resolve_torch_device(settings.torch_device)).manual_seed(network_seed),
        normalization=settings.normalization,
        activation=settings.activation,
        quantizer=resolve_penalty(settings.penalty),
        method=settings.weight_optimizer,
        adaptive_noise=settings.adaptive_noise,
    ).to(resolve_torch_device(settings.torch_device))
    decay = cosine_decay if settings.learning_rate == "cosine" else no_decay
    optimizer = make_binary_optimizer(
        network, settings.learning_rate_init, settings.gamma, settings.tau
    )
    training = _BinaryTraining(network, optimizer, data, settings, batch_seed, decay)
    run = training.run()
    network.eval()
    has_latent = settings.weight_optimizer != "bop"
    return TrainedBinaryNetwork(
        layers=_layers(network, data, "hard", settings.recalibrate),
        latent_layers=_layers(network, data, "soft", settings.recalibrate) if has_latent else None,
        alphas=None if network.alphas is None else np.abs([a.item() for a in network.alphas]),
        history=run.history,
        loss_curve=training.loss_curve(),
        n_iter=training.n_epochs_of(run),
    )


def _check_rows(data, settings):
    smallest = 2 if settings.normalization == "batch" else 1
    if min(data.n_rows, settings.batch_size) < smallest:
        raise ValueError(
            f"normalization={settings.normalization!r} needs minibatches of at least "
            f"{smallest} rows, and there are {data.n_rows} training rows in minibatches "
            f"of batch_size={settings.batch_size}: give more rows, a larger batch_size, "
            "early_stopping=False or normalization='layer'."
        )


class _BinaryTraining(EpochLoop):
    """The run of a network of binary weights, whose relaxations harden epoch by epoch."""

    def surrogate_of(self, X, targets, weights):
        n_epochs, done = self.settings.max_iter, self.n_done / self.n_batches
        set_temperature(self.network, _LAST_TEMPERATURE ** (done / n_epochs))
        loss = self.loss_of(X, targets, weights)
        return loss.item(), loss + self.network.penalty(1 + int(done), n_epochs), 0

    def loss_of(self, X, targets, weights):
        return (weights * CrossEntropy().value(self.network(X), targets)).mean()


@torch.no_grad()
def _layers(network, data, kind, recalibrate):
    """Return the layers with "hard" or "soft" weights.

    The running statistics of training belong to other weights: relaxed, noisy, not yet binary,
    or from before the last flips. So they are measured anew, unless asked not to.
    """
    X, _, weights = data.rows(slice(_MAX_RECALIBRATION_ROWS))
    X, weights = X.double(), (weights / weights.sum()).double()
    layers = []
    for number, (linear, norm) in enumerate(zip(network.linear, network.norm)):
        coef = getattr(linear.weight, kind)().double().T
        H = X @ coef
        if isinstance(norm, nn.LayerNorm):
            scale, intercept = norm.weight.double(), norm.bias.double()
            H = nn.functional.layer_norm(H, H.shape[1:], eps=_EPS)
        elif recalibrate:
            mean = weights @ H
            scale, intercept = _fold(norm, mean, weights @ (H - mean).square(), 1.0)
        else:
            alpha = network.alpha(number) if kind == "hard" else 1.0
            statistics = norm.running_mean.double(), norm.running_var.double()
            scale, intercept = _fold(norm, *statistics, alpha)
        X = network.activation(H * scale + intercept)
        coef = coef.to(torch.int8).cpu().numpy() if kind == "hard" else to_numpy(coef)
        layers.append(Layer(coef, to_numpy(scale), to_numpy(intercept)))
    return layers


def _fold(norm, mean, variance, alpha):
    """Scale and intercept that do to h what the batch norm of these statistics does to a h."""
    scale = norm.weight.double() / (variance + _EPS).sqrt()
    return alpha * scale, norm.bias.double() - mean * scale
