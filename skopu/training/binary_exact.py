"""The exact model around an encoder of binary weights."""

import torch
from torch import nn

from skopu.training.exact import ExactModels
from skopu.training.exact_model import ExactModel


class BinaryExactModel(ExactModel):
    """``ExactModel`` that trains the encoder of binary weights itself, where that has a copy."""

    can_be_captured = False  # noise of the weights and temperatures change with the step

    def _make_models(self, n_outputs):
        return _AroundEncoder(self, n_outputs, *self._strengths)


class _AroundEncoder(ExactModels):
    """One exact model whose weights are those of an encoder, which is differentiated by torch."""

    def __init__(self, model, n_outputs, kappas, encoder_penalties, readout_penalties):
        nn.Module.__init__(self)  # not that of the parent, which would make weights
        weight = model.encoder.weight.detach()
        self._set_up(weight, n_outputs, model.loss_function, kappas, readout_penalties)
        # Not a module of this one: its parameters are registered where it stands already.
        self._owner, self._penalty = [model], encoder_penalties[0] / self.n_bits

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        return [
            {"params": self._encoder.parameters(), "lr": learning_rate},
            {"params": [self.readout], "lr": readout_learning_rate},
        ]

    @property
    def _encoder(self):
        return self._owner[0].encoder

    @property
    def weight(self):
        """The weights W, of shape (1, k, d)."""
        return self._encoder.weight[None]

    @property
    def bias(self):
        """The bias b, of shape (1, 1, k)."""
        return self._encoder.bias[None, None]

    def backward(self):
        """Set the gradients: those of the logits go on through the encoder."""
        self.readout.grad = self._readout_slopes
        encoder = self._encoder
        penalty = self._penalty * encoder.weight.square().sum()
        penalty = penalty + encoder.quantizer_penalty(self._owner[0].progress)
        torch.autograd.backward([self._logits, penalty], [self._encoder_slopes, None])

    def _encoder_memory(self):
        return None

    def _encoder_views(self, models, size):
        return None, []

    def _write_logits(self, block, X):
        with torch.enable_grad():
            self._logits = self._encoder(X[0])
        self._memory.logits.copy_(self._logits)

    def _take_slopes(self, block, X, slopes):
        self._encoder_slopes = slopes[0]

    def _decay_encoders(self):
        """Leave the penalty to torch."""
