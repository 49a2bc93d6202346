"""The methods that are compared."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold, RandomizedSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skopu import (
    AutoencoderBinarizer,
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    DFABinarizer,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
    ThermometerBinarizer,
)
from skopu.comparison import installed_peers, spaces
from skopu.comparison.peers import (
    AveragedKernelRidge,
    QuantileInputs,
    RBFGaussianProcess,
    SignedTargetsClassifier,
    TunedFourierRidge,
    TunedKernelRidge,
)
from skopu.comparison.problems import CLASSIFICATION

_N_FOLDS = 3  # of the search


@dataclass(frozen=True)
class Settings:
    """Sizes shared by the methods that use a device; the defaults are the estimators' own.

    ``n_candidates`` settings are tried for methods that have a ``space``; 0: their defaults.
    """

    n_bits: int = 64
    n_components: int = 1024
    max_iter: int | str = "auto"
    n_draws: int = 10
    n_candidates: int = 0


@dataclass(frozen=True)
class Method:
    """A method of the comparison.

    Parameters
    ----------
    label : str
        How tables and figures call it.
    make : callable
        ``make(task, settings, seed)`` returns an estimator; it is given columns standardised
        on the training part, and a standardised target or class numbers.
    max_train_rows : int or None, default=None
        The method is left out where the training part is larger.
    space : dict, default={}
        Distributions of ``RandomizedSearchCV``, where a comparison tunes its methods; methods
        without one tune themselves, have nothing to tune, or are peers with their defaults.
    needs : tuple of str, default=()
        Packages without which the method is left out.
    """

    label: str
    make: Callable
    max_train_rows: int | None = None
    space: dict = field(default_factory=dict)
    needs: tuple = ()


def _make_joint(task, settings, seed, objective):
    model = EndToEndOPUClassifier if task == CLASSIFICATION else EndToEndOPURegressor
    return model(
        SupervisedBinarizer(settings.n_bits, objective=objective, max_iter=settings.max_iter),
        OPURandomFeatures(settings.n_components),
        n_draws=settings.n_draws,
        random_state=seed,
    )


def _make_chain(task, settings, seed):
    binarizer = SupervisedBinarizer(
        settings.n_bits,
        n_components=settings.n_components,
        max_iter=settings.max_iter,
        random_state=seed,
    )
    return _behind(binarizer, task, settings)


def _make_exact(task, settings, seed):
    model = EndToEndOPUClassifier if task == CLASSIFICATION else EndToEndOPURegressor
    binarizer = SupervisedBinarizer(settings.n_bits, gradient="exact", max_iter=settings.max_iter)
    return model(binarizer, prediction="mean", random_state=seed)


def _make_cross_fitted(task, settings, seed):
    is_classification = task == CLASSIFICATION
    model = CrossFittedOPUClassifier if is_classification else CrossFittedOPURegressor
    return model(settings.n_bits, max_iter=settings.max_iter, random_state=seed)


def _make_hyperplanes(task, settings, seed):
    return _behind(HyperplaneBinarizer(settings.n_bits, random_state=seed), task, settings)


def _make_dfa(task, settings, seed):
    return _behind(DFABinarizer(settings.n_bits, random_state=seed), task, settings)


def _behind(binarizer, task, settings):
    """Pipeline of a binarizer, the device's features and a ridge readout."""
    readout = OPUKernelRidgeClassifier if task == CLASSIFICATION else OPUKernelRidge
    features = OPURandomFeatures(settings.n_components)
    steps = [("binarizer", binarizer), ("features", features), ("ridge", readout(alpha="loo"))]
    return Pipeline(steps)


def _make_autoencoder(task, settings, seed):
    return _behind(AutoencoderBinarizer(settings.n_bits, random_state=seed), task, settings)


def _make_thermometer(task, settings, seed):
    return _behind(ThermometerBinarizer(settings.n_bits), task, settings)


def _make_binary_gp(task, settings, seed):
    binarizer = AutoencoderBinarizer(settings.n_bits, random_state=seed)
    to_float = FunctionTransformer(np.asarray, kw_args={"dtype": np.float64})
    return _for_task(make_pipeline(binarizer, to_float, RBFGaussianProcess()), task)


def _make_kernel_ridge(task, settings, seed):
    return _for_task(TunedKernelRidge(random_state=seed), task)


def _make_averaged_kernel_ridge(task, settings, seed):
    return _for_task(AveragedKernelRidge(random_state=seed), task)


