"""Binarizers that skopu compares with: they do not follow the gradient of the task's loss."""

from skopu.baselines._autoencoder import AutoencoderBinarizer
from skopu.baselines._dfa import DFABinarizer
from skopu.baselines._hyperplane import HyperplaneBinarizer
from skopu.baselines._thermometer import ThermometerBinarizer

__all__ = [
    "AutoencoderBinarizer",
    "DFABinarizer",
    "HyperplaneBinarizer",
    "ThermometerBinarizer",
]
