"""The peers that OPU models are measured against, made fit for a comparison."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from skopu import OPUKernelRidge
from skopu._core.scaling import fit_scaler
from skopu._core.targets import signed_targets
from skopu.cross_fitted.averaging import N_PICKS, greedy_average
from skopu.ridge.solvers import solve_path
from skopu.ridge.systems import KernelSystem

# Where a target has no noise (naval, yacht, energy) the least error lies at 1e-6 and below.
_ALPHAS = np.logspace(-10, 1, 12)


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

    It chooses and predicts as ``GridSearchCV`` of ``KernelRidge`` does, in a fraction of the time:
    for each gamma and fold, one reduction of the kernel serves every alpha, down to alphas at
    which a factorisation of the kernel fails. The grid of gamma is
    relative to the number of columns, which is known in ``fit`` only.

    Parameters
    ----------
    random_state : int or None, default=None
        Source of the folds.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        """Search the grid and refit the best on all rows."""
        gammas = 2.0 ** np.arange(-5, 3) / X.shape[1]
        folds = list(KFold(5, shuffle=True, random_state=self.random_state).split(X))
        errors = [_errors_of_alphas(X, y, folds, gamma) for gamma in gammas]
        row, column = np.unravel_index(np.argmin(errors), (len(gammas), len(_ALPHAS)))
        self.best_params_ = {"alpha": _ALPHAS[column], "gamma": gammas[row]}
        self.X_ = X
        (self.readout_,) = _ridges(X, y.reshape(len(y), -1), gammas[row], _ALPHAS[[column]])
        self.is_column_ = y.ndim == 1
        return self

    def predict(self, X):
        """Predict targets."""
        K = rbf_kernel(X, self.X_, gamma=self.best_params_["gamma"])
        predicted = self.readout_.predict(K)
        return predicted[:, 0] if self.is_column_ else predicted


def _ridges(X, Y, gamma, alphas):
    """Return the ridge readout of an RBF kernel for each alpha."""
    K = rbf_kernel(X, gamma=gamma)
    return solve_path(KernelSystem(K, Y, np.ones(len(X)), False, overwrite_K=True), alphas)


def _errors_of_alphas(X, y, folds, gamma):
    """Mean over folds of the squared error of rows left out, shape (n_alphas,)."""
    Y = y.reshape(len(y), -1)
    squares = np.square(_left_out(X, Y, folds, gamma) - Y)
    return np.mean([squares[:, rows].mean(axis=(1, 2)) for _, rows in folds], axis=0)


def _left_out(X, Y, folds, gamma):
    """Predictions of each alpha, shape (n_alphas, n, q), of rows that it was not fitted to."""
    predicted = np.empty((len(_ALPHAS), *Y.shape))
    for rows, left_out in folds:
        K = rbf_kernel(X[left_out], X[rows], gamma=gamma)
        for number, readout in enumerate(_ridges(X[rows], Y[rows], gamma, _ALPHAS)):
            predicted[number, left_out] = readout.predict(K)
    return predicted


class AveragedKernelRidge(RegressorMixin, BaseEstimator):
    """RBF kernel ridges under the treatment of a cross-fitted ensemble: what its codes add to it.

    The whole grid of :class:`TunedKernelRidge`, on the inputs and on their normal quantiles; of
    these 192 a greedy average of 25, by squared errors of rows left out of five folds. What is
    chosen is fitted to all rows.

    Parameters
    ----------
    random_state : int or None, default=None
        Source of the folds.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        """Predict the rows left out by every ridge, choose, and refit those chosen."""
        Y, self.is_column_ = y.reshape(len(y), -1), y.ndim == 1
        self.scaler_ = fit_scaler("quantile", X, np.ones(len(X)), seed=0)
        copies = [X, self.scaler_.transform(X)]
        folds = list(KFold(5, shuffle=True, random_state=self.random_state).split(X))
        gammas = 2.0 ** np.arange(-5, 3) / X.shape[1]
        pairs = [(number, gamma) for number in range(len(copies)) for gamma in gammas]
        predicted = [_left_out(copies[number], Y, folds, gamma) for number, gamma in pairs]
        shares, self.error_ = greedy_average(np.concatenate(predicted), Y, np.ones(len(Y)), N_PICKS)
        self.members_ = []
        for (number, gamma), row in zip(pairs, shares.reshape(len(pairs), -1)):
            chosen = np.flatnonzero(row)
            if len(chosen):
                ridges = _ridges(copies[number], Y, gamma, _ALPHAS[chosen])
                self.members_.append((number, gamma, ridges, row[chosen]))
        self.copies_ = copies
        return self

    def predict(self, X):
        """Predict targets."""
        copies, total = [X, self.scaler_.transform(X)], 0.0
        for number, gamma, ridges, shares in self.members_:
            K = rbf_kernel(copies[number], self.copies_[number], gamma=gamma)
            total = total + sum(s * ridge.predict(K) for s, ridge in zip(shares, ridges))
        return total[:, 0] if self.is_column_ else total


