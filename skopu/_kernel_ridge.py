"""Ridge regression and classification with the kernel of an Optical Processing Unit."""

import re
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin, clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils import gen_batches
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from skopu import ridge
from skopu._binarizer import SupervisedBinarizer
from skopu._features import OPUFeatures, OPURandomFeatures
from skopu._parts import PartsMixin
from skopu._random import draw_seeds
from skopu._rows import merge_repeated_rows
from skopu._targets import check_several_classes
from skopu._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_weights,
    fit_context,
    validate_data,
)
from skopu.devices import DEVICES
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


class _OPURidge(PartsMixin, BaseEstimator):
    """What the regressor and the classifier share: from X to features to a readout."""

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
            return DEVICES[self.opu or "simulated"]()
        return self._default_binarizer()

    def _default_binarizer(self):
        return SupervisedBinarizer(
            n_components=self.n_components, opu=self.opu, verbose=self.verbose
        )

    def _fit(self, X, y, Y, weights):
        """Fit on validated rows; a binarizer learns from ``y``, the readout from ``Y`` (n, q)."""
        alpha = self._check_alpha(Y.shape[1])
        kept = weights > 0
        if self.kernel_ == "precomputed":
            weights, Y = weights[kept], Y[kept]
            solve = (ridge.loo_kernel, ridge.solve_kernel)
            Phi = np.asarray(X[np.ix_(kept, kept)], dtype=np.float64)
        else:
            if isinstance(alpha, str):
                # Leaving one row out must leave out its repetitions.
                X, Y, weights, kept = merge_repeated_rows(X, Y, weights)
            else:
                X, Y, weights = X[kept], Y[kept], weights[kept]
            y = y[kept]
            seed_binarizer, seed_features = draw_seeds(self.random_state, 2)
            self._fit_features(X, y, weights, seed_binarizer, seed_features)
            Phi = self._features(X)
            dual = Phi.shape[0] < Phi.shape[1]
            solve = (ridge.loo_features, ridge.solve_dual if dual else ridge.solve_primal)
        if isinstance(alpha, str):
            choice = solve[0](Phi, Y, weights, self.fit_intercept)
            readout, self.alpha_ = choice.readout, choice.alpha
            self.loo_error_ = float(choice.errors.min())
        else:
            readout, self.alpha_ = solve[1](Phi, Y, alpha, weights, self.fit_intercept), alpha
        if self.kernel_ == "precomputed":
            # Rows of weight zero keep their place in the kernel, with coefficient zero.
            dual = np.zeros((len(kept), Y.shape[1]))
            dual[kept] = readout.coef
            readout = readout._replace(coef=dual)
        self._readout = readout

    def _fit_features(self, X, y, weights, seed_binarizer, seed_features):
        """Fit what comes before the readout; sets ``binarizer_`` and ``features_``."""
        self.binarizer_ = self.features_ = None
        if self.kernel_ == "rbf":
            gamma = 1 / X.shape[1] if self.gamma is None else self.gamma
            self.features_ = RBFSampler(
                n_components=self.n_components, gamma=gamma, random_state=seed_features
            ).fit(X)
        elif self.kernel_ == "opu":
            if not is_binary(X):
                self.binarizer_ = self._fit_binarizer(X, y, weights, seed_binarizer)
            codes = X if self.binarizer_ is None else self.binarizer_.transform(X)
            self.features_ = OPURandomFeatures(
                n_components=self.n_components,
                opu=self.opu,
                gamma=1.0 if self.gamma is None else self.gamma,
                binarize=None,
            ).fit(codes)

    def _fit_binarizer(self, X, y, weights, seed):
        binarizer = self._default_binarizer() if self.binarizer is None else clone(self.binarizer)
        if binarizer.get_params(deep=False).get("random_state", 0) is None:
            binarizer.set_params(random_state=seed)
        if has_fit_parameter(binarizer, "sample_weight"):
            return binarizer.fit(X, y, sample_weight=weights)
        return binarizer.fit(X, y)

    def _features(self, X):
        """Features (n, D) of validated rows; X itself for the linear kernel."""
        if self.binarizer_ is not None:
            X = self.binarizer_.transform(X)
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
                f"target(s), or 'loo'; got an array of shape {alpha.shape} with minimum "
                f"{alpha.min()}."
            )
        return alpha

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.kernel != "precomputed"
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


