"""Kernel machines on Optical Processing Units, with the interface of scikit-learn."""

from skopu._autoencoder import BinaryAutoencoder
from skopu._binarizer import SupervisedBinarizer
from skopu._binary_mlp import BinaryMLPClassifier
from skopu._cross_fitted import CrossFittedOPUClassifier, CrossFittedOPURegressor
from skopu._dfa import DFAClassifier, DFARegressor
from skopu._display import ConvergenceDisplay
from skopu._end_to_end import EndToEndOPUClassifier, EndToEndOPURegressor
from skopu._features import OPURandomFeatures
from skopu._kernel_ridge import OPUKernelRidge, OPUKernelRidgeClassifier
from skopu._rules import NeuralDNFClassifier
from skopu._version import __version__
from skopu.baselines import (
    AutoencoderBinarizer,
    DFABinarizer,
    HyperplaneBinarizer,
    ThermometerBinarizer,
)
from skopu.kernels import OPUKernel, opu_kernel

__all__ = [
    "AutoencoderBinarizer",
    "BinaryAutoencoder",
    "BinaryMLPClassifier",
    "ConvergenceDisplay",
    "CrossFittedOPUClassifier",
    "CrossFittedOPURegressor",
    "DFABinarizer",
    "DFAClassifier",
    "DFARegressor",
    "EndToEndOPUClassifier",
    "EndToEndOPURegressor",
    "HyperplaneBinarizer",
    "NeuralDNFClassifier",
    "OPUKernel",
    "OPUKernelRidge",
    "OPUKernelRidgeClassifier",
    "OPURandomFeatures",
    "SupervisedBinarizer",
    "ThermometerBinarizer",
    "__version__",
    "opu_kernel",
]
