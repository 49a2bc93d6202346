"""Gradient estimators known by name."""

from skopu._parts import resolve_part
from skopu.gradients.antithetic import DisARM
from skopu.gradients.exact import Exact
from skopu.gradients.score import LeaveOneOut, Reinforce

GRADIENTS = {"loo": LeaveOneOut, "reinforce": Reinforce, "disarm": DisARM, "exact": Exact}


def resolve_gradient(gradient):
    """Return the estimator that ``gradient`` (a name or an object) stands for."""
    return resolve_part(gradient, GRADIENTS, "gradient")
