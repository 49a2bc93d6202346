"""Estimators of the gradient of an expectation over Bernoulli codes."""

from skopu.gradients.antithetic import DisARM
from skopu.gradients.base import GradientEstimator
from skopu.gradients.exact import Exact
from skopu.gradients.registry import GRADIENTS, resolve_gradient
from skopu.gradients.score import LeaveOneOut, Reinforce

__all__ = [
    "GRADIENTS",
    "DisARM",
    "Exact",
    "GradientEstimator",
    "LeaveOneOut",
    "Reinforce",
    "resolve_gradient",
]
