"""Score-function estimators: REINFORCE and its leave-one-out form."""

from skopu.gradients.base import GradientEstimator, score


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

    def surrogate(self, logits, draws, costs):
        """Return the mean over draws of cost times log-probability, shape (n,)."""
        return score(logits, draws.codes, costs.values.detach())


class LeaveOneOut(GradientEstimator):
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

    def surrogate(self, logits, draws, costs):
        """Return the mean over draws of advantage times log-probability, shape (n,)."""
        return score(logits, draws.codes, costs.values.detach() - costs.baselines)
