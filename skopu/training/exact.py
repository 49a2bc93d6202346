"""Encoders trained on exact losses, without a device: many at once, their gradients written out."""

import sys
from typing import NamedTuple

import torch
from torch import nn

from skopu.forms.moments import Moments, PackedForm

# Numbers in an array of all rows and bits of the models worked on at a time: a quarter of a
# megabyte in float32, so that the nine of them and the models' own stay in a core's cache. With
# fewer, the time to start an operation weighs; with more, that to fetch its numbers.
_BLOCK_VALUES = 2**15


def _values_at_a_time(tensor):
    """Return how many on this device: a card does best with all."""
    return sys.maxsize if tensor.is_cuda else _BLOCK_VALUES


class _Group(NamedTuple):
    """Encoders that see the same rows: views of weights, gradients, and what is made of them."""

    weight: torch.Tensor  # (m, d, k)
    bias: torch.Tensor  # (m, 1, k)
    weight_slopes: torch.Tensor  # (m, k, d)
    logits: torch.Tensor  # (m, B, k)


class _Block(NamedTuple):
    """Models worked on at a time: some groups of them."""

    form: PackedForm
    slopes: PackedForm
    kappas: torch.Tensor  # (m, 1)
    bias_slopes: torch.Tensor | None  # (m, k)
    groups: list


class ExactModels(nn.Module):
    r"""M linear encoders with their quadratic readouts, trained side by side.

    Model m minimises over its rows

    .. math::

        \frac1n \sum_i \{ L(y_i, E[F]) + \kappa_m\, c_L\, \mathrm{Var}[F] \}
        + \frac{\lambda_m}{k} \|W\|^2 + \mu_m (\|a\|^2 + \|Q_0\|^2)

    with the moments of :mod:`skopu.forms.quadratic`. For squared error :math:`c_L = 1` makes it
    the objective of :mod:`skopu.objectives` exactly; for cross-entropy :math:`c_L = 1/4` makes
    it an upper bound, since the Hessian of the softmax loss is at most 1/2.

    Models come in groups of equal size that see the same rows. A few groups are worked through at
    a time, so that their arrays stay in the cache.

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

    def keep(self, rows):
        """Keep these models and forget the others."""
        parts = self.encoder, self.readout, self.kappas, self.encoder_decay, self.readout_decay
        for part in parts:
            part.data = part.data[rows].clone()
            part.grad = None
        self._key = None

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
        blocks = self._prepare(*X.shape[:2])
        n_groups, size = len(X) // len(blocks), len(self.readout) // len(X)
        losses = []
        for number, block in enumerate(blocks):
            chosen = slice(number * n_groups, (number + 1) * n_groups)
            rows = (part[chosen].repeat_interleave(size, 0) for part in (targets, weights))
            losses.append(self._differentiate(block, X[chosen], *rows))
        self._readout_slopes.addcmul_(self.readout, self.readout_decay)
        self._decay_encoders()
        return torch.cat(losses), self

    def backward(self):
        """Set the gradients that ``differentiate`` made ready."""
        self.readout.grad = self._readout_slopes
        self.encoder.grad = self._encoder_slopes

    def _differentiate(self, block, X, targets, weights):
        """Losses of the models of a block, whose gradients are written into memory."""
        memory, share = self._memory, weights / weights.shape[1]
        self._write_logits(block, X)
        mean = memory.mean(block.form)
        spread = self.loss.curvature * memory.variance(block.form)
        values = self.loss.value(mean, targets) + block.kappas * spread
        mean_slopes = self.loss.slope(mean, targets).mul_(share[..., None])
        variance_slopes = (self.loss.curvature * block.kappas * share)[..., None]
        slopes = memory.backward(block.form, mean_slopes, variance_slopes, block.slopes)
        self._take_slopes(block, X, slopes)
        return (values * share).sum(1)

    def _prepare(self, n_groups, n_rows):
        """Return the blocks; memory is made where it is not there or of another size."""
        key = n_groups, n_rows, self.readout.data_ptr()
        if self._key != key:
            readout = self.readout.detach()
            size = len(readout) // n_groups
            wanted = _values_at_a_time(readout) // (size * n_rows * self.n_bits * self.n_outputs)
            together = max(
                n for n in range(1, n_groups + 1) if n_groups % n == 0 and n <= max(1, wanted)
            )
            self._key, m = key, size * together
            self._memory = Moments(m, n_rows, self.n_bits, self.n_outputs, readout)
            self._readout_slopes = torch.zeros_like(readout)
            self._encoder_slopes = self._encoder_memory()
            self._blocks = [
                self._block(slice(start, start + m), size) for start in range(0, len(readout), m)
            ]
        return self._blocks

    def _block(self, models, size):
        axes = self.n_bits, self.n_outputs
        return _Block(
            PackedForm(self.readout.detach()[models], *axes),
            PackedForm(self._readout_slopes[models], *axes),
            self.kappas[models, None],
            *self._encoder_views(models, size),
        )

    def _encoder_views(self, models, size):
        """Where the gradients for the biases go, and the groups of encoders of a block."""
        into = self._encoder_slopes[models]
        W_slopes = into[:, : -self.n_bits].unflatten(1, self._axes)
        W, b = self.weight.detach()[models], self.bias.detach()[models]
        views = (part.split(size) for part in (W.mT, b, W_slopes, self._memory.logits))
        return into[:, -self.n_bits :], [_Group(*parts) for parts in zip(*views)]

    def _encoder_memory(self):
        return torch.zeros_like(self.encoder)

    def _write_logits(self, block, X):
        for group, rows in zip(block.groups, X):
            rows = rows.expand(len(group.bias), *rows.shape)
            torch.baddbmm(group.bias, rows, group.weight, out=group.logits)

    def _take_slopes(self, block, X, slopes):
        """Write the gradient for the encoders, given that for the logits (m, B, k)."""
        torch.sum(slopes, 1, out=block.bias_slopes)
        size = len(block.groups[0].bias)
        for group, rows, part in zip(block.groups, X, slopes.mT.split(size)):
            torch.bmm(part, rows.expand(size, *rows.shape), out=group.weight_slopes)

    def _decay_encoders(self):
        self._encoder_slopes.addcmul_(self.encoder, self.encoder_decay)
