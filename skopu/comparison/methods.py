"""The methods that are compared."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.stats import loguniform
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
from skopu.comparison.peers import (
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
        without one tune themselves or have nothing to tune.
    """

    label: str
    make: Callable
    max_train_rows: int | None = None
    space: dict = field(default_factory=dict)


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


def _make_gp(task, settings, seed):
    return _for_task(RBFGaussianProcess(), task)


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


# What the paper tuned: size of the code, learning rate, both penalties and number of epochs.
_ENCODER_SPACE = {
    "n_bits": [32, 64, 128],
    "scaler": ["standard", "quantile"],
    "learning_rate": loguniform(0.01, 0.1),
    "encoder_penalty": loguniform(1e-4, 1e-1),
    "readout_penalty": loguniform(1e-4, 1e-2),
    "max_iter": [750, 1500, 3000],
}


def _nested(name, space):
    return {f"{name}__{key}": values for key, values in space.items()}


_JOINT_SPACE = _nested("binarizer", _ENCODER_SPACE)
_DFA_SPACE = _nested("binarizer", {key: _ENCODER_SPACE[key] for key in ("n_bits", "scaler")})
_N_BITS_SPACE = {"binarizer__n_bits": [32, 64, 128, 256]}
METHODS = {
    "cross-fitted": Method("Cross-fitted", _make_cross_fitted),
    "exact": Method("Exact", _make_exact, space=_JOINT_SPACE),
    "end-to-end": Method(
        "End-to-End", partial(_make_joint, objective="end_to_end"), space=_JOINT_SPACE
    ),
    "isolated": Method("Isolated", partial(_make_joint, objective="isolated"), space=_JOINT_SPACE),
    "chain": Method("Three-step chain", _make_chain, space=_JOINT_SPACE),
    "dfa": Method("DFA + OPU", _make_dfa, space=_DFA_SPACE),
    "autoencoder": Method("Autoencoder + OPU", _make_autoencoder, space=_DFA_SPACE),
    "thermometer": Method("Thermometer + OPU", _make_thermometer, space=_N_BITS_SPACE),
    "hyperplanes": Method("Hyperplanes + OPU", _make_hyperplanes, space=_N_BITS_SPACE),
    "kernel-ridge": Method("KernelRidge RBF", _make_kernel_ridge),
    "kernel-ridge-quantile": Method("KernelRidge, quantiles", _make_quantile_kernel_ridge),
    "fourier": Method("Fourier features", _make_fourier),
    "gp": Method("GP RBF", _make_gp, max_train_rows=1000),
    "gp-binary": Method("GP RBF on autoencoder codes", _make_binary_gp, max_train_rows=1000),
    "boosting": Method("Gradient boosting", _make_boosting),
    "mlp": Method("MLP", _make_mlp),
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
    folds = StratifiedKFold if is_classification else KFold
    return RandomizedSearchCV(
        estimator,
        method.space,
        n_iter=settings.n_candidates,
        scoring="accuracy" if is_classification else "neg_mean_squared_error",
        cv=folds(_N_FOLDS, shuffle=True, random_state=seed),
        random_state=seed,
    )


def count_passes(estimator):
    """Count the codes that went through devices while an estimator was fitted.

    Those of a search's candidates are not counted, only those of the model it ends with.

    Parameters
    ----------
    estimator : estimator
        Just fitted: a pipeline's features count their later projections too.

    Returns
    -------
    n_passes : int or None
        None if no device was used.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in getattr(estimator, "steps", [(None, estimator)])]
    counts = [count for step in steps if (count := _count_step(step)) is not None]
    return sum(counts) if counts else None


def _count_step(step):
    # n_passes_ first: an estimator that has it counts its own devices there.
    if hasattr(step, "n_passes_"):
        return step.n_passes_
    return step.opu_.n_passes if hasattr(step, "opu_") else None
