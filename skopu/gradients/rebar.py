"""Relaxed codes as control variates."""

import torch

from skopu.gradients.base import Draws, GradientEstimator, score, threshold, uniforms_like
from skopu.gradients.relaxations import gumbel_sigmoid


class REBAR(GradientEstimator):
    r"""Score function with a relaxed control variate (Tucker et al., 2017).

    With the relaxed code :math:`\zeta = \sigma((l + g) / T)` of the draw z, and a second one
    :math:`\tilde\zeta` whose noise is drawn afresh given z,

    .. math::

        (c(z) - \eta\, c(\tilde\zeta) - v) \nabla \log q(z)
        + \eta \nabla \{ c(\zeta) - c(\tilde\zeta) \}

    is unbiased for every :math:`\eta` and T. The baseline v is made from the other draws, as in
    ``LeaveOneOut``. It needs a device whose matrix is known.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step.
    eta : float, default=1.0
        Weight of the control variate.
    temperature : float, default=0.5
        T, above 0.

    Notes
    -----
    The paper learns eta and T by the gradient of the variance; fixed ones do here, since
    ``Quadratic`` has far less variance with nothing to learn by gradient, and without the
    matrix. RELAX (Grathwohl et al., 2018), which learns a network in the place of
    :math:`c(\zeta)`, is not among the estimators: it came to the variance of this one.

    References
    ----------
    Tucker, Mnih, Maddison, Lawson, Sohl-Dickstein, "REBAR: low-variance, unbiased gradient
    estimates for discrete latent variable models", NeurIPS 2017.

    Examples
    --------
    >>> from skopu.gradients import REBAR
    >>> REBAR(n_draws=2, temperature=0.3)
    REBAR(n_draws=2, temperature=0.3)
    """

    needs_known_matrix = True

    def __init__(self, n_draws=4, eta=1.0, temperature=0.5):
        super().__init__(n_draws)
        self.eta = eta
        self.temperature = temperature

    def check(self):
        """Raise ValueError if ``n_draws`` or ``temperature`` cannot be used."""
        super().check()
        if not self.temperature > 0:
            raise ValueError(f"REBAR needs temperature > 0, got {self.temperature!r}.")

    def draw(self, logits, generator):
        """Draw codes (S, n, k) and two sets of uniforms (2, S, n, k): theirs, and fresh ones."""
        uniforms = uniforms_like(logits, generator, 2, self.n_draws)
        return Draws(threshold(uniforms[0], logits), uniforms)

    def surrogate(self, logits, draws, costs):
        """Return the sum of the three terms, shape (n,)."""
        first, fresh = draws.uniforms
        relaxed = costs.forms.mean(gumbel_sigmoid(logits, first, self.temperature))
        again = gumbel_sigmoid(logits, self._given(logits, draws.codes, fresh), self.temperature)
        conditional = costs.forms.mean(again)
        cost, control = costs.of(relaxed), costs.of(conditional)
        advantages = costs.values - costs.baselines
        advantages = advantages - self.eta * (control - costs.baseline_of(conditional))
        correction = self.eta * (cost - control).mean(0)
        return score(logits, draws.codes, advantages.detach()) + correction

    @staticmethod
    def _given(logits, codes, fresh):
        """Uniforms distributed as those of the draws, given the codes that came of them."""
        # With the graph of p: the correction differentiates through the second relaxed code, too.
        p = torch.sigmoid(logits)
        return torch.where(codes > 0.5, fresh * p, p + fresh * (1 - p))