class OPUKernelRidge(MultiOutputMixin, RegressorMixin, _OPURidge):
    r"""Kernel ridge regression with the kernel of an Optical Processing Unit.

    Minimises

    .. math:: \sum_i w_i \|y_i - b - W^\top \phi(x_i)\|^2 + \alpha \|W\|^2

    (equation 2 of [1]_, without its factor 1/2) where :math:`\phi` are OPU features, so that
    the model approximates kernel ridge regression with
    :math:`k(x, y) = \gamma^4(\|x\|^2\|y\|^2 + (x^\top y)^2)` on binary codes. It takes the
    place of :class:`~sklearn.kernel_ridge.KernelRidge`: same ``alpha``, same outputs, memory of
    order n D instead of n^2. In a pipeline behind ``OPURandomFeatures`` it is the linear
    readout.

    Parameters
    ----------
    alpha : float, array-like of shape (n_targets,) or "loo", default=1
        Penalty, one for all targets or one for each. "loo": the best of 41 penalties from 1e-9
        to 10 times the mean squared norm of the centred features, by exact leave-one-out error
        from one factorisation.
    kernel : {"auto", "opu", "linear", "rbf", "precomputed"}, default="auto"
        "opu": binary X (all values 0 or 1) is projected as it is, any other X goes through
        ``binarizer`` first. "linear": X is a matrix of features already. "auto": "linear" if X
        is the output of ``OPURandomFeatures``, which says so by its type (or by the names of its
        columns in a data frame), otherwise "opu". "rbf": random Fourier features.
        "precomputed": X is a kernel matrix, solved exactly in the dual.
    gamma : float or None, default=None
        "opu": the features are multiplied by ``gamma**2``; None is 1. "rbf":
        :math:`\exp(-\gamma\|x - y\|^2)`; None is 1 / n_features. Ignored otherwise.
    n_components : int, default=1024
        D, number of random features, for "opu" and "rbf".
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device, for "opu".
    binarizer : transformer or None, default=None
        Makes codes of real X, for "opu". None: a ``SupervisedBinarizer`` trained on the same
        device. Settable before it exists: ``set_params(binarizer__n_bits=32)``.
    fit_intercept : bool, default=True
        Whether to fit b, unpenalised. ``KernelRidge`` has none.
    random_state : int, RandomState instance or None, default=None
        Source for the binarizer and the Fourier features. The device has its own seed.
    verbose : int, default=0
        Above 0: progress of the default binarizer.

    Attributes
    ----------
    coef_ : ndarray of shape (n_components,) or (n_targets, n_components)
        Weights of the features; for "precomputed", ``dual_coef_`` instead, of shape
        (n_samples,) or (n_samples, n_targets).
    intercept_ : float or ndarray of shape (n_targets,)
        b; zero without intercept.
    kernel_ : str
        What was done: "opu", "linear", "rbf" or "precomputed".
    binarizer_ : transformer or None
        The fitted binarizer; None if none was needed.
    features_ : transformer or None
        The fitted ``OPURandomFeatures`` or ``RBFSampler``; None if X was used as it is.
    alpha_ : float or ndarray of shape (n_targets,)
        The penalty used.
    loo_error_ : float
        Mean squared leave-one-out error at ``alpha_``; only with ``alpha="loo"``. If a
        supervised binarizer saw the same rows, it is too good.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X had any.

    See Also
    --------
    OPUKernelRidgeClassifier : The classifier.
    EndToEndOPURegressor : Trains binarizer, features and readout jointly.
    sklearn.kernel_ridge.KernelRidge : Exact kernels, no device.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu import OPUKernelRidge
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, size=(200, 10))
    >>> y = 1.0 * (X[:, 0] ^ X[:, 1]) + X[:, 2]
    >>> model = OPUKernelRidge(alpha=0.1).fit(X[:150], y[:150])
    >>> model.kernel_, round(model.score(X[150:], y[150:]), 2)
    ('opu', 1.0)
    """

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; a kernel matrix of shape (n_samples, n_samples) for "precomputed".
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        self._resolve_kernel(X)
        X, y = self._validate(X, y, multi_output=True, y_numeric=True)
        y = y.astype(np.float64)
        self._fit(X, y, y.reshape(len(y), -1), check_weights(sample_weight, X))
        self._flat = y.ndim == 1
        self._publish(self._flat)
        return self

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; for "precomputed" the kernel with the rows seen in ``fit``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        decision = self._decision(X)
        return decision[:, 0] if self._flat else decision


