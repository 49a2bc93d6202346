"""Rules learned by gradient."""

from skopu._rules.classifier import NeuralDNFClassifier

__all__ = ["NeuralDNFClassifier"]
