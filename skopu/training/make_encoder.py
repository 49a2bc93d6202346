"""What training an encoder of binary weights takes beside that of real ones."""

import torch
from torch import nn

from skopu.exceptions import IncompatiblePartsError
from skopu.forms.quadratic import QuadraticReadout
from skopu.penalties import resolve_penalty
from skopu.training.binary_encoder import BinaryEncoder
from skopu.training.binary_optimizer import share_with_bop
from skopu.training.exact import ExactModel, ExactModels
from skopu.training.linear_encoder import LinearEncoder

_TAU = 1e-8  # of Bop: gradients below it are rounding


def make_encoder(n_features, settings, seed):
    """Return the encoder that ``settings.weights`` asks for, not yet started.

    Parameters
    ----------
    n_features : int
        d.
    settings : object
        With ``n_bits``, ``weights``, ``weight_optimizer`` and ``penalty``.
    seed : int
        Of the starting signs.
    """
    if settings.weights == "real":
        return LinearEncoder(n_features, settings.n_bits)
    quantizer = resolve_penalty(settings.penalty)
    method = settings.weight_optimizer
    if quantizer is not None and method != "ste":
        raise IncompatiblePartsError(
            f"penalty={settings.penalty!r} acts on latent weights, which weight_optimizer="
            f"{method!r} does not have: use weight_optimizer='ste'."
        )
    generator = torch.Generator().manual_seed(seed)
    return BinaryEncoder(n_features, settings.n_bits, generator, method, quantizer)


def make_encoder_optimizer(model, settings):
    """Return the optimizer of a model around an encoder."""
    groups = model.groups(settings.learning_rate, settings.readout_learning_rate)
    return share_with_bop(model, groups, gamma=settings.bop_gamma, tau=_TAU)


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
