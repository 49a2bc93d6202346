"""Optimizers of parameters with two values, and several optimizers as one."""

from skopu._core import torch_needed  # noqa: F401
from skopu.optim.bop import Bop
from skopu.optim.combined import CombinedOptimizer

__all__ = ["Bop", "CombinedOptimizer"]
