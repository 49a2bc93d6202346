"""A quadratic model of the device's answers as a control variate."""

import torch

from skopu.gradients.base import GradientEstimator, score
from skopu.losses import SecondOrder


class Quadratic(GradientEstimator):
    r"""Leave-one-out of what a fitted quadratic model leaves, plus that model's gradient.

    A readout f of a device is a quadratic form of the bits, and a form :math:`\hat f` fitted to
    the device's own answers comes close to it (see
    :class:`skopu.forms.intensities.FittedIntensities`). With :math:`\hat c_s` the cost that
    it predicts for draw s,

    .. math::

        \frac{1}{S} \sum_s \{ (c_s - \hat c_s) - (v_s - \hat v_s) \} \nabla \log q(z_s)
        + \nabla E[\hat c]

    is unbiased for any device and any model, noisy or wrong, and the better the model, the
    less variance is left. For squared error the mean in the second term is a closed form. For
    cross-entropy the closed form is that of its expansion to second order about the mean
    prediction, and what the expansion leaves is estimated as in ``LocalExpectation``, on the
    model. No pass is made beyond those of the draws.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step; at least 2.
    fit_penalty : float, default=1e-3
        Penalty of the fit, relative to the variance of an intensity over codes: the share of it
        that is noise.

    Examples
    --------
    >>> from skopu.gradients import Quadratic
    >>> Quadratic(n_draws=2)
    Quadratic(n_draws=2)
    """

    min_draws = 2
    fits_forms = True
    _way_out = ", since a draw's baseline is made from the other draws"

    def __init__(self, n_draws=4, fit_penalty=1e-3):
        super().__init__(n_draws)
        self.fit_penalty = fit_penalty

    def check(self):
        """Raise ValueError if ``n_draws`` or ``fit_penalty`` cannot be used."""
        super().check()
        if not self.fit_penalty > 0:
            raise ValueError(f"Quadratic needs fit_penalty > 0, got {self.fit_penalty!r}.")

    def surrogate(self, logits, draws, costs):
        """Return the score of the residual costs plus the model's mean cost, shape (n,)."""
        codes, p = draws.codes, torch.sigmoid(logits)
        fitted = costs.forms.mean(codes)
        advantages = costs.values.detach() - costs.baselines
        advantages = advantages - costs.of(fitted) + costs.baseline_of(fitted)
        mean, variance = costs.forms.moments(p)
        # About a fixed centre: the mean of an expansion that moved with p would be another one.
        expansion = SecondOrder(costs.loss, mean.detach(), costs.targets)
        along = 0.0
        if expansion.direction is not None:
            along = costs.forms.variance_of_mixture(p, expansion.direction)
        loss = expansion.expected(mean, variance, along)
        if expansion.direction is not None:
            loss = loss + _local_remainder(p, codes, fitted, costs, expansion)
        model = costs.kappa * loss
        if costs.slopes is not None:
            model = model + (costs.slopes.mean(0) * mean).sum(-1)
        return score(logits, codes, advantages) + model


def _local_remainder(p, codes, fitted, costs, expansion):
    """Sum what the expansion leaves of the loss over one bit at a time, shape (n,)."""
    steps = costs.forms.slopes(codes).permute(3, 0, 2, 1)  # (k, S, n, q)
    bits = codes.permute(2, 0, 1)[..., None]
    up, down = fitted + (1 - bits) * steps, fitted - bits * steps
    gains = costs.loss.value(up, costs.targets) - costs.loss.value(down, costs.targets)
    gains = gains - expansion.value(up) + expansion.value(down)
    return (p * gains.permute(1, 2, 0)).sum(-1).mean(0)
