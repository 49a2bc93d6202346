"""The linear readout of a device's intensities."""

import math

import torch
from torch import nn


class ReadoutLayer(nn.Module):
    r"""Linear readout of centred, scaled features, with an optional learned :math:`\gamma`.

    Every intensity :math:`I_j = |r_j^\top z|^2` is the popcount of z, times the gain of the
    camera, plus what tells codes apart. The common part would swamp the gradient, so features
    are :math:`f_j = (I_j - g_j \|z\|^2) / s_j`, with the gain :math:`g_j` and the scale
    :math:`s_j` measured on starting codes; the popcount itself is one more. Predictions are
    :math:`b + \sum_j w_j \gamma_j^2 f_j` (equation 13 of Kozyrskiy et al.).

    Parameters
    ----------
    intensities : Tensor of shape (m, D)
        Of starting codes.
    popcounts : Tensor of shape (m,)
        Of the same codes.
    n_outputs : int
        q.
    learn_gamma : {"scalar", "feature"} or None
    """

    def __init__(self, intensities, popcounts, n_outputs, learn_gamma):
        super().__init__()
        n_components = intensities.shape[1]
        gain = intensities.mean(0) / popcounts.mean().clamp_min(1)
        scale = (intensities - popcounts[:, None] * gain).std(0, correction=0)
        # A component that never varies must not be blown up.
        scale = scale.clamp_min(1e-3 * scale.mean() + 1e-12) * math.sqrt(n_components)
        self.register_buffer("gain", gain)
        self.register_buffer("scale", scale)
        self.register_buffer("popcount_mean", popcounts.mean())
        self.register_buffer("popcount_scale", popcounts.std(correction=0).clamp_min(1))
        # From nothing: the encoder feels no readout until there is one worth following.
        self.weight = nn.Parameter(torch.zeros(n_components + 1, n_outputs))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        sizes = {"scalar": 1, "feature": n_components + 1}
        size = sizes.get(learn_gamma)
        # Its logarithm, so that gamma stays positive and steps are relative.
        self.log_gamma = nn.Parameter(torch.zeros(size)) if size else None

    def forward(self, combine, popcounts):
        """Return predictions (m, q) of m codes.

        Parameters
        ----------
        combine : callable
            Gives linear combinations (m, q) of the codes' intensities for weights (D, q).
        popcounts : Tensor of shape (m,)
        """
        weights, slope, bias = self.weights()
        return combine(weights) + torch.outer(popcounts, slope) + bias

    def weights(self):
        """Return the weights of intensities (D, q) and popcount (q,), and the bias (q,)."""
        weight = self.weight
        if self.log_gamma is not None:
            weight = weight * torch.exp(2 * self.log_gamma)[:, None]
        # The scaling is applied to the weights, so that no copy of the intensities is made.
        scaled = weight[:-1] / self.scale[:, None]
        slope = weight[-1] / self.popcount_scale
        return scaled, slope - self.gain @ scaled, self.bias - self.popcount_mean * slope

    def gamma(self):
        """Return the learned gamma: a float, or a float64 array (D + 1,), the popcount's last."""
        if self.log_gamma is None:
            return 1.0
        gamma = self.log_gamma.detach().double().exp().cpu().numpy()
        return float(gamma[0]) if len(gamma) == 1 else gamma
