"""Classification by ridge regression with the kernel of an Optical Processing Unit."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Self

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from skopu._core.classification import ScoringClassifier
from skopu._core.dask import count_labels, is_dask, merge_counts
from skopu._core.fitting import whole
from skopu._core.places import to_host
from skopu._core.targets import check_several_classes, signed_targets
from skopu._core.validation import Interval, StrOptions, check_weights, fit_context
from skopu.kernel_ridge.alpha import CHOICES
from skopu.kernel_ridge.base import OPURidge
from skopu.kernel_ridge.chunks import can_stream, fit_blocks, fit_chunks, fit_part, solve_again
from skopu.kernel_ridge.sums import reader
from skopu.kernel_ridge.unsolved import keeping_rows


@dataclass(eq=False, repr=False)
class OPUKernelRidgeClassifier(ScoringClassifier, OPURidge):
    r"""Classifier by ridge regression with the kernel of an Optical Processing Unit.

    Labels become targets -1 and 1, one column for each class if there are more than two, and
    :class:`OPUKernelRidge` is fitted to them; the largest output wins, as in
    :class:`~sklearn.linear_model.RidgeClassifier`.

    Parameters
    ----------
    alpha : float, "loo" or "gcv", default="loo"
        Ridge penalty; "loo": the best of 41 by exact leave-one-out squared error; "gcv": by
        generalised cross-validation, as in :class:`OPUKernelRidge`.
    alphas : array-like of shape (n_alphas,) or None, default=None
        What "loo" and "gcv" try; None: the 41 above.
    kernel : str or callable, default="auto"
        As in :class:`OPUKernelRidge`.
    gamma : float or None, default=None
        As in :class:`OPUKernelRidge`.
    degree : float, default=3
        Of "poly".
    coef0 : float, default=1
        Of "poly" and "sigmoid".
    kernel_params : dict or None, default=None
        Keyword arguments of a callable kernel.
    kernel_approximation : {"auto", "fourier"} or None, default="auto"
        As in :class:`OPUKernelRidge`.
    n_components : int, default=1024
        D, number of random features, for "opu" and "fourier".
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device, for "opu".
    binarizer : transformer or None, default=None
        Makes codes of real X, for "opu", as in :class:`OPUKernelRidge`. None: a
        ``SupervisedBinarizer`` trained with cross-entropy.
    fit_intercept : bool, default=True
        Whether to fit an intercept, unpenalised.
    gram : {"auto", "float64", "float32", "tf32", "int7"}, default="auto"
        As in :class:`OPUKernelRidge`.
    chunk_size : int or None, default=None
        As in :class:`OPUKernelRidge`.
    torch_device : str, default="cpu"
        As in :class:`OPUKernelRidge`; labels and scores are numpy arrays, also of tensors.
    random_state : int, RandomState instance or None, default=None
        Source for the binarizer and the Fourier features.
    verbose : int, default=0
        Above 0: progress of the sums, and of the default binarizer.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied with those of the rows. "balanced": inverse to the
        sums of weights of their rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of rows with a weight above zero, or those given, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights of the columns, for "linear".
    readout_coef_ : ndarray of shape (1, n_components) or (n_classes, n_components)
        Weights of the random features, for "opu" and "fourier".
    dual_coef_ : ndarray of shape (n_samples, 1) or (n_samples, n_classes)
        Weights of the fitted rows, for kernels solved in the dual.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    feature_importances_, X_fit_, kernel_, kernel_approximation_, binarizer_, features_
        As in :class:`OPUKernelRidge`.
    alpha_, loo_error_
        As in :class:`OPUKernelRidge`.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

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
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions(CHOICES)],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _maps_blocks = True

    _: KW_ONLY
    class_weight: object = None

    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def fit(self, X, y, sample_weight=None) -> Self:
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
        if is_dask(X):
            self._set_classes(*count_labels(y, sample_weight))
            fit_blocks(self, X, y, sample_weight)
        else:
            self._resolve_kernel(X)
            X, y, weights = self._check_labels(X, y, sample_weight, reset=True)
            self._set_classes(*count_labels(y, weights))
            self._fit(X, *self._code(y, weights))
        return self

    @available_if(can_stream)
    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def partial_fit(self, X, y, classes=None, sample_weight=None) -> Self:
        """Add rows to those of earlier calls, and solve again.

        As :meth:`OPUKernelRidge.partial_fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will come; needed in the first call.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        if not hasattr(self, "_equations_"):
            classes = getattr(self, "classes_", None) if classes is None else classes
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._set_classes(np.unique(classes))
        fit_part(self, X, y, sample_weight)
        return self

    @available_if(can_stream)
    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def fit_chunks(self, chunks, classes=None) -> Self:
        """Fit the model to chunks of rows, one in memory at a time, and solve once.

        As :meth:`OPUKernelRidge.fit_chunks`.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight), or callable
            Rows, labels, and weights if any; a callable returns such an iterable.
        classes : array-like of shape (n_classes,), default=None
            All labels that will come. None: they are looked for in a pass of its own, which
            an iterator does not have.

        Returns
        -------
        self : object
        """
        if classes is None:
            make_chunks, repeats = reader(chunks)
            if not repeats:
                raise ValueError(
                    "classes must be given with an iterator, which can be read only once: pass "
                    "them, or a list or a function that returns a new iterator."
                )
            self._set_classes(*merge_counts([count_labels(*chunk[1:]) for chunk in make_chunks()]))
        else:
            self._set_classes(np.unique(classes))
        fit_chunks(self, chunks)
        return self

    @available_if(can_stream)
    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def solve(self) -> Self:
        """Solve from what was read of the rows, without them.

        As :meth:`OPUKernelRidge.solve`.

        Returns
        -------
        self : object
        """
        solve_again(self)
        return self

    def _outputs(self, X):
        return to_host(self._decision(X))

    def _check_rows(self, X, y, sample_weight, reset):
        """Return validated X, class numbers, targets (n, q) and weights."""
        X, y, weights = self._check_labels(X, y, sample_weight, reset)
        return X, *self._code(y, weights)

    def _check_labels(self, X, y, sample_weight, reset):
        X, y = self._validate(X, y, reset=reset)
        check_classification_targets(y)
        return X, y, check_weights(sample_weight, X)

    def _code(self, y, weights):
        """Return class numbers, targets (n, q), and weights times those of the classes."""
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = (self.classes_[numbers] != y) & (weights > 0)
        if unknown.any():
            raise ValueError(
                f"y holds label(s) that are not among the classes {self.classes_.tolist()}, such "
                f"as {y[unknown].tolist()[0]!r}: name all of them in classes."
            )
        weights = weights * self._class_weights_[numbers]
        return numbers, signed_targets(numbers, len(self.classes_)), weights

    def _fit_first(self, X, numbers, weights):
        """Fit what makes features to a first chunk; if it fails, say what may be missing in it."""
        try:
            super()._fit_first(X, numbers, weights)
        except ValueError as error:
            present = self.classes_[np.unique(numbers)].tolist()
            if len(present) > 1:
                raise
            raise ValueError(
                f"the first chunk (of the first call) holds one class only, {present[0]!r}, and "
                "the binarizer is trained on it: give rows of several classes first, for example "
                "by shuffling them, or codes that a binarizer fitted before has made."
            ) from error

    def _fit_last(self, Phi, codes, classes, weights):
        """Fit as the last step of a model, to its features of distinct rows.

        Returns
        -------
        scores : ndarray of shape (m, q)
            Each row's, by a readout that has not seen it.
        codes : ndarray of shape (m,)
        weights : ndarray of shape (m,)
            Those of the classes included, which may have left rows out.
        """
        self._set_classes(classes, np.bincount(codes, weights))
        weights = weights * self._class_weights_[codes]
        kept = weights > 0
        codes, weights = codes[kept], weights[kept]
        targets = signed_targets(codes, len(classes))
        return self._fit_leaving_out(Phi[kept], targets, weights), codes, weights

    def _set_classes(self, classes, sums=None):
        """Store the sorted labels and the weight of each; ``sums`` of weights for "balanced"."""
        check_several_classes(classes)
        self.classes_, self._is_flat_ = classes, False
        self._class_weights_ = np.ones(len(classes))
        if self.class_weight == "balanced":
            if sums is None:
                raise ValueError(
                    "class_weight='balanced' takes the counts of all labels, which are not "
                    "known yet: pass a dict of weights, or no classes and chunks that can be "
                    "read twice."
                )
            self._class_weights_ = sums.sum() / (len(classes) * sums)
        elif self.class_weight is not None:
            self._class_weights_ = compute_class_weight(
                self.class_weight, classes=classes, y=classes
            )
        if (self._class_weights_ < 0).any():
            raise ValueError(f"class_weight must not be negative, got {self.class_weight}.")
        check_several_classes(classes[self._class_weights_ > 0])
