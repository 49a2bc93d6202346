r"""What is minimised over codes, and the terms a gradient estimator needs of it.

One objective with one knob, for a loss L and the readout f(z) of a random code z, row by row:

.. math:: J_\kappa = \kappa\, E_z[L(y, f(z))] + (1 - \kappa)\, L(y, E_z[f(z)])

:math:`\kappa = 1` is End-to-End (equation 6 of Kozyrskiy et al.), :math:`\kappa = 0` is
Isolated (equation 10). For squared error :math:`J_\kappa = (y - m)^2 + \kappa V` with m and V
the mean and variance of f over codes.
"""

from numbers import Real
from typing import NamedTuple

import torch

from skopu.exceptions import IncompatiblePartsError

KAPPAS = {"auto": 1.0, "end_to_end": 1.0, "isolated": 0.0}


class ScoreTerms(NamedTuple):
    """Terms of the score-function gradient, both of shape (S, n).

    ``costs`` carries the graph of the readout: its mean over draws is the readout's surrogate.
    ``baselines`` is detached; entry s depends on the draws other than s only, so subtracting
    it from the costs leaves the encoder's gradient unbiased.
    """

    costs: torch.Tensor
    baselines: torch.Tensor


class Objective:
    r"""The objective above, for a loss and a :math:`\kappa`.

    The gradient of the second term needs the slope of L at E[f], which must not be estimated
    with the draw it multiplies: equation 11 of the paper, read with the same draws in both
    places and leave-one-out control variates, is biased (for squared error it is the gradient
    of the objective with :math:`\kappa = 2/S`).
    The slope is taken at the mean of the *other* draws, which is unbiased for squared error;
    for cross-entropy it leaves a bias of order 1/S, from the curvature of the softmax.

    Parameters
    ----------
    loss : object with ``value`` and ``slope``
    kappa : float
    """

    def __init__(self, loss, kappa):
        self.loss = loss
        self.kappa = kappa

    @property
    def min_draws(self):
        """Smallest number of draws: without a second one there is no mean of the others."""
        return 1 if self.kappa == 1 else 2

    def value(self, predictions, targets):
        """Estimate J row by row, shape (n,), from predictions (S, n, q)."""
        value = self.loss.value(predictions.mean(0), targets)
        if self.kappa != 0:
            risk = self.loss.value(predictions, targets).mean(0)
            value = self.kappa * risk + (1 - self.kappa) * value
        return value

    def score_terms(self, predictions, targets):
        """Return the ``ScoreTerms`` of predictions (S, n, q) for targets (n, q)."""
        fixed = predictions.detach()
        losses = self.loss.value(predictions, targets)
        costs, baselines = self.kappa * losses, self.kappa * mean_of_others(losses.detach())
        if self.kappa != 1:
            others = mean_of_others(fixed)
            slope = (1 - self.kappa) * self.loss.slope(others, targets)
            costs = costs + (slope * predictions).sum(-1)
            baselines = baselines + (slope * others).sum(-1)
        return ScoreTerms(costs, baselines)


def mean_of_others(values):
    """For each draw the mean over the other draws, shape (S, ...); zeros if there is one."""
    n_draws = len(values)
    if n_draws == 1:
        return torch.zeros_like(values)
    return (values.sum(0) - values) / (n_draws - 1)


def resolve_kappa(objective):
    """Return the kappa of ``objective``: a name or a number in [0, 1]."""
    if isinstance(objective, Real):
        return float(objective)
    return KAPPAS[objective]


def check_parts(gradient, objective, device, learn_gamma=None):
    """Raise ``IncompatiblePartsError`` if these cannot train together, before any pass."""
    name = type(gradient).__name__
    gradient.check()
    if not gradient.uses_device:
        if learn_gamma:
            raise IncompatiblePartsError(
                f"{name} trains without features, so there is no gamma to learn: use "
                "gradient='loo', or a number as gamma."
            )
        return
    if gradient.n_draws < objective.min_draws:
        raise IncompatiblePartsError(
            f"{name}(n_draws={gradient.n_draws}) cannot serve an objective with "
            f"kappa={objective.kappa:g}, which takes the residual of a draw from the other "
            "draws: use n_draws=2 or more, or objective='end_to_end'."
        )
    if gradient.coupled_draws and objective.kappa != 1:
        raise IncompatiblePartsError(
            f"{name} couples its draws, but an objective with kappa={objective.kappa:g} takes the "
            "residual of a draw from independent others: use objective='end_to_end', or "
            "gradient='loo'."
        )
    if gradient.needs_known_matrix and not device.known_matrix:
        raise IncompatiblePartsError(
            f"{name} needs the matrix of the device, and that of {type(device).__name__} is "
            "unknown: use gradient='loo', which treats the device as a black box."
        )
