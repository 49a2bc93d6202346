r"""What is minimised over codes, and the costs of draws that a gradient estimator needs.

One objective with one knob, for a loss L and the readout f(z) of a random code z, row by row:

.. math:: J_\kappa = \kappa\, E_z[L(y, f(z))] + (1 - \kappa)\, L(y, E_z[f(z)])

:math:`\kappa = 1` is End-to-End (equation 6 of Kozyrskiy et al.), :math:`\kappa = 0` is
Isolated (equation 10). For squared error :math:`J_\kappa = (y - m)^2 + \kappa V` with m and V
the mean and variance of f over codes.
"""

from dataclasses import dataclass, field, replace
from numbers import Real

import torch

KAPPAS = {"auto": 1.0, "end_to_end": 1.0, "isolated": 0.0}


@dataclass(frozen=True, eq=False)
class Costs:
    r"""Costs of the draws of a minibatch, and of other predictions in their place.

    The cost of draw s is a function of its prediction f alone, once the other draws are given:

    .. math:: c_s(f) = \kappa\, L(y, f) + (1 - \kappa)\, g_s^\top f

    where :math:`g_s` is the slope of L at the mean prediction of the *other* draws. Its
    gradient is that of :math:`J_\kappa` on average. The slope must not be estimated with the
    draw it multiplies: equation 11 of the paper, read with the same draws in both places
    and leave-one-out control variates, is biased (for squared error it is the gradient of the
    objective with :math:`\kappa = 2/S`). Taken from the others it is unbiased for
    squared error; for cross-entropy it leaves a bias of order 1/S, from the curvature of the
    softmax.

    They are made by ``Objective.costs``, whole, and not to be changed.

    Attributes
    ----------
    loss : object with ``value`` and ``slope``
    kappa : float
    targets : Tensor of shape (n, q)
    slopes : Tensor of shape (S, n, q) or None
        :math:`(1 - \kappa) g_s`; None if kappa is 1.
    values : Tensor of shape (S, n)
        Costs of the draws. They carry the graph of the readout: their mean over draws is the
        readout's surrogate.
    baselines : Tensor of shape (S, n)
        Entry s is the mean cost :math:`c_s` of the other draws: subtracting it leaves the
        encoder's gradient unbiased. Detached; zeros if there is one draw.
    probes : Tensor of shape (m, S, n) or None
        Costs of the codes that the estimator asked to have tried; detached.
    forms : QuadraticForm or None
        The readout as a function of bits: exact for estimators that need a known matrix,
        fitted to the device's answers for those that say ``fits_forms``; detached.
    learned : dict of str to Tensor
        Parameters of the estimator that are learned along with the encoder.
    progress : float
        Share of the training done, in [0, 1].
    """

    loss: object
    kappa: float
    targets: torch.Tensor
    slopes: torch.Tensor | None = None
    values: torch.Tensor | None = None
    baselines: torch.Tensor | None = None
    probes: torch.Tensor | None = None
    forms: object = None
    learned: dict = field(default_factory=dict)
    progress: float = 0.0

    def of(self, predictions):
        """Costs (..., S, n) of predictions (..., S, n, q), one for each draw."""
        costs = self.kappa * self.loss.value(predictions, self.targets)
        if self.slopes is not None:
            costs = costs + (self.slopes * predictions).sum(-1)
        return costs

    def baseline_of(self, predictions):
        """For each draw the mean cost of the others' predictions, shape (S, n)."""
        losses = self.loss.value(predictions, self.targets)
        baselines = self.kappa * mean_of_others(losses)
        if self.slopes is not None:
            baselines = baselines + (self.slopes * mean_of_others(predictions)).sum(-1)
        return baselines


class Objective:
    r"""The objective above, for a loss and a :math:`\kappa`.

    Parameters
    ----------
    loss : object with ``value`` and ``slope``
    kappa : float
    """

    def __init__(self, loss, kappa):
        self.loss = loss
        self.kappa = kappa

    @property
    def is_end_to_end(self):
        """Whether the cost of a draw is a loss of its own, whatever the other draws are."""
        return self.kappa == 1

    @property
    def needs_residuals(self):
        """Whether the cost of a draw takes a residual that must not come from that draw."""
        return not self.is_end_to_end

    def value(self, predictions, targets):
        """Estimate J row by row, shape (n,), from predictions (S, n, q)."""
        value = self.loss.value(predictions.mean(0), targets)
        if self.kappa != 0:
            risk = self.loss.value(predictions, targets).mean(0)
            value = self.kappa * risk + (1 - self.kappa) * value
        return value

    def costs(self, predictions, targets, *, probes=None, forms=None, learned=None, progress=0.0):
        """Return the ``Costs`` of draws.

        Parameters
        ----------
        predictions : Tensor of shape (S, n, q)
            Of the draws, with the graph of the readout.
        targets : Tensor of shape (n, q)
        probes : Tensor of shape (m, S, n, q) or None, default=None
            Predictions of the codes that the estimator wants to be tried.
        forms, learned, progress
            As in ``Costs``.

        Returns
        -------
        costs : Costs
        """
        # Only ``values`` carry the readout's graph: slopes and baselines are numbers to it, and
        # a graph of theirs would differentiate the estimator's noise.
        fixed, slopes = predictions.detach(), None
        if not self.is_end_to_end:
            slopes = (1 - self.kappa) * self.loss.slope(mean_of_others(fixed), targets)
        rule = Costs(self.loss, self.kappa, targets, slopes)
        return replace(
            rule,
            values=rule.of(predictions),
            baselines=rule.baseline_of(fixed),
            probes=None if probes is None else rule.of(probes.detach()),
            forms=forms,
            learned=learned or {},
            progress=progress,
        )


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
