"""What the regressor and the classifier share: from X to features to a readout."""

from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from skopu._core.chunks import row_chunks
from skopu._core.dask import map_rows
from skopu._core.parts import PartsMixin, resolve_part
from skopu._core.random import draw_seeds
from skopu._core.rows import distinct_rows
from skopu._core.validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_data,
)
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.devices import DEVICES, resolve_device
from skopu.devices.base import is_binary
from skopu.kernel_ridge.features import OPURandomFeatures, is_opu_features
from skopu.kernel_ridge.streaming import StreamingMixin
from skopu.ridge.leave_one_out import choose_alpha, leave_out
from skopu.ridge.normal_equations import GRAMS, MAX_CHUNK_ROWS, bytes_of_a_row
from skopu.ridge.solvers import solve
from skopu.ridge.systems import KernelSystem, WideSystem

CHOICES = {"loo", "gcv"}  # values of alpha that have it chosen


def _all_binary(X, rows, n_rows):
    """Whether all values of ``X[rows]`` are 0 or 1, looking at a chunk of rows at a time."""
    parts = gen_batches(n_rows, MAX_CHUNK_ROWS)
    return all(is_binary(X[part if isinstance(rows, slice) else rows[part]]) for part in parts)


def _on_disk(X):
    """Whether an array is, or is a view of, a memory-mapped file."""
    while X is not None and not isinstance(X, np.memmap):
        X = getattr(X, "base", None)
    return X is not None


def streams(model):
    """Whether a model can be fitted in parts; for ``available_if``."""
    if model.kernel == "precomputed":
        raise AttributeError(
            "kernel='precomputed' needs the kernel of all rows at once: use fit, or another kernel."
        )
    return True


def adds(model):
    """Whether a model can be fitted call by call; for ``available_if``."""
    if isinstance(model.alpha, str) and model.alpha == "loo":
        raise AttributeError(
            "alpha='loo' takes a second pass over the rows, which partial_fit does not have: use "
            "alpha='gcv', or fit_chunks with chunks that can be read twice."
        )
    return streams(model)


