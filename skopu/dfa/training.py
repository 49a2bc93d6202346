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
    encode_errors,
    feedback_surrogate,
    threshold,
)
from skopu.losses import LOSSES
from skopu.training.linear_encoder import LinearEncoder
from skopu.training.loop import (
    cosine_decay,
    is_device_fault,
    minibatches,
    no_decay,
    run_loop,
)
from skopu.training.rows import TrainingRows

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
    epochs = _Epochs(network.to(settings.torch_device), feedback, data, targets.loss, settings)
    run = epochs.train(n_epochs, DECAYS[decay], batch_seed, moments)
    return TrainedNetwork(
        coefs=[to_numpy(layer.weight).T for layer in network.linear],
        intercepts=[to_numpy(layer.bias) for layer in network.linear],
        moments=_moments(epochs.optimizer),
        alignment=np.array(epochs.alignment),
        history=run.history,
        loss_curve=epochs.finished_curve(),
        n_iter=math.ceil(run.n_iter / epochs.n_batches),
        fault=run.fault,
    )


class _Epochs:
    """The steps of a training run and its records."""

    def __init__(self, network, feedback, data, loss, settings):
        self.network, self.feedback, self.data, self.settings = network, feedback, data, settings
        self._loss = LOSSES[loss]()
        # Half of the squared error: the error is then the difference, in units of the targets.
        self._factor = 0.5 if loss == "squared_error" else 1.0
        n_rows = data.n_rows
        batch_size = 200 if settings.batch_size == "auto" else settings.batch_size
        self._batch_size = min(batch_size, n_rows)
        self.n_batches = max(1, n_rows // self._batch_size)
        self.loss_curve, self.alignment, self._losses = [], [], []
        self._projector_failed = False

    def train(self, n_epochs, decay, seed, moments):
        """Run the loop; return its ``Run``."""
        settings, n_rows = self.settings, self.data.n_rows
        self._batches = minibatches(n_rows, self._batch_size, seed)
        self.optimizer = self._make_optimizer(moments)
        return run_loop(
            self.network,
            self._step,
            self.optimizer,
            max_iter=n_epochs * self.n_batches,
            share=self._batch_size / n_rows,
            description="training network",
            verbose=settings.verbose,
            validate=self._validate if settings.early_stopping else None,
            patience=settings.n_iter_no_change if settings.early_stopping else None,
            decay=decay,
            # A projector may be of any make, and raise anything.
            is_fault=lambda error: self._projector_failed or is_device_fault(error),
        )

    def _make_optimizer(self, moments):
        layers = list(self.network.linear)
        trained = layers[-1:] if self.settings.algorithm == "frozen" else layers
        rate = self.settings.learning_rate_init
        # The penalty alpha/2 |W|^2 is that of a batch's sum of losses, as in MLPClassifier.
        decay = self.settings.alpha / self._batch_size
        groups = [
            {"params": [layer.weight for layer in trained], "weight_decay": decay},
            {"params": [layer.bias for layer in trained]},
        ]
        optimizer = Adam(groups, lr=rate, fused=True)
        _set_moments(optimizer, moments)
        return optimizer

    def _step(self):
        X, targets, weights = self.data.rows(next(self._batches))
        is_local = self.settings.algorithm != "backprop"
        hidden, outputs = self.network.activations(X, local=is_local)
        with torch.no_grad():
            losses = self._factor * self._loss.value(outputs, targets)
            loss = (weights * losses).mean().item()
            errors = self._factor * self._loss.slope(outputs, targets)
            shares = (weights / len(weights))[:, None]
            projected = [shares * P for P in self._project(errors)]
        surrogate = feedback_surrogate(hidden, outputs, shares * errors, projected)
        self._record(loss)
        if self.settings.compute_alignment and not self._losses:
            self.alignment.append(self._alignment(X, shares * errors, surrogate))
        return loss, surrogate, self.feedback.n_passes if self.feedback else 0

    def _project(self, errors):
        if self.feedback is None:
            return []
        settings = self.settings
        encoded = encode_errors(errors, settings.error_encoding, settings.threshold)
        try:
            return self.feedback.project(encoded)
        except Exception:
            self._projector_failed = True
            raise

    def _alignment(self, X, errors, surrogate):
        """Cosine between this batch's gradient and that of backpropagation, layer by layer."""
        weights = [layer.weight for layer in self.network.linear[:-1]]
        if self.settings.algorithm == "frozen":
            return [math.nan] * len(weights)
        found = torch.autograd.grad(surrogate, weights, retain_graph=True)
        exact = torch.autograd.grad((errors * self.network(X)).sum(), weights)
        return [_cosine(f.ravel(), g.ravel()) for f, g in zip(found, exact)]

    def _record(self, loss):
        self._losses.append(loss)
        if len(self._losses) == self.n_batches:
            self.loss_curve.append(float(np.mean(self._losses)))
            self._losses = []

    def finished_curve(self):
        """Return the mean loss of each epoch, that of one cut short included."""
        return self.loss_curve + ([float(np.mean(self._losses))] if self._losses else [])

    @torch.no_grad()
    def _validate(self):
        X, targets, weights = self.data.held_out()
        losses = self._factor * self._loss.value(self.network(X), targets)
        return (weights * losses).mean().item()


def _cosine(found, exact):
    """Cosine of two vectors, NaN where one is 0."""
    norms = found.norm() * exact.norm()
    return (found @ exact / norms).item() if norms > 0 else math.nan


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
    readout = torch.nn.Linear(settings.n_components, targets.values.shape[1])
    for parameter in readout.parameters():
        torch.nn.init.zeros_(parameter)
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
