"""Binarizers that skopu compares with: they do not learn from the task's loss."""

from skopu.baselines._hyperplane import HyperplaneBinarizer

__all__ = ["HyperplaneBinarizer"]
