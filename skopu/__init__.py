"""Kernel machines on Optical Processing Units, with the interface of scikit-learn."""

from importlib import import_module

from skopu._version import __version__

# Where each public name lives. Nothing is imported before it is asked for, and nothing else is
# offered: rooms of the package that are not named here are private, and may move.
_ESTIMATORS = {
    "AutoencoderBinarizer": "binarizers.autoencoder",
    "BinaryAutoencoder": "discrete.autoencoder",
    "BinaryMLPClassifier": "discrete.classifier",
    "CodesDisplay": "displays.codes",
    "ConvergenceDisplay": "displays.convergence",
    "CrossFittedOPUClassifier": "cross_fitted.classifier",
    "CrossFittedOPURegressor": "cross_fitted.regressor",
    "DFABinarizer": "binarizers.dfa",
    "DFAClassifier": "dfa.classifier",
    "DFARegressor": "dfa.regressor",
    "EndToEndOPUClassifier": "end_to_end.classifier",
    "EndToEndOPURegressor": "end_to_end.regressor",
    "HyperplaneBinarizer": "binarizers.hyperplane",
    "IntervalsDisplay": "displays.intervals",
    "NeuralDNFClassifier": "rules.classifier",
    "OPUKernel": "kernels",
    "OPUKernelRidge": "kernel_ridge.regressor",
    "OPUKernelRidgeClassifier": "kernel_ridge.classifier",
    "OPURandomFeatures": "kernel_ridge.features",
    "PassesDisplay": "displays.passes",
    "SupervisedBinarizer": "binarizers.supervised",
    "ThermometerBinarizer": "binarizers.thermometer",
    "TreeBinarizer": "binarizers.tree",
    "opu_kernel": "kernels",
}
_MODULES = (
    "datasets",
    "deploy",
    "devices",
    "exceptions",
    "gradients",
    "kernels",
    "optim",
    "penalties",
)

__all__ = ["__version__", *_ESTIMATORS]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"skopu.{name}")
    if name not in _ESTIMATORS:
        raise AttributeError(f"module 'skopu' has no attribute {name!r}")
    found = getattr(import_module(f"skopu.{_ESTIMATORS[name]}"), name)
    globals()[name] = found  # the next look-up does not come here
    return found


def __dir__():
    return sorted([*__all__, *_MODULES])
