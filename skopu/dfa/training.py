"""Training by direct feedback alignment, from arrays to arrays."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.optim import Adam

from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs, to_numpy
from skopu.dfa.network import (
    DeviceFeatures,
    DeviceFeedback,
    FeedbackNetwork,
    MatrixFeedback,
    affine,
    encode_errors,
    feedback_surrogate,
    threshold,
)
from skopu.losses import LOSSES
from skopu.training.autograd_loop import AutogradLoop
from skopu.training.encoders import LinearEncoder
from skopu.training.optimizers import cosine_decay, no_decay
from skopu.training.rows import TrainingRows, minibatches

_MAX_START_ROWS = 16384
_N_ENCODER_ITER = 3000  # minibatches that max_iter="auto" gives an encoder, in whole epochs


def linear_decay(n_iter):
    """Return the learning rate's factor at an iteration: from 1 down to 1/n_iter."""
    return lambda done: max(1, n_iter - done) / n_iter


DECAYS = {"constant": no_decay, "linear": linear_decay, "cosine": cosine_decay}


@dataclass(frozen=True)
class TrainedNetwork:
    """What training leaves; ``moments`` are those of Adam, ``fault`` what stopped the device."""

    coefs: list
    intercepts: list
    moments: list
    alignment: np.ndarray
    history: dict
    loss_curve: list
    n_iter: int
    fault: Exception | None


def train_network(
    network, feedback, X, targets, weights, settings, seed, *, n_epochs, decay, moments=None
):
    """Train a network in place.

    Parameters
    ----------
    network : FeedbackNetwork
    feedback : MatrixFeedback, DeviceFeedback or None
        None where ``settings.algorithm`` is not "dfa".
    X : ndarray or CSR matrix of shape (n, d)
    targets : Targets
    weights : ndarray of shape (n,)
        Weights of the rows.
    settings : object
        Anything with the training parameters of ``DFAClassifier`` as attributes.
    seed : int
    n_epochs : int
    decay : {"constant", "linear", "cosine"}
    moments : list or None, default=None
        Where Adam goes on from.

    Returns
    -------
    trained : TrainedNetwork
        If the projector raised, the state at that moment with the exception as ``fault``.
    """
    split_seed, batch_seed = draw_seeds(seed, 2)
    data = TrainingRows(X, targets.values, weights, settings, "float32", split_seed)
    optimizer = _make_optimizer(network.to(settings.torch_device), data.n_rows, settings, moments)
    training = _Training(
        network,
        optimizer,
        feedback,
        data,
        targets.loss,
        settings,
        batch_seed,
        n_epochs=n_epochs,
        decay=DECAYS[decay],
    )
    run = training.run()
    return TrainedNetwork(
        coefs=[to_numpy(layer.weight).T for layer in network.linear],
        intercepts=[to_numpy(layer.bias) for layer in network.linear],
        moments=_moments(optimizer),
        alignment=np.array(training.alignment),
        history=run.history,
        loss_curve=training.finished_curve(),
        n_iter=math.ceil(run.n_iter / training.n_batches),
        fault=run.fault,
    )


