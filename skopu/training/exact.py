"""Encoders trained on exact losses, without a device: many at once, their gradients written out."""

from typing import NamedTuple

import torch
from torch import nn

from skopu.forms.moments import Moments, PackedForm


class _Group(NamedTuple):
    """Models that see the same rows: views of their parameters and of the gradients for them."""

    form: PackedForm
    slopes: PackedForm
    kappas: torch.Tensor  # (M, 1)
    weight: torch.Tensor | None = None  # (M, d, k)
    bias: torch.Tensor | None = None  # (M, 1, k)
    weight_slopes: torch.Tensor | None = None  # (M, k, d)
    bias_slopes: torch.Tensor | None = None  # (M, k)


class ExactModels(nn.Module):
    r"""M linear encoders with their quadratic readouts, trained side by side.

    Model m minimises over its rows

    .. math::

        \frac1n \sum_i \{ L(y_i, E[F]) + \kappa_m\, c_L\, \mathrm{Var}[F] \}
        + \frac{\lambda_m}{k} \|W\|^2 + \mu_m (\|a\|^2 + \|Q_0\|^2)

    with the moments of :mod:`skopu.forms.quadratic`. For squared error :math:`c_L = 1` makes it
    the objective of :mod:`skopu.objectives` exactly; for cross-entropy :math:`c_L = 1/4` makes
    it an upper bound, since the Hessian of the softmax loss is at most 1/2.

    Models come in groups of equal size that see the same rows. A group is worked through at a
    time: its arrays stay in the cache.

    Parameters
    ----------
    encoders : sequence of LinearEncoder
        One for each model, with its starting weights.
    n_outputs : int
        q.
    loss : object with ``value``, ``slope`` and ``curvature``
    kappas, encoder_penalties, readout_penalties : sequence of float
        One for each model.
    """

    def __init__(self, encoders, n_outputs, loss, kappas, encoder_penalties, readout_penalties):
        super().__init__()
        starts = [torch.cat([e.weight.flatten(), e.bias]).detach() for e in encoders]
        self.encoder = nn.Parameter(torch.stack(starts))
        self._set_up(encoders[0].weight, n_outputs, loss, kappas, readout_penalties)
        self._axes = encoders[0].weight.shape
        n_bits, n_features = self._axes
        penalties = (
            torch.tensor(encoder_penalties, dtype=self.encoder.dtype)[:, None].to(self.encoder)
            / n_bits
        )
        decay = torch.zeros_like(self.encoder)
        decay[:, : n_bits * n_features] = 2 * penalties
        self.register_buffer("encoder_decay", decay, persistent=False)

    def _set_up(self, weight, n_outputs, loss, kappas, readout_penalties):
        """Make the readouts: everything but the encoders."""
        n_models, self.n_bits, self.n_outputs = len(kappas), len(weight), n_outputs
        self.loss, self._key = loss, None
        size = PackedForm.size(self.n_bits, n_outputs)
        self.readout = nn.Parameter(weight.new_zeros(n_models, size))
        kappas = torch.tensor(kappas, dtype=weight.dtype, device=weight.device)
        self.register_buffer("kappas", kappas, persistent=False)
        # A pair of bits is one parameter in two places: its square counts twice.
        factors = torch.full((size,), 4.0).to(weight)
        factors[: n_outputs * (1 + self.n_bits)] = 2.0
        factors[:n_outputs] = 0.0
        decay = torch.tensor(readout_penalties, dtype=weight.dtype)[:, None].to(weight) * factors
        self.register_buffer("readout_decay", decay, persistent=False)

    @property
    def weight(self):
        """The weights W, of shape (M, k, d)."""
        n_bits, n_features = self._axes
        return self.encoder[:, : n_bits * n_features].unflatten(1, self._axes)

    @property
    def bias(self):
        """The biases b, of shape (M, 1, k)."""
        return self.encoder[:, None, -self.n_bits :]

    def packed(self):
        """Return the readouts as a ``PackedForm``."""
        return PackedForm(self.readout, self.n_bits, self.n_outputs)

    def forms(self):
        """Return the readouts as a ``QuadraticForm``."""
        return self.packed().unpacked()

    def moments(self, X):
        """Return mean and variance of the predictions, each (M, n, q), for X (M, n, d)."""
        return self.forms().moments(torch.sigmoid(X @ self.weight.mT + self.bias))

    def losses(self, X, targets, weights):
        """Return each model's loss on its rows, shape (M,); X is (M, n, d)."""
        mean, variance = self.moments(X)
        spread = self.loss.curvature * variance.sum(-1)
        values = self.loss.value(mean, targets) + self.kappas[:, None] * spread
        return (weights * values).mean(1)

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        return [
            {"params": [self.encoder], "lr": learning_rate},
            {"params": [self.readout], "lr": readout_learning_rate},
        ]

    @torch.no_grad()
    def differentiate(self, X, targets, weights):
        """Return each model's loss (M,), and make ready the gradient of its penalised loss.

        Parameters
        ----------
        X : Tensor of shape (G, B, d)
            Rows of each group of models.
        targets : Tensor of shape (G, B, q)
        weights : Tensor of shape (G, B)

        Returns
        -------
        losses : Tensor of shape (M,)
        surrogate : object
            Its ``backward()`` sets the gradients of the parameters.
        """
        groups = self._prepare(*X.shape[:2])
        losses = [self._differentiate(*part) for part in zip(groups, X, targets, weights)]
        self._readout_slopes.addcmul_(self.readout, self.readout_decay)
        self._decay_encoders()
        return torch.cat(losses), self

    def backward(self):
        """Set the gradients that ``differentiate`` made ready."""
        self.readout.grad = self._readout_slopes
        self.encoder.grad = self._encoder_slopes

    def _differentiate(self, group, X, targets, weights):
        """Losses of one group, whose gradients are written into memory."""
        memory, share = self._memory, weights / len(weights)
        self._write_logits(group, X)
        mean = memory.mean(group.form)
        spread = self.loss.curvature * memory.variance(group.form)
        values = self.loss.value(mean, targets) + group.kappas * spread
        mean_slopes = self.loss.slope(mean, targets).mul_(share[:, None])
        variance_slopes = (self.loss.curvature * group.kappas * share)[..., None]
        slopes = memory.backward(group.form, mean_slopes, variance_slopes, group.slopes)
        self._take_slopes(group, X, slopes)
        return values @ share

    def _prepare(self, n_groups, n_rows):
        """Return the groups of models; memory is made where it is not there or of another size."""
        key = n_groups, n_rows, self.readout.data_ptr()
        if self._key != key:
            readout = self.readout.detach()
            self._key, size = key, len(readout) // n_groups
            self._memory = Moments(size, n_rows, self.n_bits, self.n_outputs, readout)
            self._readout_slopes = torch.zeros_like(readout)
            self._encoder_slopes = self._encoder_memory()
            self._groups = [self._group(slice(i, i + size)) for i in range(0, len(readout), size)]
        return self._groups

    def _group(self, models):
        axes = self.n_bits, self.n_outputs
        return _Group(
            PackedForm(self.readout.detach()[models], *axes),
            PackedForm(self._readout_slopes[models], *axes),
            self.kappas[models, None],
            *self._encoder_views(models),
        )

    def _encoder_views(self, models):
        """Weights (M, d, k) and biases of a group, and where the gradients for them go."""
        into = self._encoder_slopes[models]
        W_slopes = into[:, : -self.n_bits].unflatten(1, self._axes)
        W, b = self.weight.detach()[models], self.bias.detach()[models]
        return W.mT, b, W_slopes, into[:, -self.n_bits :]

    def _encoder_memory(self):
        return torch.zeros_like(self.encoder)

    def _write_logits(self, group, X):
        X = X.expand(len(group.bias), *X.shape)
        torch.baddbmm(group.bias, X, group.weight, out=self._memory.logits)

    def _take_slopes(self, group, X, slopes):
        """Write the gradient for the encoders, given that for the logits (M, B, k)."""
        torch.bmm(slopes.mT, X.expand(len(slopes), *X.shape), out=group.weight_slopes)
        torch.sum(slopes, 1, out=group.bias_slopes)

    def _decay_encoders(self):
        self._encoder_slopes.addcmul_(self.encoder, self.encoder_decay)


class ExactModel(nn.Module):
    """One of these models behind the interface of ``JointModel``.

    Parameters
    ----------
    encoder : LinearEncoder
    loss : object with ``value``, ``slope`` and ``curvature``
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
        self.models = self._make_models(n_outputs)
        self.to(X)

    def _make_models(self, n_outputs):
        return ExactModels([self.encoder], n_outputs, self.loss_function, *self._strengths)

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
        """Return the loss of a minibatch (float) and what gives its gradient."""
        loss, surrogate = self.models.differentiate(X[None], targets[None], weights[None])
        return loss.item(), surrogate

    @torch.no_grad()
    def loss(self, X, targets, weights):
        """Return the loss on rows, without gradients."""
        return self.models.losses(X[None], targets, weights / weights.mean()).item()

    def encoder_weights(self):
        """Return W (k, d) and b (k,)."""
        return self.models.weight[0], self.models.bias[0, 0]
