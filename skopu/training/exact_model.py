"""One exact model behind the interface of the joint model."""

import torch
from torch import nn

from skopu.training.exact import ExactModels


class ExactModel(nn.Module):
    """One of these models behind the interface of ``JointModel``.

    Parameters
    ----------
    encoder : LinearEncoder
    loss : object with ``value``, ``slope`` and ``curvature``
    kappa, encoder_penalty, readout_penalty : float
    """

    can_be_captured = True  # a minibatch is operations on tensors alone
    n_passes = 0
    gamma = 1.0
    progress = 0.0

    def __init__(self, encoder, loss, kappa, encoder_penalty, readout_penalty):
        super().__init__()
        self.encoder, self.loss_function = encoder, loss
        self._strengths = [kappa], [encoder_penalty], [readout_penalty]

    @torch.no_grad()
    def start(self, X, n_outputs, seed):
        """Set starting weights from inputs (n, d)."""
        self.encoder.start(X, seed)
        self.models = self._make_models(n_outputs)
        self.to(X)

    def _make_models(self, n_outputs):
        return ExactModels([self.encoder], n_outputs, self.loss_function, *self._strengths)

    def mark(self):
        """Note where a minibatch begins: there are no draws to be repeated."""

    def state(self):
        """Return what ``resume`` takes beside the parameters: nothing."""
        return {}

    def resume(self, X, n_outputs, seed, tensors, state):
        """Take up the parameters of a run."""
        self.start(X, n_outputs, seed)
        self.load_state_dict(tensors)

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        return self.models.groups(learning_rate, readout_learning_rate)

    def step(self, X, targets, weights):
        """Return the loss of a minibatch (a tensor) and what gives its gradient."""
        loss, surrogate = self.models.differentiate(X[None], targets[None], weights[None])
        return loss[0], surrogate

    @torch.no_grad()
    def loss(self, X, targets, weights):
        """Return the loss on rows, without gradients."""
        return self.models.losses(X[None], targets, weights / weights.mean()).item()

    def encoder_weights(self):
        """Return W (k, d) and b (k,)."""
        return self.models.weight[0], self.models.bias[0, 0]