class _Training(AutogradLoop):
    """The run of a network, with its loss in every epoch and its alignment."""

    description = "training network"

    def __init__(
        self, network, optimizer, feedback, data, loss, settings, seed, *, n_epochs, decay
    ):
        batch_size = _batch_size(settings, data.n_rows)
        self.n_batches = max(1, data.n_rows // batch_size)
        super().__init__(
            network,
            optimizer,
            max_iter=n_epochs * self.n_batches,
            share=batch_size / data.n_rows,
            verbose=settings.verbose,
            patience=settings.n_iter_no_change if settings.early_stopping else None,
            decay=decay,
        )
        self._network, self._feedback, self._data = network, feedback, data
        self._settings, self.validates = settings, settings.early_stopping
        self._loss = LOSSES[loss]()
        # Half of the squared error: the error is then the difference, in units of the targets.
        self._factor = 0.5 if loss == "squared_error" else 1.0
        self._batches = minibatches(data.n_rows, batch_size, seed)
        self._loss_curve, self.alignment, self._epoch_losses = [], [], []
        self._projector_failed = False

    def is_fault(self, error):
        # A projector may be of any make, and raise anything.
        return self._projector_failed or super().is_fault(error)

    def surrogate(self):
        X, targets, weights = self._data.rows(next(self._batches))
        is_local = self._settings.algorithm != "backprop"
        hidden, outputs = self._network.activations(X, local=is_local)
        with torch.no_grad():
            losses = self._factor * self._loss.value(outputs, targets)
            loss = (weights * losses).mean().item()
            errors = self._factor * self._loss.slope(outputs, targets)
            shares = (weights / len(weights))[:, None]
            projected = [shares * P for P in self._project(errors)]
        surrogate = feedback_surrogate(hidden, outputs, shares * errors, projected)
        if self._settings.compute_alignment and self._is_last_of_epoch():
            self.alignment.append(self._alignment(X, shares * errors, surrogate))
        return loss, surrogate, self._feedback.n_passes if self._feedback else 0

    def _is_last_of_epoch(self):
        return len(self._epoch_losses) + 1 == self.n_batches

    def _project(self, errors):
        if self._feedback is None:
            return []
        settings = self._settings
        encoded = encode_errors(errors, settings.error_encoding, settings.threshold)
        try:
            return self._feedback.project(encoded)
        except Exception:
            self._projector_failed = True
            raise

    def _alignment(self, X, errors, surrogate):
        """Cosine between this batch's gradient and that of backpropagation, layer by layer."""
        weights = [layer.weight for layer in self._network.linear[:-1]]
        if self._settings.algorithm == "frozen":
            return [math.nan] * len(weights)
        found = torch.autograd.grad(surrogate, weights, retain_graph=True)
        exact = torch.autograd.grad((errors * self._network(X)).sum(), weights)
        return [_cosine(f.ravel(), g.ravel()) for f, g in zip(found, exact)]

    def count(self, loss, n_passes):
        super().count(loss, n_passes)
        self._epoch_losses.append(loss)
        if len(self._epoch_losses) == self.n_batches:
            self._loss_curve.append(float(np.mean(self._epoch_losses)))
            self._epoch_losses = []

    def finished_curve(self):
        """Return the mean loss of each epoch, that of one cut short included."""
        unfinished = [float(np.mean(self._epoch_losses))] if self._epoch_losses else []
        return self._loss_curve + unfinished

    @torch.no_grad()
    def validate(self):
        X, targets, weights = self._data.held_out()
        losses = self._factor * self._loss.value(self._network(X), targets)
        return (weights * losses).mean().item()


def _cosine(found, exact):
    """Cosine of two vectors, NaN where one is 0."""
    norms = found.norm() * exact.norm()
    return (found @ exact / norms).item() if norms > 0 else math.nan


def _batch_size(settings, n_rows):
    return min(200 if settings.batch_size == "auto" else settings.batch_size, n_rows)


def _make_optimizer(network, n_rows, settings, moments):
    layers = list(network.linear)
    trained = layers[-1:] if settings.algorithm == "frozen" else layers
    # The penalty alpha/2 |W|^2 is that of a batch's sum of losses, as in MLPClassifier.
    decay = settings.alpha / _batch_size(settings, n_rows)
    groups = [
        {"params": [layer.weight for layer in trained], "weight_decay": decay},
        {"params": [layer.bias for layer in trained]},
    ]
    optimizer = Adam(groups, lr=settings.learning_rate_init, fused=True)
    _set_moments(optimizer, moments)
    return optimizer


def _moments(optimizer):
    """Return the state of Adam as arrays, one dict a parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states = [optimizer.state.get(parameter, {}) for parameter in parameters]
    return [{name: value.cpu().numpy().copy() for name, value in s.items()} for s in states]


def _set_moments(optimizer, moments):
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, state in zip(parameters, moments or []):
        tensors = {name: torch.tensor(value) for name, value in state.items()}
        optimizer.state[parameter] = {n: t.to(parameter.device) for n, t in tensors.items()}


def train_encoder(X, targets, weights, settings, seed):
    """Train a linear encoder before a device, with a readout of the features.

    Parameters
    ----------
    X, targets, weights, settings, seed
        As for ``train_network``; ``settings`` is a fitted-to-be ``DFABinarizer``, which holds
        the device and the feedback.

    Returns
    -------
    trained : TrainedNetwork
        Encoder and readout.
    n_frames : int
        Of the projector.
    """
    start_seed, train_seed = draw_seeds(seed, 2)
    encoder = LinearEncoder(X.shape[1], settings.n_bits)
    sample = Inputs(X, "cpu", "float32").rows(np.arange(min(_MAX_START_ROWS, X.shape[0])))
    encoder.start(sample, start_seed)
    n_outputs = targets.values.shape[1]
    readout = affine(np.zeros((settings.n_components, n_outputs)), np.zeros(n_outputs))
    features = DeviceFeatures(settings.opu_, settings.n_components)
    step = partial(threshold, temperature=settings.temperature)
    network = FeedbackNetwork([encoder, readout], step, features)
    if settings.projector_ is None:
        feedback = MatrixFeedback([settings.feedback_], settings.torch_device)
    else:
        feedback = DeviceFeedback(settings.projector_, [settings.n_bits])
    trained = train_network(
        network,
        feedback,
        X,
        targets,
        weights,
        settings,
        train_seed,
        n_epochs=_encoder_epochs(len(weights), settings),
        decay="cosine",
    )
    return trained, feedback.n_passes


def _encoder_epochs(n_rows, settings):
    """Return the number of epochs that ``max_iter`` asks for."""
    if settings.max_iter != "auto":
        return settings.max_iter
    return math.ceil(_N_ENCODER_ITER / max(1, n_rows // settings.batch_size))
