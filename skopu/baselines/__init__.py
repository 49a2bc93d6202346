"""Binarizers that skopu compares with: they do not follow the gradient of the task's loss."""

from skopu.baselines._dfa import DFABinarizer
from skopu.baselines._hyperplane import HyperplaneBinarizer

__all__ = ["DFABinarizer", "HyperplaneBinarizer"]