def _make_gp(task, settings, seed, by_column=False):
    return _for_task(RBFGaussianProcess(by_column), task)


def _make_quantile_kernel_ridge(task, settings, seed):
    return _for_task(QuantileInputs(TunedKernelRidge(random_state=seed)), task)


def _make_fourier(task, settings, seed):
    return _for_task(TunedFourierRidge(settings.n_components, random_state=seed), task)


def _make_boosting(task, settings, seed):
    is_classification = task == CLASSIFICATION
    model = HistGradientBoostingClassifier if is_classification else HistGradientBoostingRegressor
    return model(random_state=seed)


def _make_mlp(task, settings, seed):
    model = MLPClassifier if task == CLASSIFICATION else MLPRegressor
    return model(max_iter=1000, random_state=seed)


def _for_task(regressor, task):
    return SignedTargetsClassifier(regressor) if task == CLASSIFICATION else regressor


METHODS = {
    "cross-fitted": Method("Cross-fitted", _make_cross_fitted),
    "exact": Method("Exact", _make_exact, space=spaces.JOINT),
    "end-to-end": Method(
        "End-to-End", partial(_make_joint, objective="end_to_end"), space=spaces.JOINT
    ),
    "isolated": Method("Isolated", partial(_make_joint, objective="isolated"), space=spaces.JOINT),
    "chain": Method("Three-step chain", _make_chain, space=spaces.JOINT),
    "dfa": Method("DFA + OPU", _make_dfa, space=spaces.FEEDBACK),
    "autoencoder": Method("Autoencoder + OPU", _make_autoencoder, space=spaces.AUTOENCODER),
    "thermometer": Method("Thermometer + OPU", _make_thermometer, space=spaces.BITS),
    "hyperplanes": Method("Hyperplanes + OPU", _make_hyperplanes, space=spaces.BITS),
    "kernel-ridge": Method("KernelRidge RBF", _make_kernel_ridge),
    "kernel-ridge-quantile": Method("KernelRidge, quantiles", _make_quantile_kernel_ridge),
    "kernel-ridge-average": Method("KernelRidge, averaged", _make_averaged_kernel_ridge),
    "fourier": Method("Fourier features", _make_fourier, space=spaces.FOURIER),
    "gp": Method("GP RBF", _make_gp, max_train_rows=1000),
    "gp-columns": Method(
        "GP RBF, a scale a column", partial(_make_gp, by_column=True), max_train_rows=1000
    ),
    "gp-binary": Method(
        "GP RBF on autoencoder codes",
        _make_binary_gp,
        max_train_rows=1000,
        space=spaces.BINARY_PROCESS,
    ),
    "boosting": Method("Gradient boosting", _make_boosting, space=spaces.BOOSTING),
    "mlp": Method("MLP", _make_mlp, space=spaces.MLP),
    "catboost": Method("CatBoost", installed_peers.make_catboost, needs=("catboost",)),
    "xrfm": Method("xRFM", installed_peers.make_xrfm, needs=("pytabkit", "xrfm")),
    "realmlp": Method("RealMLP", installed_peers.make_realmlp, needs=("pytabkit",)),
}
# What the main job compares, unless told otherwise.
MAIN = (
    "cross-fitted",
    "end-to-end",
    "isolated",
    "chain",
    "hyperplanes",
    "kernel-ridge",
    "gp",
)


def make_estimator(method, task, settings, seed):
    """Return a method's estimator, within a random search if the settings ask for one.

    Parameters
    ----------
    method : Method
        The method.
    task : {"classification", "regression"}
        What is predicted.
    settings : Settings
        Sizes, and the number of candidates of the search.
    seed : int
        Of the estimator, the candidates and the three folds they are judged by.

    Returns
    -------
    estimator : estimator
    """
    estimator = method.make(task, settings, seed)
    if not (settings.n_candidates and method.space):
        return estimator
    is_classification = task == CLASSIFICATION
    space = method.space
    if isinstance(estimator, SignedTargetsClassifier):
        space = spaces.nested("regressor", space)
    folds = StratifiedKFold if is_classification else KFold
    return RandomizedSearchCV(
        estimator,
        space,
        n_iter=settings.n_candidates,
        scoring="accuracy" if is_classification else "neg_mean_squared_error",
        cv=folds(_N_FOLDS, shuffle=True, random_state=seed),
        random_state=seed,
    )
