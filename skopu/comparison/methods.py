"""The methods that are compared, and the peers' estimators made fit for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from skopu import (
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu._targets import signed_targets
from skopu.comparison.problems import CLASSIFICATION


@dataclass(frozen=True)
class Settings:
    """Sizes shared by the methods that use a device; the defaults are the estimators' own."""

    n_bits: int = 64
    n_components: int = 1024
    max_iter: int = 1500
    n_draws: int = 10


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
    """

    label: str
    make: Callable
    max_train_rows: int | None = None


class SignedTargetsClassifier(ClassifierMixin, BaseEstimator):
    """Classify with a regressor of targets -1 and 1; the largest output wins.

    Parameters
    ----------
    regressor : regressor
        Fitted to one column for two classes, otherwise to one column for each class.
    """

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y):
        """Fit the regressor to signed targets."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        targets = signed_targets(codes, len(self.classes_))
        targets = targets[:, 0] if targets.shape[1] == 1 else targets
        self.regressor_ = clone(self.regressor).fit(X, targets)
        return self

    def predict(self, X):
        """Predict labels."""
        scores = self.regressor_.predict(X)
        winners = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[winners]


class TunedKernelRidge(RegressorMixin, BaseEstimator):
    """RBF kernel ridge; alpha and gamma from a grid, by squared error over five folds.

    The grid of gamma is relative to the number of columns, which is known in ``fit`` only.

    Parameters
    ----------
    random_state : int or None, default=None
        Source of the folds.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        """Search the grid and refit the best on all rows."""
        grid = {
            "alpha": np.logspace(-4, 1, 6),
            "gamma": 2.0 ** np.arange(-5, 3) / X.shape[1],
        }
        folds = KFold(5, shuffle=True, random_state=self.random_state)
        model = KernelRidge(kernel="rbf")
        self.search_ = GridSearchCV(model, grid, scoring="neg_mean_squared_error", cv=folds)
        self.search_.fit(X, y)
        return self

    def predict(self, X):
        """Predict targets."""
        return self.search_.predict(X)


class RBFGaussianProcess(RegressorMixin, BaseEstimator):
    """Gaussian process with kernel constant * RBF + white noise, by marginal likelihood.

    The search starts at length scale sqrt(d): at 1 the rows of a standardised table of many
    columns are so far apart that the likelihood is flat.
    """

    def fit(self, X, y):
        """Maximise the marginal likelihood."""
        kernel = ConstantKernel() * RBF(np.sqrt(X.shape[1])) + WhiteKernel(0.1)
        self.process_ = GaussianProcessRegressor(kernel).fit(X, y)
        return self

    def predict(self, X):
        """Predict targets."""
        return self.process_.predict(X)


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


def _make_hyperplanes(task, settings, seed):
    return _behind(HyperplaneBinarizer(settings.n_bits, random_state=seed), task, settings)


def _behind(binarizer, task, settings):
    """Pipeline of a binarizer, the device's features and a ridge readout."""
    readout = OPUKernelRidgeClassifier if task == CLASSIFICATION else OPUKernelRidge
    features = OPURandomFeatures(settings.n_components)
    steps = [("binarizer", binarizer), ("features", features), ("ridge", readout(alpha="loo"))]
    return Pipeline(steps)


def _make_kernel_ridge(task, settings, seed):
    return _for_task(TunedKernelRidge(random_state=seed), task)


def _make_gp(task, settings, seed):
    return _for_task(RBFGaussianProcess(), task)


def _for_task(regressor, task):
    return SignedTargetsClassifier(regressor) if task == CLASSIFICATION else regressor


METHODS = {
    "end-to-end": Method("End-to-End", partial(_make_joint, objective="end_to_end")),
    "isolated": Method("Isolated", partial(_make_joint, objective="isolated")),
    "chain": Method("Three-step chain", _make_chain),
    "hyperplanes": Method("Hyperplanes + OPU", _make_hyperplanes),
    "kernel-ridge": Method("KernelRidge RBF", _make_kernel_ridge),
    "gp": Method("GP RBF", _make_gp, max_train_rows=1000),
}


def count_passes(estimator):
    """Count the codes that went through devices while an estimator was fitted.

    Parameters
    ----------
    estimator : estimator
        Just fitted: a pipeline's features count their later projections too.

    Returns
    -------
    n_passes : int or None
        None if no device was used.
    """
    steps = [step for _, step in getattr(estimator, "steps", [(None, estimator)])]
    counts = [count for step in steps if (count := _count_step(step)) is not None]
    return sum(counts) if counts else None


def _count_step(step):
    # n_passes_ first: an estimator that has it counts its own devices there.
    if hasattr(step, "n_passes_"):
        return step.n_passes_
    return step.opu_.n_passes if hasattr(step, "opu_") else None
