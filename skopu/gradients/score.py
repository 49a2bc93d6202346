"""Score-function estimators: REINFORCE and its leave-one-out form."""

from torch.distributions import Bernoulli

from skopu.gradients.base import GradientEstimator


class Reinforce(GradientEstimator):
    r"""Plain score-function estimator (equation 7 of Kozyrskiy et al.; Williams, 1992).

    .. math:: \frac{1}{S} \sum_s c_s \nabla \log q(z_s)

    with :math:`c_s` the cost of draw s. Unbiased for any black box; its variance grows with
    the level of the costs, which ``LeaveOneOut`` removes.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step.

    Examples
    --------
    >>> from skopu.gradients import Reinforce
    >>> Reinforce(n_draws=8)
    Reinforce(n_draws=8)
    """

    def surrogate(self, logits, codes, terms):
        """Return the mean over draws of cost times log-probability, shape (n,)."""
        return self._score(logits, codes, terms.costs.detach())

    def _score(self, logits, codes, advantages):
        # Arguments are not checked: the codes were drawn from these logits.
        bits = Bernoulli(logits=logits, validate_args=False)
        log_prob = bits.log_prob(codes.to(logits.dtype)).sum(-1)
        return (advantages * log_prob).mean(0)


class LeaveOneOut(Reinforce):
    r"""REINFORCE with leave-one-out control variates (equation 8; Kool et al., 2019).

    .. math:: \frac{1}{S} \sum_s (c_s - v_s) \nabla \log q(z_s)

    where :math:`v_s` is made from the other draws (for End-to-End the mean of their costs), so
    the estimator stays unbiased while the common level of the costs drops out.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step; at least 2.

    Examples
    --------
    >>> from skopu.gradients import LeaveOneOut
    >>> LeaveOneOut(n_draws=8)
    LeaveOneOut(n_draws=8)
    """

    min_draws = 2
    _way_out = (
        ", since a draw's baseline is made from the other draws; "
        "Reinforce works with one draw, without a baseline"
    )

    def surrogate(self, logits, codes, terms):
        """Return the mean over draws of advantage times log-probability, shape (n,)."""
        return self._score(logits, codes, terms.costs.detach() - terms.baselines)
