"""Binarizer, features and readout trained jointly."""

from numbers import Integral

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skopu import ridge
from skopu._binarizer import SupervisedBinarizer
from skopu._features import OPUFeatures, OPURandomFeatures
from skopu._kernel_ridge import OPUKernelRidge, OPUKernelRidgeClassifier, signed_targets
from skopu._parts import PartsMixin
from skopu._random import dither, draw_seeds
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
from skopu.devices import resolve_device
from skopu.exceptions import IncompatiblePartsError

_CHUNK_ROWS = 4096


class _EndToEnd(PartsMixin, BaseEstimator):
    """What the regressor and the classifier share: joint training and the three predictions."""

    _part_names = ("binarizer", "features", "ridge")
    _parameter_constraints = {
        "binarizer": [HasMethods(["fit", "bit_probabilities"]), None],
        "features": [HasMethods(["fit", "transform", "expectation"]), None],
        "ridge": [HasMethods(["fit", "predict"]), None],
        "prediction": [StrOptions({"draws", "threshold", "mean"})],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        binarizer=None,
        features=None,
        ridge=None,
        *,
        prediction="draws",
        n_draws=10,
        random_state=None,
        verbose=0,
    ):
        self.binarizer = binarizer
        self.features = features
        self.ridge = ridge
        self.prediction = prediction
        self.n_draws = n_draws
        self.random_state = random_state
        self.verbose = verbose

    def _make_part(self, name):
        if name == "binarizer":
            return SupervisedBinarizer()
        if name == "ridge":
            return self._ridge_class(alpha="loo", kernel="linear")
        if self.binarizer is None:
            return OPURandomFeatures()
        # Features follow a binarizer given alone, otherwise it follows them.
        return OPURandomFeatures(self.binarizer.n_components, opu=self.binarizer.opu)

    def _part(self, name):
        given = getattr(self, name)
        return self._make_part(name) if given is None else clone(given)

    def _fit_parts(self, X, checked, targets, labels, weights):
        """Set the fitted parts; return what the ridge was fitted to.

        X is as the user gave it: the binarizer validates it again and learns the names of its
        columns. ``targets`` is what the encoder learns from, ``labels`` what the ridge is
        fitted to. Returns the features of the distinct rows, where these stand in X, and
        their weights: leaving one out must leave out its repetitions.
        """
        matrix = targets.reshape(len(targets), -1).astype(np.float64)
        *_, row_weights, kept = merge_repeated_rows(checked, matrix, weights)
        binarizer, features = self._part("binarizer"), self._part("features")
        seed, dither_seed = draw_seeds(self.random_state, 2)
        device = resolve_device(features.opu, binarizer.n_bits, features.n_components)
        self._check_device(device)
        learns = isinstance(features.gamma, str)
        popcount = features.form == "centered"
        binarizer.set_params(
            n_components=max(1, features.n_components - popcount),
            opu=device,
            loss=self._loss,
            verbose=max(self.verbose, binarizer.verbose),
        )
        if learns:
            binarizer.set_params(learn_gamma=features.gamma_per)
        if binarizer.random_state is None:
            binarizer.set_params(random_state=seed)
        self.binarizer_ = binarizer.fit(X, targets, sample_weight=weights)
        self.thresholds_ = dither(self.n_draws, binarizer.n_bits, dither_seed)
        gamma = features.gamma
        if learns:
            gamma = self.binarizer_.gamma_
            gamma = gamma if np.ndim(gamma) == 0 or popcount else gamma[:-1]
        probabilities = self.binarizer_.bit_probabilities(X)[kept]
        # Without a gamma to learn, fitting the features looks at the number of bits only.
        self.features_ = features.set_params(gamma=gamma, binarize=None, opu=device)
        self.features_.fit(np.zeros((1, binarizer.n_bits), dtype=np.uint8))
        n_passes = self.features_.opu_.n_passes
        Phi = self._mean_features(probabilities)
        self.ridge_ = self._part("ridge").set_params(kernel="linear")
        self.ridge_.fit(Phi, labels[kept], sample_weight=row_weights)
        self.n_passes_ = self.binarizer_.n_passes_ + self.features_.opu_.n_passes - n_passes
        self.n_iter_, self.history_ = self.binarizer_.n_iter_, self.binarizer_.history_
        return Phi, kept, row_weights

    def _check_device(self, device):
        if self.prediction == "mean" and not device.known_matrix:
            raise IncompatiblePartsError(
                f"prediction='mean' needs the matrix of the device, and that of "
                f"{type(device).__name__} is unknown: use prediction='draws' or 'threshold'."
            )

    def _mean_features(self, probabilities):
        """Features (n, D) that the readout sees, from bit probabilities (n, k)."""
        if self.prediction == "mean":
            self._check_device(self.features_.opu_)
            return self.features_.expectation(probabilities)
        thresholds = np.full((1, 1), 0.5) if self.prediction == "threshold" else self.thresholds_
        total = np.zeros((len(probabilities), self.features_.n_components), dtype=np.float32)
        for threshold in thresholds:
            codes = (probabilities > threshold).view(np.uint8)
            total += np.asarray(self.features_.transform(codes))
        total /= len(thresholds)
        return total.view(OPUFeatures)

    def _readout(self, X, method):
        """Apply a method of the readout to the features of X, a chunk of rows at a time."""
        check_is_fitted(self)
        apply = getattr(self.ridge_, method)
        probabilities = self.binarizer_.bit_probabilities(X)
        chunks = gen_batches(len(probabilities), _CHUNK_ROWS)
        return np.concatenate([apply(self._mean_features(probabilities[c])) for c in chunks])

    def to_pipeline(self):
        """Return the fitted parts as a pipeline of one pass per row.

        Returns
        -------
        pipeline : Pipeline
            Steps "binarizer", "features" and "ridge", already fitted. Its ``predict`` is
            that of ``prediction="threshold"``, to the last bit.
        """
        check_is_fitted(self)
        parts = ("binarizer", "features", "ridge")
        return Pipeline([(name, getattr(self, f"{name}_")) for name in parts])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class EndToEndOPURegressor(MultiOutputMixin, RegressorMixin, _EndToEnd):
    r"""Regression with codes, OPU features and readout trained jointly.

    Trains the encoder of :class:`SupervisedBinarizer` with a readout through the device
    (equation 6 of [1]_, or equation 10 with ``binarizer__objective="isolated"``), then refits
    the readout by ridge on the features that prediction will use.

    Parameters
    ----------
    binarizer : SupervisedBinarizer or None, default=None
        Holds the settings of the training; None: the defaults. Nested parameters can be set
        at once: ``EndToEndOPURegressor().set_params(binarizer__n_bits=32)``. Its ``opu``,
        ``n_components`` and ``loss`` are replaced by those that the other parts imply.
    features : OPURandomFeatures or None, default=None
        Holds device, number and form of the features, for training and prediction;
        ``gamma="learn"`` is learned jointly with the encoder. None: device and number of
        components are taken from ``binarizer``.
    ridge : OPUKernelRidge or None, default=None
        The final readout; None: ``OPUKernelRidge(alpha="loo")``. Its kernel is set to "linear".
    prediction : {"draws", "threshold", "mean"}, default="draws"
        What the readout is fitted to and predicts from: the average of the features of
        ``n_draws`` seeded draws of the codes; those of the most probable code, one pass; or the
        expected features in closed form, without any pass, where the device's matrix is known.
    n_draws : int, default=10
        S, draws a row, for "draws". The thresholds are the same for every row and stratified
        over the draws, so a row's prediction does not depend on the rows beside it.
    random_state : int, RandomState instance or None, default=None
        Source of training (where ``binarizer`` has none of its own) and of the draws.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    binarizer_ : SupervisedBinarizer
        The fitted encoder.
    features_ : OPURandomFeatures
        The fitted features.
    ridge_ : OPUKernelRidge
        The fitted readout.
    thresholds_ : ndarray of shape (n_draws, n_bits)
        A bit of draw s is 1 where its probability exceeds ``thresholds_[s]``.
    n_iter_ : int
        Minibatches done.
    n_passes_ : int
        Codes that went through the device during ``fit``.
    history_ : dict of lists
        As in :class:`SupervisedBinarizer`.
    n_features_in_ : int
        Number of features d seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X had any.

    See Also
    --------
    EndToEndOPUClassifier : The classifier.
    OPUKernelRidge : Drop-in for ``KernelRidge``; one pass a row.
    ConvergenceDisplay : Draws the training.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import EndToEndOPURegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> model = EndToEndOPURegressor(random_state=0)
    >>> model.set_params(binarizer__n_bits=16, binarizer__max_iter=100).fit(X, y)
    EndToEndOPURegressor(binarizer=SupervisedBinarizer(max_iter=100, n_bits=16),
                         random_state=0)
    >>> bool(model.score(X_test, y_test) > 0.2)
    True
    >>> model.to_pipeline().predict(X_test).shape
    (111,)
    """

    _loss = "squared_error"
    _ridge_class = OPUKernelRidge

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train encoder and readout, then refit the readout.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        checked, y = validate_data(
            self, X, y, accept_sparse="csr", dtype="numeric", multi_output=True, y_numeric=True
        )
        y = y.astype(np.float64)
        self._fit_parts(X, checked, y, y, check_weights(sample_weight, checked))
        return self

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        return self._readout(X, "predict")


