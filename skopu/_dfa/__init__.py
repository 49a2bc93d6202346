"""Multilayer perceptrons trained by direct feedback alignment."""

from skopu._dfa.classifier import DFAClassifier
from skopu._dfa.regressor import DFARegressor

__all__ = ["DFAClassifier", "DFARegressor"]
