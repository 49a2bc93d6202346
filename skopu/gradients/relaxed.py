"""Biased estimators: gradients through relaxed codes, for devices whose matrix is known."""

import torch

from skopu.gradients.base import GradientEstimator, uniforms_like
from skopu.gradients.relaxations import gumbel_sigmoid, perturb, sigmoid_surrogate, straight_through

_START_SCALE = 0.25  # the middle of what the adaptive noise may be


class _Relaxed(GradientEstimator):
    """Costs of relaxed codes are differentiated; the readout learns from binary draws.

    Off the binary codes the readout is continued as the polynomial that is linear in each bit
    (see :mod:`skopu.forms.quadratic`).
    """

    unbiased = False
    needs_known_matrix = True

    def surrogate(self, logits, draws, costs):
        """Return the mean cost of relaxed codes, shape (n,)."""
        return costs.of(costs.forms.mean(self._relax(logits, draws, costs))).mean(0)

    def _relax(self, logits, draws, costs):
        """Relaxed codes (S, n, k) with their graph."""
        raise NotImplementedError


class _Annealed(_Relaxed):
    """With a temperature that falls by a constant factor a step."""

    def __init__(self, n_draws=4, temperature=1.0, final_temperature=0.3):
        super().__init__(n_draws)
        self.temperature = temperature
        self.final_temperature = final_temperature

    def check(self):
        """Raise ValueError if ``n_draws`` or a temperature cannot be used."""
        super().check()
        for name in ("temperature", "final_temperature"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{type(self).__name__} needs {name} > 0, got {value!r}.")

    def temperature_at(self, progress):
        """Return the temperature when ``progress``, in [0, 1], of the training is done."""
        return self.temperature * (self.final_temperature / self.temperature) ** progress


class StraightThrough(_Relaxed):
    r"""Straight-through estimator (Bengio, Leonard and Courville, 2013).

    The slope of the cost at a binary draw is taken for the slope with the bit's probability:

    .. math:: \frac{\partial c}{\partial z_i}(z) \, p_i (1 - p_i)

    Little variance, and a bias: the cost is not linear in the code. It needs a device whose
    matrix is known.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step.

    Examples
    --------
    >>> from skopu.gradients import StraightThrough
    >>> StraightThrough(n_draws=1)
    StraightThrough(n_draws=1)
    """

    def _relax(self, logits, draws, costs):
        return straight_through(draws.codes, torch.sigmoid(logits))


class AdaptiveNoise(_Relaxed):
    r"""Straight-through with adaptive noise (Lu, 2020).

    Draws are moved into the interval, 1 to :math:`1 - s_i \epsilon` and 0 to
    :math:`s_i \epsilon` with uniform :math:`\epsilon`, before the cost and its slope are taken.
    The scales :math:`s_i` in [0, 1/2], one for each bit, are learned along with the encoder.
    Made for rules, where plain straight-through stalls (see ``NeuralDNFClassifier``); on codes
    it has more bias than :class:`StraightThrough`, and less variance.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step.

    Examples
    --------
    >>> from skopu.gradients import AdaptiveNoise
    >>> AdaptiveNoise(n_draws=1)
    AdaptiveNoise(n_draws=1)
    """

    def learned(self, n_bits):
        """Return starting values of what is learned along with the encoder, by name."""
        return {"noise_scale": torch.full((n_bits,), _START_SCALE)}

    def draw(self, logits, generator):
        """Draw codes (S, n, k), and as many uniforms for the noise."""
        draws = super().draw(logits, generator)
        return draws._replace(uniforms=uniforms_like(logits, generator, self.n_draws))

    def _relax(self, logits, draws, costs):
        scale = costs.learned["noise_scale"]
        # A clamped scale would have no gradient to come back by.
        scale = straight_through(scale.detach().clamp(0, 0.5), scale)
        noisy = perturb(draws.codes, scale, draws.uniforms)
        return straight_through(noisy, torch.sigmoid(logits))


class GumbelSigmoid(_Annealed):
    r"""Binary Gumbel-softmax, or concrete, relaxation (Jang et al., Maddison et al., 2017).

    The cost of :math:`\sigma((l + g) / T)` with logistic noise g is differentiated; the noise
    is that of the binary draw. The temperature T falls from ``temperature`` to
    ``final_temperature`` over the training, and the bias with it, while the variance grows.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step.
    temperature, final_temperature : float, default=1.0, 0.3
        Above 0.

    Examples
    --------
    >>> from skopu.gradients import GumbelSigmoid
    >>> round(GumbelSigmoid().temperature_at(0.5), 3)
    0.548
    """

    def _relax(self, logits, draws, costs):
        return gumbel_sigmoid(logits, draws.uniforms, self.temperature_at(costs.progress))


class SigmoidSurrogate(_Annealed):
    r"""Continuous surrogate: the cost of :math:`\sigma(l / T)`, without noise (Lu, 2020).

    At T = 1 codes are replaced by their probabilities; since the readout is linear in each
    bit, the cost is then that of the mean prediction, whatever the objective asks for the
    variance. Colder surrogates come closer to thresholded codes.

    Parameters
    ----------
    n_draws : int, default=4
        S, codes drawn for each row and step; they train the readout only.
    temperature, final_temperature : float, default=1.0, 0.3
        Above 0.

    Examples
    --------
    >>> from skopu.gradients import SigmoidSurrogate
    >>> SigmoidSurrogate(n_draws=1).temperature_at(0.0)
    1.0
    """

    def _relax(self, logits, draws, costs):
        soft = sigmoid_surrogate(logits, self.temperature_at(costs.progress))
        return soft.expand(draws.codes.shape)
