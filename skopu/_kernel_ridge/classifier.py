"""Classification by ridge regression with the kernel of an Optical Processing Unit."""

from numbers import Real

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from skopu._kernel_ridge.base import OPURidge
from skopu._targets import check_several_classes, signed_targets
from skopu._validation import Interval, StrOptions, check_weights, fit_context


class OPUKernelRidgeClassifier(ClassifierMixin, OPURidge):
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
        Makes codes of real X, for "opu", as in :class:`OPUKernelRidge`. None: a
        ``SupervisedBinarizer`` trained with cross-entropy.
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
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
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
        **OPURidge._parameter_constraints,
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
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        if (weights < 0).any():
            raise ValueError(f"class_weight must not be negative, got {self.class_weight}.")
        check_several_classes(np.unique(y[weights > 0]))
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