class OPURidge(StreamingMixin, PartsMixin, BaseEstimator):
    """Parameters and training common to both."""

    _part_names = ("opu", "binarizer")
    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like", StrOptions(CHOICES)],
        "alphas": ["array-like", None],
        "kernel": [StrOptions({"auto", "opu", "linear", "rbf", "precomputed"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "opu": [str, HasMethods(["project"]), None],
        "binarizer": [HasMethods(["fit", "transform"]), None],
        "fit_intercept": ["boolean"],
        "gram": [StrOptions(set(GRAMS))],
        "chunk_size": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        alpha=1,
        *,
        alphas=None,
        kernel="auto",
        gamma=None,
        n_components=1024,
        opu="simulated",
        binarizer=None,
        fit_intercept=True,
        gram="float64",
        chunk_size=None,
        random_state=None,
        verbose=0,
    ):
        self.alpha = alpha
        self.alphas = alphas
        self.kernel = kernel
        self.gamma = gamma
        self.n_components = n_components
        self.opu = opu
        self.binarizer = binarizer
        self.fit_intercept = fit_intercept
        self.gram = gram
        self.chunk_size = chunk_size
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
        if self.kernel_ == "precomputed":
            self._readout = self._fit_kernel(X, Y, weights, alpha, weights > 0)
            return
        rows = np.flatnonzero(weights > 0)
        if isinstance(alpha, str):
            # Leaving one row out must leave out its repetitions.
            rows, weights = distinct_rows(X, Y, weights)
        else:
            weights = weights[rows]
        self._fit_features(X, y, weights, rows)
        if _on_disk(X):
            order = np.argsort(rows)
            rows, weights = rows[order], weights[order]
        if len(rows) == len(Y) and (np.diff(rows) == 1).all():
            rows = slice(len(rows))  # of which parts are views
        self._fit_chosen(X, Y, weights, rows, alpha)

    def _fit_chosen(self, X, Y, weights, rows, alpha):
        """Set the readout of the features of ``X[rows]``; ``weights`` are those of these rows."""
        if len(weights) < self._n_columns(X):
            system = WideSystem(self._features(X[rows]), Y[rows], weights, self.fit_intercept)
            self._readout = self._solve(system, alpha)
        else:
            self._fit_rows(X, Y, weights, rows)

    def _fit_ready(self, Phi, Y, weights):
        """Fit to features (m, D) of distinct rows that the caller has made and checked.

        For models that end in a ridge readout: no second validation, and no second order.
        """
        self._take_as_it_is(Phi)
        self._fit_chosen(Phi, Y, weights, slice(None), self._check_alpha(Y.shape[1]))
        self._publish()

    def _fit_leaving_out(self, Phi, Y, weights):
        """``_fit_ready``, and return predictions (m, q) of each row by readouts without it."""
        alpha = self._check_alpha(Y.shape[1])
        if alpha == "gcv" or self.gram != "float64":
            self._fit_ready(Phi, Y, weights)
            return leave_out(Phi, Y, weights, self.fit_intercept, [self.alpha_])[1]
        self._take_as_it_is(Phi)
        # One factorisation for both, also where alpha is given.
        alphas = self._check_alphas() if alpha == "loo" else [alpha]
        choice, predictions = leave_out(Phi, Y, weights, self.fit_intercept, alphas)
        self._readout, self.alpha_ = choice.readout, choice.alpha
        if alpha == "loo":
            self.loo_error_ = float(choice.errors.min())
        self._publish()
        return predictions

    def _take_as_it_is(self, Phi):
        self.kernel_, self.binarizer_, self.features_ = "linear", None, None
        self.n_features_in_ = Phi.shape[1]

    def _fit_kernel(self, K, Y, weights, alpha, kept):
        """Readout of a kernel matrix; rows of weight zero get coefficient zero."""
        K = np.asarray(K[np.ix_(kept, kept)], dtype=np.float64)
        system = KernelSystem(K, Y[kept], weights[kept], self.fit_intercept, overwrite_K=True)
        readout = self._solve(system, alpha)
        dual = np.zeros(Y.shape)
        dual[kept] = readout.coef
        return readout._replace(coef=dual)

    def _solve(self, system, alpha):
        """Readout for the alpha of least error, or for the given one."""
        if isinstance(alpha, str):
            choice = choose_alpha(system, self._check_alphas(), alpha == "gcv")
            self.alpha_, self.loo_error_ = choice.alpha, float(choice.errors.min())
            return choice.readout
        self.alpha_ = alpha
        return solve(system, alpha)

    def _fit_features(self, X, y, weights, rows=slice(None)):
        """Fit what comes before the readout to ``X[rows]``; sets ``binarizer_``, ``features_``.

        ``weights``, all positive, are those of these rows.
        """
        seed_binarizer, seed_features = draw_seeds(self.random_state, 2)
        self.binarizer_ = self.features_ = None
        if self.kernel_ == "rbf":
            gamma = 1 / X.shape[1] if self.gamma is None else self.gamma
            self.features_ = RBFSampler(
                n_components=self.n_components, gamma=gamma, random_state=seed_features
            ).fit(X[:1])  # which reads no more than its shape
        elif self.kernel_ == "opu":
            codes = X[:1]
            if not _all_binary(X, rows, len(weights)):
                binarizer = self._fit_binarizer(X[rows], y[rows], weights, seed_binarizer)
                codes, self.binarizer_ = np.asarray(binarizer.transform(codes)), binarizer
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

    def _n_columns(self, X):
        """D, number of features of rows of X."""
        return X.shape[1] if self.features_ is None else self.n_components

    def _n_chunk_rows(self, n_features):
        """Rows whose features are held at a time: ``chunk_size``, or what memory allows."""
        if self.chunk_size is not None:
            return self.chunk_size
        memory = get_config()["working_memory"] * 2**20
        return int(np.clip(memory // bytes_of_a_row(n_features, self.gram), 1, MAX_CHUNK_ROWS))

    def _decision(self, X):
        """Readout (n, q) of X."""
        check_is_fitted(self)
        return self._read_out(self._validate(X, reset=False))

    def _read_out(self, X):
        """Readout (n, q) of validated X, a chunk of rows at a time."""
        coef, intercept = self._readout
        decision = np.empty((X.shape[0], coef.shape[1]))
        for rows in row_chunks(X.shape[0], self._n_chunk_rows(len(coef))):
            Phi = X[rows] if self.kernel_ == "precomputed" else self._features(X[rows])
            decision[rows] = safe_sparse_dot(Phi, coef, dense_output=True)
        return decision + intercept

    def _lazily(self, method, X, n_columns, meta):
        """Return the dask array of the results of ``method`` on the blocks of X."""
        check_is_fitted(self)
        if self.kernel_ == "precomputed":
            X = X.rechunk({1: -1})
        return map_rows(self, method, X, n_columns, meta)

    def _publish(self):
        """Set the public attributes of the readout; ``_flat`` drops the axis of targets."""
        (coef, intercept), flat = self._readout, self._flat
        if self.kernel_ == "precomputed":
            self.dual_coef_ = coef[:, 0] if flat else coef
        else:
            self.coef_ = coef[:, 0] if flat else coef.T
        self.intercept_ = float(intercept[0]) if flat else intercept

    def _resolve_kernel(self, X):
        """Set ``kernel_``; to be called before validation, which makes a plain array of X."""
        for name in ("coef_", "dual_coef_", "loo_error_", "_equations"):
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
                f"target(s), 'loo' or 'gcv'; got an array of shape {alpha.shape}: "
                f"{str(alpha)[:80]}."
            )
        return alpha

    def _check_alphas(self):
        if self.alphas is None:
            return None
        alphas = np.asarray(self.alphas, dtype=np.float64)
        if alphas.ndim != 1 or not alphas.size or not (alphas > 0).all():
            raise ValueError(
                f"alphas must hold positive numbers, shape (n_alphas,); got {str(alphas)[:80]}."
            )
        return alphas

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.kernel != "precomputed"
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags
