"""Estimators of the gradient of an expectation over Bernoulli codes."""

from skopu._core import torch_needed  # noqa: F401
from skopu.gradients.antithetic import ARM, DisARM
from skopu.gradients.base import Draws, GradientEstimator
from skopu.gradients.exact import Exact
from skopu.gradients.local import LocalExpectation
from skopu.gradients.quadratic import Quadratic
from skopu.gradients.rebar import REBAR
from skopu.gradients.registry import GRADIENTS, resolve_gradient
from skopu.gradients.relaxed import (
    AdaptiveNoise,
    GumbelSigmoid,
    SigmoidSurrogate,
    StraightThrough,
)
from skopu.gradients.score import LeaveOneOut, Reinforce

__all__ = [
    "ARM",
    "GRADIENTS",
    "REBAR",
    "AdaptiveNoise",
    "DisARM",
    "Draws",
    "Exact",
    "GradientEstimator",
    "GumbelSigmoid",
    "LeaveOneOut",
    "LocalExpectation",
    "Quadratic",
    "Reinforce",
    "SigmoidSurrogate",
    "StraightThrough",
    "resolve_gradient",
]
