"""Optimizers of parameters with two values, and several optimizers as one."""

from skopu.optim.bop import Bop
from skopu.optim.combined import CombinedOptimizer

__all__ = ["Bop", "CombinedOptimizer"]
