"""The exact model around an encoder of binary weights."""

import torch
from torch import nn

from skopu.forms.quadratic import QuadraticReadout
from skopu.training.exact import ExactModel, ExactModels


class BinaryExactModel(ExactModel):
    """``ExactModel`` that trains the encoder of binary weights itself, where that has a copy."""

    @torch.no_grad()
    def start(self, X, n_outputs, seed):
        """Set starting weights from inputs (n, d)."""
        self.encoder.start(X, seed)
        self.models = _AroundEncoder(self.encoder, n_outputs, self.loss_function, *self._strengths)
        self.to(X)


class _AroundEncoder(ExactModels):
    """One exact model whose weights are those of an encoder."""

    def __init__(self, encoder, n_outputs, loss, kappas, encoder_penalties, readout_penalties):
        nn.Module.__init__(self)  # not that of the parent, which would make weights
        self.encoder, self.loss = encoder, loss
        self.readout = QuadraticReadout(1, len(encoder.bias), n_outputs)
        self.register_buffer("kappas", torch.tensor(kappas))
        self.register_buffer("encoder_penalties", torch.tensor(encoder_penalties))
        self.register_buffer("readout_penalties", torch.tensor(readout_penalties))

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        return [
            {"params": self.encoder.parameters(), "lr": learning_rate},
            {"params": self.readout.parameters(), "lr": readout_learning_rate},
        ]

    @property
    def weight(self):
        """The weights W, of shape (1, k, d)."""
        return self.encoder.weight[None]

    @property
    def bias(self):
        """The bias b, of shape (1, 1, k)."""
        return self.encoder.bias[None, None]
