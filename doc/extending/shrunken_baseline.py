"""A gradient estimator of one's own: the leave-one-out baseline, shrunk towards zero."""

from torch.distributions import Bernoulli

from skopu.gradients import GradientEstimator


class ShrunkenBaseline(GradientEstimator):
    """REINFORCE with a share of the leave-one-out baseline.

    With few draws the mean of the others is noisy itself, and less of it can be better.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step; at least 2.
    share : float, default=0.8
        0 is ``Reinforce``, 1 is ``LeaveOneOut``.
    """

    min_draws = 2

    def __init__(self, n_draws=4, share=0.8):
        super().__init__(n_draws)
        self.share = share

    def surrogate(self, logits, draws, costs):
        bits = Bernoulli(logits=logits, validate_args=False)
        log_prob = bits.log_prob(draws.codes).sum(-1)  # (S, n)
        advantages = costs.values.detach() - self.share * costs.baselines
        return (advantages * log_prob).mean(0)
