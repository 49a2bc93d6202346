"""Kernel machines on Optical Processing Units, with the interface of scikit-learn."""

from skopu._binarizer import SupervisedBinarizer
from skopu._display import ConvergenceDisplay
from skopu._end_to_end import EndToEndOPUClassifier, EndToEndOPURegressor
from skopu._features import OPURandomFeatures
from skopu._kernel_ridge import OPUKernelRidge, OPUKernelRidgeClassifier
from skopu.baselines import HyperplaneBinarizer
from skopu.kernels import OPUKernel, opu_kernel

__version__ = "0.1.0.dev0"

__all__ = [
    "ConvergenceDisplay",
    "EndToEndOPUClassifier",
    "EndToEndOPURegressor",
    "HyperplaneBinarizer",
    "OPUKernel",
    "OPUKernelRidge",
    "OPUKernelRidgeClassifier",
    "OPURandomFeatures",
    "SupervisedBinarizer",
    "opu_kernel",
]
