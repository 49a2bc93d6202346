"""Gradient estimators known by name."""

from skopu._core.parts import resolve_part
from skopu.gradients.antithetic import ARM, DisARM
from skopu.gradients.exact import Exact
from skopu.gradients.local import LocalExpectation
from skopu.gradients.quadratic import Quadratic
from skopu.gradients.rebar import REBAR
from skopu.gradients.relaxed import (
    AdaptiveNoise,
    GumbelSigmoid,
    SigmoidSurrogate,
    StraightThrough,
)
from skopu.gradients.score import LeaveOneOut, Reinforce

GRADIENTS = {
    "loo": LeaveOneOut,
    "reinforce": Reinforce,
    "arm": ARM,
    "disarm": DisARM,
    "local_expectation": LocalExpectation,
    "quadratic": Quadratic,
    "rebar": REBAR,
    "ste": StraightThrough,
    "adaptive_noise": AdaptiveNoise,
    "gumbel": GumbelSigmoid,
    "surrogate": SigmoidSurrogate,
    "exact": Exact,
}


def resolve_gradient(gradient):
    """Return the estimator that ``gradient`` (a name or an object) stands for."""
    return resolve_part(gradient, GRADIENTS, "gradient")
