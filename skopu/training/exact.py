"""Encoders trained on exact losses, without a device: many at once in one batched tensor."""

import torch
from torch import nn

from skopu.forms.quadratic import QuadraticReadout


class ExactModels(nn.Module):
    r"""M linear encoders with their quadratic readouts, trained side by side.

    Model m minimises over its rows

    .. math::

        \frac1n \sum_i \{ L(y_i, E[F]) + \kappa_m\, c_L\, \mathrm{Var}[F] \}
        + \frac{\lambda_m}{k} \|W\|^2 + \mu_m (\|a\|^2 + \|Q_0\|^2)

    with the moments of :mod:`skopu.forms.quadratic`. For squared error :math:`c_L = 1` makes it
    the objective of :mod:`skopu.objectives` exactly; for cross-entropy :math:`c_L = 1/4` makes
    it an upper bound, since the Hessian of the softmax loss is at most 1/2.

    Parameters
    ----------
    encoders : sequence of LinearEncoder
        One for each model, with its starting weights.
    n_outputs : int
        q.
    loss : object with ``value`` and ``curvature``
    kappas, encoder_penalties, readout_penalties : sequence of float
        One for each model.
    """

    def __init__(self, encoders, n_outputs, loss, kappas, encoder_penalties, readout_penalties):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([e.weight.detach() for e in encoders]))
        self.bias = nn.Parameter(torch.stack([e.bias.detach()[None] for e in encoders]))
        self.readout = QuadraticReadout(len(encoders), self.weight.shape[1], n_outputs)
        self.loss = loss
        for name, values in (
            ("kappas", kappas),
            ("encoder_penalties", encoder_penalties),
            ("readout_penalties", readout_penalties),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=self.weight.dtype))

    def moments(self, X):
        """Return mean and variance of the predictions, each (M, n, q), for X (M, n, d)."""
        return self.readout.forms().moments(torch.sigmoid(X @ self.weight.mT + self.bias))

    def losses(self, X, targets, weights):
        """Return each model's loss on its rows, shape (M,); X is (M, n, d)."""
        mean, variance = self.moments(X)
        spread = self.loss.curvature * variance.sum(-1)
        values = self.loss.value(mean, targets) + self.kappas[:, None] * spread
        return (weights * values).mean(1)

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        return [
            {"params": [self.weight, self.bias], "lr": learning_rate},
            {"params": self.readout.parameters(), "lr": readout_learning_rate},
        ]

    def penalties(self):
        """Return each model's penalty, shape (M,)."""
        encoder = self.encoder_penalties * self.weight.square().sum((1, 2)) / self.weight.shape[1]
        return encoder + self.readout_penalties * self.readout.squared_norms()


class ExactModel(nn.Module):
    """One of these models behind the interface of ``JointModel``.

    Parameters
    ----------
    encoder : LinearEncoder
    loss : object with ``value`` and ``curvature``
    kappa, encoder_penalty, readout_penalty : float
    """

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
        self.models = ExactModels([self.encoder], n_outputs, self.loss_function, *self._strengths)
        self.to(X)

    def mark(self):
        """Note where a minibatch begins: there are no draws to be repeated."""

    def state(self, is_finished):
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
        """Return the loss of a minibatch (float) and the penalised loss to differentiate."""
        loss = self.models.losses(X[None], targets, weights).sum()
        penalty = self.models.penalties().sum() + self.encoder.quantizer_penalty(self.progress)
        return loss.item(), loss + penalty

    @torch.no_grad()
    def loss(self, X, targets, weights):
        """Return the loss on rows, without gradients."""
        return self.models.losses(X[None], targets, weights / weights.mean()).item()

    def encoder_weights(self):
        """Return W (k, d) and b (k,)."""
        return self.models.weight[0], self.models.bias[0, 0]
