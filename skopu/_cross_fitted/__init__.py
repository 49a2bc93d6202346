"""Cross-fitted ensembles of exact models."""

from skopu._cross_fitted.classifier import CrossFittedOPUClassifier
from skopu._cross_fitted.regressor import CrossFittedOPURegressor

__all__ = ["CrossFittedOPUClassifier", "CrossFittedOPURegressor"]
