"""Ridge regression and classification with the kernel of an Optical Processing Unit."""

from skopu._kernel_ridge.classifier import OPUKernelRidgeClassifier
from skopu._kernel_ridge.regressor import OPUKernelRidge

__all__ = ["OPUKernelRidge", "OPUKernelRidgeClassifier"]
