r"""What is minimised over codes, and the costs of draws that a gradient estimator needs.

One objective with one knob, for a loss L and the readout f(z) of a random code z, row by row:

.. math:: J_\kappa = \kappa\, E_z[L(y, f(z))] + (1 - \kappa)\, L(y, E_z[f(z)])

:math:`\kappa = 1` is End-to-End (equation 6 of Kozyrskiy et al.), :math:`\kappa = 0` is
Isolated (equation 10). For squared error :math:`J_\kappa = (y - m)^2 + \kappa V` with m and V
the mean and variance of f over codes.
"""

from numbers import Real

import torch

from skopu.exceptions import IncompatiblePartsError

KAPPAS = {"auto": 1.0, "end_to_end": 1.0, "isolated": 0.0}


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

    Parameters
    ----------
    loss : object with ``value`` and ``slope``
    kappa : float
    predictions : Tensor of shape (S, n, q)
        Of the draws, with the graph of the readout.
    targets : Tensor of shape (n, q)

    Attributes
    ----------
    values : Tensor of shape (S, n)
        Costs of the draws. They carry the graph of the readout: their mean over draws is the
        readout's surrogate.
    baselines : Tensor of shape (S, n)
        Entry s is the mean cost :math:`c_s` of the other draws: subtracting it leaves the
        encoder's gradient unbiased. Detached; zeros if there is one draw.
    probes : Tensor of shape (m, S, n) or None
        Costs of the codes that the estimator asked to have tried; detached.
    slopes : Tensor of shape (S, n, q) or None
        :math:`(1 - \kappa) g_s`; None if kappa is 1.
    forms : QuadraticForm or None
        The readout as a function of bits: exact for estimators that need a known matrix,
        fitted to the device's answers for those that say ``fits_forms``; detached.
    learned : dict of str to Tensor
        Parameters of the estimator that are learned along with the encoder.
    progress : float
        Share of the training done, in [0, 1].
    """

    def __init__(self, loss, kappa, predictions, targets):
        self.loss, self.kappa, self.targets = loss, kappa, targets
        fixed = predictions.detach()
        self.slopes = None
        if kappa != 1:
            self.slopes = (1 - kappa) * loss.slope(mean_of_others(fixed), targets)
        self.values = self.of(predictions)
        self.baselines = self.baseline_of(fixed)
        self.probes, self.forms, self.learned, self.progress = None, None, {}, 0.0

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

    def costs(self, predictions, targets):
        """Return the ``Costs`` of predictions (S, n, q) for targets (n, q)."""
        return Costs(self.loss, self.kappa, predictions, targets)


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
            "unknown: use gradient='loo' or 'quadratic', which treat the device as a black box, or "
            "measure it with skopu.devices.calibrate."
        )
