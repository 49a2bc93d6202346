"""The contract of gradient estimators."""

from numbers import Integral

import torch
from sklearn.base import BaseEstimator


class GradientEstimator(BaseEstimator):
    r"""Base class: draws codes, and turns the objective's terms into a surrogate loss.

    The encoder gives logits; codes are drawn from them; the device and the readout answer;
    the objective says what the answers cost. An estimator sees the logits, the codes and the
    costs, never the device. The surrogate exists only for its gradient with respect to the
    logits, which estimates that of the expected objective, summed over rows; it is not a loss
    to report.

    A subclass implements ``surrogate``, and ``draw`` if its draws are coupled.

    Parameters
    ----------
    n_draws : int
        S, codes drawn for each row and step; each costs a pass through the device.

    Attributes
    ----------
    min_draws : int
        The fewest draws that it works with.
    coupled_draws : bool
        Whether the draws of a row depend on each other, so that none can serve as a baseline
        or residual for another.
    needs_known_matrix : bool
        Whether it needs a device whose matrix is known.
    uses_device : bool
        Whether training sends codes through the device.
    """

    min_draws = 1
    coupled_draws = False
    needs_known_matrix = False
    uses_device = True

    def __init__(self, n_draws=4):
        self.n_draws = n_draws

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

    def draw(self, logits, generator):
        """Draw codes.

        Parameters
        ----------
        logits : Tensor of shape (n, k)
        generator : torch.Generator

        Returns
        -------
        codes : Tensor of shape (S, n, k), dtype bool
        """
        shape = (self.n_draws, *logits.shape)
        uniforms = torch.rand(shape, generator=generator, dtype=logits.dtype, device=logits.device)
        return uniforms < torch.sigmoid(logits.detach())

    def surrogate(self, logits, codes, terms):
        """Return the surrogate row by row.

        Parameters
        ----------
        logits : Tensor of shape (n, k), with its graph
        codes : Tensor of shape (S, n, k)
        terms : ScoreTerms
            Costs and baselines of the draws, each of shape (S, n).

        Returns
        -------
        surrogate : Tensor of shape (n,)
        """
        raise NotImplementedError(f"{type(self).__name__} must implement surrogate")