class RBFGaussianProcess(RegressorMixin, BaseEstimator):
    """Gaussian process with kernel constant * RBF + white noise, by marginal likelihood.

    The search starts at length scale sqrt(d): at 1 the rows of a standardised table of many
    columns are so far apart that the likelihood is flat.

    Parameters
    ----------
    by_column : bool, default=False
        A length scale for each column ("automatic relevance determination"). The search starts
        where that of one scale ended: from sqrt(d) it may end at a likelihood far below.
    """

    def __init__(self, by_column=False):
        self.by_column = by_column

    def fit(self, X, y):
        """Maximise the marginal likelihood."""
        kernel = ConstantKernel() * RBF(np.sqrt(X.shape[1])) + WhiteKernel(0.1)
        self.process_ = GaussianProcessRegressor(kernel).fit(X, y)
        if self.by_column:
            start = self.process_.kernel_.get_params()
            scales = RBF(np.full(X.shape[1], start["k1__k2__length_scale"]))
            kernel = start["k1__k1"] * scales + start["k2"]
            self.process_ = GaussianProcessRegressor(kernel).fit(X, y)
        return self

    def predict(self, X):
        """Predict targets."""
        return self.process_.predict(X)


class TunedFourierRidge(RegressorMixin, BaseEstimator):
    """Ridge on random Fourier features: variance by three folds, alpha by leave-one-out.

    Parameters
    ----------
    n_components : int, default=1024
        Number of features.
    variance : float or None, default=None
        Of the random matrix, in units of 1 / d, where 1 is a length scale of sqrt(d) (gamma =
        variance / (2 d)). None: of eight from 1/16 to 8, by three folds.
    random_state : int or None, default=None
        Source of features and folds.
    """

    def __init__(self, n_components=1024, variance=None, random_state=None):
        self.n_components = n_components
        self.variance = variance
        self.random_state = random_state

    def fit(self, X, y):
        """Search the grid and refit the best on all rows, or fit with the variance given."""
        steps = [
            (
                "features",
                RBFSampler(n_components=self.n_components, random_state=self.random_state),
            ),
            # What RidgeCV finds, from one factorisation.
            ("ridge", OPUKernelRidge("loo", alphas=np.logspace(-6, 2, 17), kernel="linear")),
        ]
        self.search_ = Pipeline(steps)
        if self.variance is not None:
            self.search_.set_params(features__gamma=self.variance / (2 * X.shape[1]))
        else:
            grid = {"features__gamma": 2.0 ** np.arange(-5, 3) / X.shape[1]}
            folds = KFold(3, shuffle=True, random_state=self.random_state)
            self.search_ = GridSearchCV(
                self.search_, grid, scoring="neg_mean_squared_error", cv=folds
            )
        self.search_.fit(X, y)
        return self

    def predict(self, X):
        """Predict targets."""
        return self.search_.predict(X)


class QuantileInputs(RegressorMixin, BaseEstimator):
    """A regressor of normal quantiles of the columns, clipped to +-3.

    Parameters
    ----------
    regressor : regressor
        Fitted to them.
    """

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y):
        """Fit the quantiles, then the regressor."""
        self.scaler_ = fit_scaler("quantile", X, np.ones(len(X)), seed=0)
        self.regressor_ = clone(self.regressor).fit(self.scaler_.transform(X), y)
        return self

    def predict(self, X):
        """Predict targets."""
        return self.regressor_.predict(self.scaler_.transform(X))
