"""Binarizer, features and readout trained jointly."""

from skopu._end_to_end.classifier import EndToEndOPUClassifier
from skopu._end_to_end.regressor import EndToEndOPURegressor

__all__ = ["EndToEndOPUClassifier", "EndToEndOPURegressor"]
