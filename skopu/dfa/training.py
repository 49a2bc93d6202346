"""Training by direct feedback alignment, from arrays to arrays."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import Adam

from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu._core.tensors import to_numpy
from skopu.dfa.feedback import encode_errors, feedback_surrogate
from skopu.losses import LOSSES
from skopu.training.epochs import EpochLoop
from skopu.training.optimizers import cosine_decay, no_decay
from skopu.training.rows import TrainingRows


def linear_decay(n_iter):
    """Return the learning rate's factor at an iteration: from 1 down to 1/n_iter."""
    return lambda done: max(1, n_iter - done) / n_iter


DECAYS = {"constant": no_decay, "linear": linear_decay, "cosine": cosine_decay}


@dataclass(frozen=True)
class TrainedFeedbackNetwork:
    """What training leaves; ``moments`` are those of Adam, ``fault`` what stopped the device."""

    coefs: list
    intercepts: list
    moments: list
    alignment: np.ndarray
    history: dict
    loss_curve: list
    n_iter: int
    fault: Exception | None


def train_feedback_network(network, feedback, rows, loss, settings, seed, moments=None):
    """Train a network in place.

    Parameters
    ----------
    network : FeedbackNetwork
    feedback : MatrixFeedback, DeviceFeedback or None
        None where ``settings.algorithm`` is not "dfa".
    rows : Rows
    loss : {"squared_error", "cross_entropy"}
    settings : object
        Anything with the training parameters of ``DFAClassifier`` as attributes, none "auto".
    seed : int
    moments : list or None, default=None
        Where Adam goes on from.

    Returns
    -------
    trained : TrainedFeedbackNetwork
        If the projector raised, the state at that moment with the exception as ``fault``.
    """
    split_seed, batch_seed = draw_seeds(seed, 2)
    data = TrainingRows(rows.X, rows.Y, rows.weights, settings, "float32", split_seed)
    network = network.to(resolve_torch_device(settings.torch_device))
    batch_size = min(settings.batch_size, data.n_rows)
    optimizer = _make_optimizer(network, settings, batch_size, moments)
    decay = DECAYS[settings.learning_rate]
    training = _FeedbackTraining(network, optimizer, data, settings, batch_seed, decay)
    training.take_errors_from(feedback, loss)
    run = training.run()
    return TrainedFeedbackNetwork(
        coefs=[to_numpy(layer.weight).T for layer in network.linear],
        intercepts=[to_numpy(layer.bias) for layer in network.linear],
        moments=_moments(optimizer),
        alignment=np.array(training.alignment),
        history=run.history,
        loss_curve=training.loss_curve(),
        n_iter=training.n_epochs_of(run),
        fault=run.fault,
    )


class _FeedbackTraining(EpochLoop):
    """The run of direct feedback alignment, and of what it is compared with."""

    def take_errors_from(self, feedback, loss):
        """Set which errors are projected, and by what."""
        self._feedback, self._loss = feedback, LOSSES[loss]()
        # Half of the squared error: the error is then the difference, in units of the targets.
        self._factor = 0.5 if loss == "squared_error" else 1.0
        self.alignment, self._projector_failed = [], False

    def is_fault(self, error):
        # A projector may be of any make, and raise anything.
        return self._projector_failed or super().is_fault(error)

    def surrogate_of(self, X, targets, weights):
        is_local = self.settings.algorithm != "backprop"
        hidden, outputs = self.network.activations(X, local=is_local)
        with torch.no_grad():
            loss = (weights * self._value(outputs, targets)).mean().item()
            errors = self._factor * self._loss.slope(outputs, targets)
            shares = (weights / len(weights))[:, None]
            projected = [shares * P for P in self._project(errors)]
        surrogate = feedback_surrogate(hidden, outputs, shares * errors, projected)
        is_last_of_epoch = (self.n_done + 1) % self.n_batches == 0
        if self.settings.compute_alignment and is_last_of_epoch:
            self.alignment.append(self._alignment(X, shares * errors, surrogate))
        return loss, surrogate, self._feedback.n_passes if self._feedback else 0

    def loss_of(self, X, targets, weights):
        return (weights * self._value(self.network(X), targets)).mean()

    def _value(self, outputs, targets):
        return self._factor * self._loss.value(outputs, targets)

    def _project(self, errors):
        if self._feedback is None:
            return []
        settings = self.settings
        encoded = encode_errors(errors, settings.error_encoding, settings.threshold)
        try:
            return self._feedback.project(encoded)
        except MemoryError:  # the program's, not a device's
            raise
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


def _cosine(found, exact):
    """Cosine of two vectors, NaN where one is 0."""
    norms = found.norm() * exact.norm()
    return (found @ exact / norms).item() if norms > 0 else math.nan


def _make_optimizer(network, settings, batch_size, moments):
    layers = list(network.linear)
    trained = layers[-1:] if settings.algorithm == "frozen" else layers
    # The penalty alpha/2 |W|^2 is that of a batch's sum of losses, as in MLPClassifier.
    decay = settings.alpha / batch_size
    groups = [
        {"params": [layer.weight for layer in trained], "weight_decay": decay},
        {"params": [layer.bias for layer in trained]},
    ]
    optimizer = Adam(groups, lr=settings.learning_rate_init, fused=True)
    _set_moments(optimizer, moments)
    return optimizer


def _moments(optimizer):
    """Return the state of Adam as arrays, one dict a parameter."""
    states = [optimizer.state.get(parameter, {}) for parameter in _parameters(optimizer)]
    return [{name: value.cpu().numpy().copy() for name, value in s.items()} for s in states]


def _set_moments(optimizer, moments):
    for parameter, state in zip(_parameters(optimizer), moments or []):
        tensors = {name: torch.tensor(value) for name, value in state.items()}
        optimizer.state[parameter] = {n: t.to(parameter.device) for n, t in tensors.items()}


def _parameters(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