class EndToEndOPUClassifier(ClassifierMixin, _EndToEnd):
    r"""Classification with codes, OPU features and readout trained jointly.

    Trains the encoder of :class:`SupervisedBinarizer` with a softmax readout through the
    device by cross-entropy (equation 6 of [1]_), then refits the readout by ridge on targets
    -1 and 1. Probabilities are the softmax (for two classes the sigmoid) of the ridge scores
    times one factor, fitted to the scores of rows left out of the ridge.

    Parameters
    ----------
    binarizer : SupervisedBinarizer or None, default=None
        Holds the settings of the training; see :class:`EndToEndOPURegressor`.
    features : OPURandomFeatures or None, default=None
        Holds device, number and form of the features.
    ridge : OPUKernelRidgeClassifier or None, default=None
        The final readout; None: ``OPUKernelRidgeClassifier(alpha="loo")``.
    prediction : {"draws", "threshold", "mean"}, default="draws"
        What the readout is fitted to and predicts from; see :class:`EndToEndOPURegressor`.
    n_draws : int, default=10
        S, draws a row, for "draws".
    random_state : int, RandomState instance or None, default=None
        Source of training and of the draws.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    temperature_ : float
        The factor that makes probabilities of scores.
    binarizer_, features_, ridge_, thresholds_, n_iter_, n_passes_, history_
        As in :class:`EndToEndOPURegressor`.
    n_features_in_ : int
        Number of features d seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X had any.

    See Also
    --------
    EndToEndOPURegressor : The regressor.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import EndToEndOPUClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    >>> model = EndToEndOPUClassifier(random_state=0)
    >>> model = model.set_params(binarizer__n_bits=16, binarizer__max_iter=100).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    >>> model.predict_proba(X_test).shape
    (143, 2)
    """

    _loss = "cross_entropy"
    _ridge_class = OPUKernelRidgeClassifier

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train encoder and readout, then refit the readout.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels, of two classes or more.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        checked, y = validate_data(self, X, y, accept_sparse="csr", dtype="numeric")
        check_classification_targets(y)
        weights = check_weights(sample_weight, checked)
        check_several_classes(np.unique(y[weights > 0]))
        self.classes_, codes = np.unique(y, return_inverse=True)
        Phi, kept, row_weights = self._fit_parts(X, checked, codes, y, weights)
        choice = ridge.loo_features(
            np.asarray(Phi),
            signed_targets(codes[kept], len(self.classes_)),
            row_weights,
            self.ridge_.fit_intercept,
            alphas=[self.ridge_.alpha_],
        )
        self.temperature_ = _fit_temperature(choice.predictions, codes[kept], row_weights)
        return self

    def decision_function(self, X):
        """Return the scores of the ridge readout.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, positive for ``classes_[1]``.
        """
        return self._readout(X, "decision_function")

    def predict(self, X):
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        return self._readout(X, "predict")

    def predict_proba(self, X):
        """Predict probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        decision = self.decision_function(X)
        scores = self.temperature_ * decision
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)


def _fit_temperature(scores, codes, weights):
    """Factor of the scores (n, q) that minimises the log loss of the class numbers (n,)."""
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])

    def log_loss(log_factor):
        log_proba = log_softmax(np.exp(log_factor) * scores, axis=1)
        return -np.average(log_proba[np.arange(len(codes)), codes], weights=weights)

    return float(np.exp(minimize_scalar(log_loss, bounds=(-5, 5), method="bounded").x))
