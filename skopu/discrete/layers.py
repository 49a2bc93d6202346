"""Layers with binary weights, and sign activations."""

import torch
from torch import nn

from skopu.gradients.relaxations import straight_through
from skopu.training.binary_weight import BinaryWeight


class ScaledSigns(BinaryWeight):
    r"""Signs of latent weights, times the mean size of those of the neuron (XNOR-Net).

    In the forward pass :math:`\tilde w_i = \alpha\, \mathrm{sign}(w_i)`, where :math:`\alpha` is
    the mean of :math:`|w|` over the n inputs of a neuron, with which signs come nearest to w. The
    gradient is the paper's (Rastegari et al., "XNOR-Net", 2016, section 3.1),

    .. math:: \frac{\partial C}{\partial w_i} = \frac{\partial C}{\partial \tilde w_i}
        \Big(\frac 1 n + \alpha\, 1[|w_i| \le 1]\Big).
    """

    def forward(self):
        """Return signs times their scales, with their gradient while training."""
        hard = self.scales()[:, None] * self.hard()
        if not self.training:
            return hard
        w, scales = self.weight, self.scales()[:, None]
        soft = scales * nn.functional.hardtanh(w) + w / w.shape[1]
        return straight_through(hard, soft)

    def scales(self):
        r"""Return :math:`\alpha` of each neuron, without a gradient."""
        return self.weight.detach().abs().mean(1)


class BinaryLinear(nn.Module):
    """Linear layer with binary weights and no bias: x of shape (n, d) to (n, k).

    Parameters
    ----------
    n_inputs, n_outputs : int
        d and k.
    generator : torch.Generator
    **settings : dict
        Of the :class:`BinaryWeight` of shape (k, d), or with ``method="xnor"`` of the
        :class:`ScaledSigns`.
    """

    def __init__(self, n_inputs, n_outputs, generator, **settings):
        super().__init__()
        kind = BinaryWeight
        if settings.get("method") == "xnor":
            kind, settings = ScaledSigns, {**settings, "method": "real"}
        self.weight = kind((n_outputs, n_inputs), generator, **settings)

    def forward(self, X):
        """Return X W'."""
        return nn.functional.linear(X, self.weight())


def sign(x):
    """Return 1 where x >= 0 and -1 elsewhere, with gradient 1 where abs(x) <= 1, else 0."""
    hard = torch.where(x >= 0, 1.0, -1.0).to(x)
    return straight_through(hard, nn.functional.hardtanh(x))
