"""Summing over one bit at a time."""

import torch

from skopu.gradients.base import GradientEstimator


class LocalExpectation(GradientEstimator):
    r"""Local expectation gradients (Titsias and Lazaro-Gredilla, 2015).

    Each bit of a draw is tried in both states, the others staying as drawn:

    .. math:: p_i (1 - p_i) \, \{ c(z_i = 1, z_{-i}) - c(z_i = 0, z_{-i}) \}

    is the slope of the cost c with the logit :math:`l_i`. Unbiased for any black box, with
    the least variance of those that know nothing of it, at 1 + k passes a draw: for studies,
    for few bits, or where passes cost nothing.

    Parameters
    ----------
    n_draws : int, default=1
        S, codes drawn for each row and step; each costs 1 + k passes.

    References
    ----------
    Titsias, Lazaro-Gredilla, "Local expectation gradients for black box variational inference",
    NeurIPS 2015.

    Examples
    --------
    >>> from skopu.gradients import LocalExpectation
    >>> LocalExpectation().n_passes(n_bits=16)
    17
    """

    def __init__(self, n_draws=1):
        super().__init__(n_draws)

    def n_passes(self, n_bits):
        """Codes that go through the device for each row and step."""
        return self.n_draws * (1 + n_bits)

    def draw(self, logits, generator):
        """Draw codes (S, n, k); probe i of k is the draws with bit i turned over."""
        draws = super().draw(logits, generator)
        turned = torch.eye(logits.shape[1]).to(logits)[:, None, None]
        return draws._replace(probes=(draws.codes - turned).abs())

    def surrogate(self, logits, draws, costs):
        """Return the probabilities weighted by the bits' effects, shape (n,)."""
        gains = (costs.values.detach() - costs.probes).permute(1, 2, 0)  # (S, n, k)
        # A probe has the bit turned over, so a one's gain is its own cost less the probe's.
        signs = 2 * draws.codes - 1
        return (signs * gains * torch.sigmoid(logits)).sum(-1).mean(0)