class OPUKernelRidgeClassifier(ClassifierMixin, _OPURidge):
    r"""Classifier by ridge regression with the kernel of an Optical Processing Unit.

    Labels become targets -1 and 1, one column for each class if there are more than two, and
    :class:`OPUKernelRidge` is fitted to them; the largest output wins, as in
    :class:`~sklearn.linear_model.RidgeClassifier`.

    Parameters
    ----------
    alpha : float or "loo", default=1
        Penalty; "loo": the best of 41 by exact leave-one-out squared error.
    kernel : {"auto", "opu", "linear", "rbf", "precomputed"}, default="auto"
        As in :class:`OPUKernelRidge`.
    gamma : float or None, default=None
        As in :class:`OPUKernelRidge`.
    n_components : int, default=1024
        D, number of random features, for "opu" and "rbf".
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device, for "opu".
    binarizer : transformer or None, default=None
        Makes codes of real X, for "opu"; None: a ``SupervisedBinarizer`` trained with
        cross-entropy on the same device.
    fit_intercept : bool, default=True
        Whether to fit an intercept, unpenalised.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied with those of the rows. "balanced": inverse to their
        frequencies.
    random_state : int, RandomState instance or None, default=None
        Source for the binarizer and the Fourier features.
    verbose : int, default=0
        Above 0: progress of the default binarizer.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_components) or (n_classes, n_components)
        Weights of the features; for "precomputed", ``dual_coef_`` instead, of shape
        (n_samples, 1) or (n_samples, n_classes).
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    kernel_, binarizer_, features_, alpha_, loo_error_
        As in :class:`OPUKernelRidge`.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X had any.

    See Also
    --------
    OPUKernelRidge : The regressor.
    EndToEndOPUClassifier : Trains binarizer, features and readout jointly; has probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu import OPUKernelRidgeClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, size=(200, 10))
    >>> y = np.where(X[:, 0] ^ X[:, 1], "odd", "even")
    >>> model = OPUKernelRidgeClassifier(alpha=0.1).fit(X[:150], y[:150])
    >>> round(model.score(X[150:], y[150:]), 2)
    1.0
    """

    _parameter_constraints = {
        **_OPURidge._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"loo"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
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
        class_weight=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            alpha,
            kernel=kernel,
            gamma=gamma,
            n_components=n_components,
            opu=opu,
            binarizer=binarizer,
            fit_intercept=fit_intercept,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; a kernel matrix of shape (n_samples, n_samples) for "precomputed".
        y : array-like of shape (n_samples,)
            Labels, of two classes or more.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        self._resolve_kernel(X)
        X, y = self._validate(X, y)
        check_classification_targets(y)
        weights = check_weights(sample_weight, X)
        self.classes_, codes = np.unique(y, return_inverse=True)
        check_several_classes(np.unique(y[weights > 0]))
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        self._fit(X, codes, signed_targets(codes, len(self.classes_)), weights)
        self._publish(flat=False)
        return self

    def decision_function(self, X):
        """Return the outputs of the readout.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; for "precomputed" the kernel with the rows seen in ``fit``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, positive for ``classes_[1]``.
        """
        decision = self._decision(X)
        return decision[:, 0] if decision.shape[1] == 1 else decision

    def predict(self, X):
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; for "precomputed" the kernel with the rows seen in ``fit``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        scores = self.decision_function(X)
        winners = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[winners]


def signed_targets(codes, n_classes):
    """Targets of -1 and 1 for class numbers: one column for two classes, else one a class."""
    targets = np.where(codes[:, None] == np.arange(n_classes), 1.0, -1.0)
    return targets[:, 1:] if n_classes == 2 else targets
