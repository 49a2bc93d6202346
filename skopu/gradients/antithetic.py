"""Estimators from pairs of opposite draws."""

import torch

from skopu.gradients.base import Draws, GradientEstimator, uniforms_like


class _Pairs(GradientEstimator):
    """Draws pairs of codes from the same uniforms, read from both ends."""

    min_draws = 2
    coupled_draws = True

    def check(self):
        """Raise ValueError if ``n_draws`` is not an even integer of at least 2."""
        super().check()
        if self.n_draws % 2:
            raise ValueError(
                f"{type(self).__name__} draws pairs, so n_draws must be even, got "
                f"{self.n_draws}: use {self.n_draws + 1}."
            )

    def draw(self, logits, generator):
        """Draw codes (S, n, k): the first of every pair, then the second of every pair."""
        uniforms = uniforms_like(logits, generator, self.n_draws // 2)
        p = torch.sigmoid(logits.detach())
        return Draws(torch.cat([uniforms > 1 - p, uniforms < p]).to(logits.dtype), uniforms)

    @staticmethod
    def _differences(costs):
        """Cost of the first less that of the second of every pair, shape (S/2, n, 1)."""
        first, second = costs.values.detach().chunk(2)
        return (first - second)[..., None]


class ARM(_Pairs):
    r"""Augment, REINFORCE, merge (Yin and Zhou, 2019).

    Both codes of a pair come from the same uniforms u, :math:`z = 1[u > 1 - p]` and
    :math:`\tilde z = 1[u < p]`, and

    .. math:: (c(z) - c(\tilde z)) \, (u_i - \tfrac12)

    is the slope of the cost c with the logit :math:`l_i`, averaged over pairs. Unbiased for
    any black box, with no baseline to estimate. Kept as a reference: ``DisARM`` averages it
    over what the pair leaves open of u, and so never has more variance.

    Draws of a pair are not independent, so the objective must be End-to-End: others take the
    residual of a draw from the other draws.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step; even, two for each pair.

    References
    ----------
    Yin, Zhou, "ARM: augment-REINFORCE-merge gradient for stochastic binary networks", ICLR 2019.

    Examples
    --------
    >>> from skopu.gradients import ARM
    >>> ARM(n_draws=2)
    ARM(n_draws=2)
    """

    def surrogate(self, logits, draws, costs):
        """Return the logits weighted by the estimate, shape (n,)."""
        slopes = self._differences(costs) * (draws.uniforms - 0.5)
        return (slopes * logits).sum(-1).mean(0)


class DisARM(_Pairs):
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

    def surrogate(self, logits, draws, costs):
        """Return the logits weighted by the estimate, shape (n,)."""
        first, second = draws.codes.chunk(2)
        # Where the bits differ, z - z~ is the sign (-1)^z~; elsewhere it is zero.
        size = torch.sigmoid(logits.detach().abs())
        slopes = 0.5 * self._differences(costs) * (first - second) * size
        return (slopes * logits).sum(-1).mean(0)
