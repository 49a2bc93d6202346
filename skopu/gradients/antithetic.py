"""Estimators from pairs of opposite draws."""

import torch

from skopu.gradients.base import GradientEstimator


class DisARM(GradientEstimator):
    r"""Antithetic pairs of codes (Dong, Mnih and Tucker, 2020).

    Both codes of a pair come from the same uniforms u, :math:`z = 1[u > 1 - p]` and
    :math:`\tilde z = 1[u < p]`. Bits that differ between them carry the gradient:

    .. math::

        \tfrac12 (c(z) - c(\tilde z)) \, (-1)^{\tilde z_i} \, 1[z_i \ne \tilde z_i] \,
        \sigma(|l_i|)

    for the cost c and the logit :math:`l_i`, averaged over pairs. Unbiased for any black box,
    with no baseline to estimate. Draws of a pair are not independent, so the objective must be
    End-to-End: others take the residual of a draw from the other draws.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step; even, two for each pair.

    References
    ----------
    Dong, Mnih, Tucker, "DisARM: an antithetic gradient estimator for binary latent variables",
    NeurIPS 2020; the estimator averages ARM (Yin and Zhou, 2019) over u given the pair.

    Examples
    --------
    >>> from skopu.gradients import DisARM
    >>> DisARM(n_draws=8)
    DisARM(n_draws=8)
    """

    min_draws = 2
    coupled_draws = True

    def check(self):
        """Raise ValueError if ``n_draws`` is not an even integer of at least 2."""
        super().check()
        if self.n_draws % 2:
            raise ValueError(
                f"DisARM draws pairs, so n_draws must be even, got {self.n_draws}: use "
                f"{self.n_draws + 1}."
            )

    def draw(self, logits, generator):
        """Draw codes (S, n, k): the first of every pair, then the second of every pair."""
        shape = (self.n_draws // 2, *logits.shape)
        uniforms = torch.rand(shape, generator=generator, dtype=logits.dtype, device=logits.device)
        p = torch.sigmoid(logits.detach())
        return torch.cat([uniforms > 1 - p, uniforms < p])

    def surrogate(self, logits, codes, terms):
        """Return the logits weighted by the estimate, shape (n,)."""
        first, second = codes.to(logits.dtype).chunk(2)
        cost, opposite = terms.costs.detach().chunk(2)
        # Where the bits differ, z - z~ is the sign (-1)^z~; elsewhere it is zero.
        size = torch.sigmoid(logits.detach().abs())
        slopes = 0.5 * (cost - opposite)[..., None] * (first - second) * size
        return (slopes * logits).sum(-1).mean(0)
