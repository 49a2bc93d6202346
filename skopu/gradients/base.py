"""The contract of gradient estimators."""

from numbers import Integral
from typing import NamedTuple

import torch

from skopu._core.documented import Documented


class Draws(NamedTuple):
    """Codes of a minibatch, with what they were made of.

    Attributes
    ----------
    codes : Tensor of shape (S, n, k), zeros and ones
        Draws of the encoder's distribution: they train the readout.
    uniforms : Tensor or None
        The numbers in [0, 1) that an estimator wants to see again.
    probes : Tensor of shape (m, S, n, k), zeros and ones, or None
        Codes to be tried for the encoder's sake only; each is a pass too.

    Examples
    --------
    >>> import torch
    >>> from skopu.gradients import LeaveOneOut
    >>> draws = LeaveOneOut(n_draws=2).draw(torch.zeros(3, 4), torch.Generator().manual_seed(0))
    >>> draws.codes.shape
    torch.Size([2, 3, 4])
    """

    codes: torch.Tensor
    uniforms: torch.Tensor | None = None
    probes: torch.Tensor | None = None


class WayOfTraining(Documented):
    """What ``gradient`` may be: a way of training an encoder, with what it needs as data.

    Attributes
    ----------
    uses_device : bool
        Whether training sends codes through the device.
    has_residuals : bool
        Whether the residual of a draw can be had from elsewhere, as from another draw.
    unbiased, coupled_draws, needs_known_matrix
        As of a ``GradientEstimator``.
    """

    uses_device = True
    unbiased = True
    coupled_draws = False
    has_residuals = True
    needs_known_matrix = False

    def check(self):
        """Raise ValueError if a parameter cannot be used."""


class GradientEstimator(WayOfTraining):
    r"""Base class: draws codes, and turns their costs into a surrogate loss.

    The encoder gives logits; codes are drawn from them; the device and the readout answer;
    the objective says what the answers cost. An estimator sees the logits, the draws and the
    costs, never the device. The surrogate exists only for its gradient with respect to the
    logits, which estimates that of the expected objective, summed over rows; it is not a loss
    to report.

    A subclass implements ``surrogate``, and ``draw`` if it needs more than independent codes.

    Parameters
    ----------
    n_draws : int
        S, codes drawn for each row and step; each costs a pass through the device.

    Attributes
    ----------
    min_draws : int
        The fewest draws that it works with.
    unbiased : bool
        Whether the mean of its gradients is the gradient of the objective.
    coupled_draws : bool
        Whether the draws of a row depend on each other, so that none can serve as a baseline
        or residual for another.
    needs_known_matrix : bool
        Whether it needs a device whose matrix is known; the costs then bring ``forms``.
    fits_forms : bool
        Whether it wants ``forms`` fitted to the device's answers, known or not.
    """

    min_draws = 1
    fits_forms = False

    def __init__(self, n_draws=4):
        self.n_draws = n_draws

    @property
    def has_residuals(self):
        """Whether there is another draw to take the residual of a draw from."""
        return self.n_draws > 1

    def check(self):
        """Raise ValueError if ``n_draws`` is not an integer of at least ``min_draws``."""
        valid = isinstance(self.n_draws, Integral) and not isinstance(self.n_draws, bool)
        if valid and self.n_draws >= self.min_draws:
            return
        raise ValueError(
            f"{type(self).__name__} needs n_draws to be an int of at least {self.min_draws}, "
            f"got {self.n_draws!r}{self._way_out}."
        )

    _way_out = ""

    def n_passes(self, n_bits):
        """Codes that go through the device for each row and step."""
        return self.n_draws

    def learned(self, n_bits):
        """Return starting values of what is learned along with the encoder, by name."""
        return {}

    def draw(self, logits, generator):
        """Draw codes.

        Parameters
        ----------
        logits : Tensor of shape (n, k)
        generator : torch.Generator

        Returns
        -------
        draws : Draws
        """
        uniforms = uniforms_like(logits, generator, self.n_draws)
        return Draws(threshold(uniforms, logits), uniforms)

    def surrogate(self, logits, draws, costs):
        """Return the surrogate row by row.

        Parameters
        ----------
        logits : Tensor of shape (n, k), with its graph
        draws : Draws
        costs : Costs
            See :class:`skopu.objectives.Costs`.

        Returns
        -------
        surrogate : Tensor of shape (n,)
        """
        raise NotImplementedError(f"{type(self).__name__} must implement surrogate")


def uniforms_like(logits, generator, *leading):
    """Uniforms in [0, 1) of shape (*leading, n, k), on the device of the logits."""
    shape = (*leading, *logits.shape)
    return torch.rand(shape, generator=generator, dtype=logits.dtype, device=logits.device)


def threshold(uniforms, logits):
    """Return codes: ones where a uniform is below its bit's probability."""
    return (uniforms < torch.sigmoid(logits.detach())).to(logits.dtype)


def score(logits, codes, advantages):
    """Return the logits weighted by the mean over draws of advantage times z - p, shape (n,).

    Its gradient is that of the advantage times the log-probability of the codes: the slope of
    log q(z) with a logit is z - p.
    """
    # By weights of shape (n, k): the graph is that of one product, not of S log-probabilities.
    p = torch.sigmoid(logits.detach())
    weights = (advantages[..., None] * codes).sum(0)
    weights = weights - advantages.sum(0)[:, None] * p
    return (weights * logits).sum(-1) / len(advantages)
