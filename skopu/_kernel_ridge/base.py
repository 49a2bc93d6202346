"""What the regressor and the classifier share: from X to features to a readout."""

import re
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from skopu import ridge
from skopu._binarizer import SupervisedBinarizer
from skopu._features import OPUFeatures, OPURandomFeatures
from skopu._parts import PartsMixin, resolve_part
from skopu._random import draw_seeds
from skopu._rows import merge_repeated_rows
from skopu._validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_data,
)
from skopu.devices import DEVICES, resolve_device
from skopu.devices.base import is_binary

_CHUNK_ROWS = 4096
# How OPURandomFeatures names its columns, also behind the prefix of a FeatureUnion.
_FEATURE_NAME = re.compile(r"(.*__)?opurandomfeatures\d+$")


def is_opu_features(X):
    """Whether X says that it came out of an ``OPURandomFeatures``: by type, or column names."""
    if isinstance(X, OPUFeatures):
        return True
    columns = getattr(X, "columns", ())
    return len(columns) > 0 and all(_FEATURE_NAME.match(str(name)) for name in columns)


class OPURidge(PartsMixin, BaseEstimator):
    """Parameters and training common to both."""

    _part_names = ("opu", "binarizer")
    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like", StrOptions({"loo"})],
        "kernel": [StrOptions({"auto", "opu", "linear", "rbf", "precomputed"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "opu": [str, HasMethods(["project"]), None],
        "binarizer": [HasMethods(["fit", "transform"]), None],
        "fit_intercept": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        alpha=1,
        *,
        kernel="auto",
        gamma=None,
        n_components=1024,
        opu="simulated",
        binarizer=None,
        fit_intercept=True,
        random_state=None,
        verbose=0,
    ):
        self.alpha = alpha
        self.kernel = kernel
        self.gamma = gamma
        self.n_components = n_components
        self.opu = opu
        self.binarizer = binarizer
        self.fit_intercept = fit_intercept
        self.random_state = random_state
        self.verbose = verbose

    def _make_part(self, name):
        if name == "opu":
            return resolve_part(self.opu, DEVICES, "opu")
        return self._default_binarizer()

    def _default_binarizer(self):
        return SupervisedBinarizer(verbose=self.verbose)

    def _fit(self, X, y, Y, weights):
        """Fit on validated rows; a binarizer learns from ``y``, the readout from ``Y`` (n, q)."""
        alpha = self._check_alpha(Y.shape[1])
        kept = weights > 0
        if self.kernel_ == "precomputed":
            self._readout = self._fit_kernel(X, Y, weights, alpha, kept)
            return
        if isinstance(alpha, str):
            # Leaving one row out must leave out its repetitions.
            X, Y, weights, kept = merge_repeated_rows(X, Y, weights)
        else:
            X, Y, weights = X[kept], Y[kept], weights[kept]
        self._fit_features(X, y[kept], weights)
        Phi = self._features(X)
        direct = ridge.solve_dual if Phi.shape[0] < Phi.shape[1] else ridge.solve_primal
        self._readout = self._solve(Phi, Y, weights, alpha, ridge.loo_features, direct)

    def _fit_kernel(self, K, Y, weights, alpha, kept):
        """Readout of a kernel matrix; rows of weight zero get coefficient zero."""
        K = np.asarray(K[np.ix_(kept, kept)], dtype=np.float64)
        readout = self._solve(
            K, Y[kept], weights[kept], alpha, ridge.loo_kernel, ridge.solve_kernel
        )
        dual = np.zeros(Y.shape)
        dual[kept] = readout.coef
        return readout._replace(coef=dual)

    def _solve(self, Phi, Y, weights, alpha, choose, direct):
        """Readout for the penalty that ``choose`` finds, or for the given ``alpha``."""
        if isinstance(alpha, str):
            choice = choose(Phi, Y, weights, self.fit_intercept)
            self.alpha_, self.loo_error_ = choice.alpha, float(choice.errors.min())
            return choice.readout
        self.alpha_ = alpha
        return direct(Phi, Y, alpha, weights, self.fit_intercept)

    def _fit_features(self, X, y, weights):
        """Fit what comes before the readout; sets ``binarizer_`` and ``features_``."""
        seed_binarizer, seed_features = draw_seeds(self.random_state, 2)
        self.binarizer_ = self.features_ = None
        if self.kernel_ == "rbf":
            gamma = 1 / X.shape[1] if self.gamma is None else self.gamma
            self.features_ = RBFSampler(
                n_components=self.n_components, gamma=gamma, random_state=seed_features
            ).fit(X)
        elif self.kernel_ == "opu":
            if not is_binary(X):
                self.binarizer_ = self._fit_binarizer(X, y, weights, seed_binarizer)
            codes = X if self.binarizer_ is None else np.asarray(self.binarizer_.transform(X))
            self.features_ = OPURandomFeatures(
                n_components=self.n_components,
                opu=self.opu,
                gamma=1.0 if self.gamma is None else self.gamma,
                binarize=None,
            ).fit(codes)

    def _fit_binarizer(self, X, y, weights, seed):
        binarizer = self._default_binarizer() if self.binarizer is None else clone(self.binarizer)
        if isinstance(binarizer, SupervisedBinarizer):
            # Codes are trained through the device that will project them.
            binarizer.set_params(opu=self.opu, n_components=self.n_components)
            resolve_device(self.opu, binarizer.n_bits, self.n_components)
        if binarizer.get_params(deep=False).get("random_state", 0) is None:
            binarizer.set_params(random_state=seed)
        if has_fit_parameter(binarizer, "sample_weight"):
            return binarizer.fit(X, y, sample_weight=weights)
        return binarizer.fit(X, y)

    def _features(self, X):
        """Features (n, D) of validated rows; X itself for the linear kernel."""
        if self.binarizer_ is not None:
            X = np.asarray(self.binarizer_.transform(X))
        return X if self.features_ is None else np.asarray(self.features_.transform(X))

    def _decision(self, X):
        """Readout (n, q) of X, a chunk of rows at a time."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        decision = np.empty((X.shape[0], self._readout.coef.shape[1]))
        for rows in gen_batches(X.shape[0], _CHUNK_ROWS):
            Phi = X[rows] if self.kernel_ == "precomputed" else self._features(X[rows])
            decision[rows] = safe_sparse_dot(Phi, self._readout.coef, dense_output=True)
        return decision + self._readout.intercept

    def _publish(self, flat):
        """Set the public attributes of the readout; ``flat`` drops the axis of targets."""
        coef, intercept = self._readout
        if self.kernel_ == "precomputed":
            self.dual_coef_ = coef[:, 0] if flat else coef
        else:
            self.coef_ = coef[:, 0] if flat else coef.T
        self.intercept_ = float(intercept[0]) if flat else intercept

    def _resolve_kernel(self, X):
        """Set ``kernel_``; to be called before validation, which makes a plain array of X."""
        for name in ("coef_", "dual_coef_", "loo_error_"):
            # An earlier fit of another kind must not show through.
            vars(self).pop(name, None)
        self.kernel_ = self.kernel
        if self.kernel == "auto":
            self.kernel_ = "linear" if is_opu_features(X) else "opu"

    def _validate(self, X, *y, **options):
        """Validate input for ``kernel_``; a kernel matrix must be dense, and square in ``fit``."""
        precomputed = self.kernel_ == "precomputed"
        checked = validate_data(
            self, X, *y, accept_sparse=False if precomputed else "csr", dtype="numeric", **options
        )
        shape = np.shape(checked[0])
        if y and precomputed and shape[0] != shape[1]:
            raise ValueError(
                f"kernel='precomputed' needs the square kernel matrix of the rows, got shape "
                f"{shape}: compute it first, for example opu_kernel(X)."
            )
        return checked

    def _check_alpha(self, n_targets):
        if isinstance(self.alpha, (str, Real)):
            return self.alpha
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.shape not in ((), (n_targets,)) or not (alpha >= 0).all():
            raise ValueError(
                f"alpha must be a non-negative number, one for each of the {n_targets} "
                f"target(s), or 'loo'; got an array of shape {alpha.shape}: {str(alpha)[:80]}."
            )
        return alpha

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.kernel != "precomputed"
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags
