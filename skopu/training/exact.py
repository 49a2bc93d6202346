"""Encoders trained on exact losses, without a device: many at once in one batched tensor."""

import torch
from torch import nn

from skopu.nn.quadratic import QuadraticReadout


class ExactModels(nn.Module):
    r"""M linear encoders with their quadratic readouts, trained side by side.

    Model m minimises over its rows

    .. math::

        \frac1n \sum_i \{ L(y_i, E[F]) + \kappa_m\, c_L\, \mathrm{Var}[F] \}
        + \frac{\lambda_m}{k} \|W\|^2 + \mu_m (\|a\|^2 + \|Q_0\|^2)

    with the moments of :mod:`skopu.nn.quadratic`. For squared error :math:`c_L = 1` makes it
    the objective of :mod:`skopu.objectives` exactly; for cross-entropy :math:`c_L = 1/4` makes
    it an upper bound, since the Hessian of the softmax loss is at most 1/2.

    Parameters
    ----------
    encoder : LinearEncoder
        With its starting weights, the same for every model.
    n_outputs : int
        q.
    loss : object with ``value`` and ``curvature``
    kappas, encoder_penalties, readout_penalties : sequence of float
        One for each model.
    """

    def __init__(self, encoder, n_outputs, loss, kappas, encoder_penalties, readout_penalties):
        super().__init__()
        n_models = len(kappas)
        self.weight = nn.Parameter(encoder.weight.detach().repeat(n_models, 1, 1))
        self.bias = nn.Parameter(encoder.bias.detach().repeat(n_models, 1, 1))
        self.readout = QuadraticReadout(n_models, self.weight.shape[1], n_outputs)
        self.loss = loss
        for name, values in (
            ("kappas", kappas),
            ("encoder_penalties", encoder_penalties),
            ("readout_penalties", readout_penalties),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=self.weight.dtype))

    def moments(self, X):
        """Return mean and variance of the predictions, each (M, n, q), for X (M, n, d)."""
        return self.readout(torch.sigmoid(X @ self.weight.mT + self.bias))

    def losses(self, X, targets, weights):
        """Return each model's loss on its rows, shape (M,); X is (M, n, d)."""
        mean, variance = self.moments(X)
        spread = self.loss.curvature * variance.sum(-1)
        values = self.loss.value(mean, targets) + self.kappas[:, None] * spread
        return (weights * values).mean(1)

    def penalties(self):
        """Return each model's penalty, shape (M,)."""
        encoder = self.encoder_penalties * self.weight.square().sum((1, 2)) / self.weight.shape[1]
        return encoder + self.readout_penalties * self.readout.squared_norms()
