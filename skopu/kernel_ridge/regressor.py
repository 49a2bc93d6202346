"""Kernel ridge regression with the kernel of an Optical Processing Unit."""

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

from skopu._core.dask import is_dask
from skopu._core.validation import check_weights, fit_context
from skopu.kernel_ridge.base import OPURidge, adds, streams


class OPUKernelRidge(MultiOutputMixin, RegressorMixin, OPURidge):
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
    alpha : float, array-like of shape (n_targets,), "loo" or "gcv", default=1
        Penalty, one for all targets or one for each. "loo": the best of 41 penalties from 1e-9
        to 10 times the mean squared norm of the centred features, by exact leave-one-out error
        from one factorisation and a second pass over the rows. "gcv": by generalised
        cross-validation, which gives every row the mean leverage and needs no second pass.
    alphas : array-like of shape (n_alphas,) or None, default=None
        Penalties that "loo" and "gcv" try; None: the 41 above.
    kernel : {"auto", "opu", "linear", "rbf", "precomputed"}, default="auto"
        "opu": binary X (all values 0 or 1) is projected as it is, any other X goes through
        ``binarizer`` first. "linear": X is a matrix of features already. "auto": "linear" if X
        is the output of ``OPURandomFeatures``, which says so by its type (or by the names of its
        columns in a data frame), otherwise "opu": behind a ``FeatureUnion``, a scaler or a
        ``BaggingRegressor``, which make plain arrays of it, say "linear". "rbf": random
        Fourier features. "precomputed": X is a kernel matrix, solved exactly in the dual.
    gamma : float or None, default=None
        "opu": the features are multiplied by ``gamma**2``; None is 1. "rbf":
        :math:`\exp(-\gamma\|x - y\|^2)`; None is 1 / n_features. Ignored otherwise.
    n_components : int, default=1024
        D, number of random features, for "opu" and "rbf".
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device, for "opu".
    binarizer : transformer or None, default=None
        Makes codes of real X, for "opu". None: a ``SupervisedBinarizer``. Settable before it
        exists: ``set_params(binarizer__n_bits=32)``. A supervised one is trained on the device
        and the number of components given here, in place of its own.
    fit_intercept : bool, default=True
        Whether to fit b, unpenalised. ``KernelRidge`` has none.
    gram : {"float64", "float32", "int7"}, default="float64"
        Arithmetic of the products of features, from fast and exact to faster: see the user
        guide for what it does to the error. Sums over chunks and the solution are in float64
        always.
    chunk_size : int or None, default=None
        Rows whose features are in memory at a time. None: as many as fit into
        ``sklearn.get_config()["working_memory"]``, and no more than 16384.
    random_state : int, RandomState instance or None, default=None
        Source for the binarizer and the Fourier features. The device has its own seed.
    verbose : int, default=0
        Above 0: progress of the sums, and of the default binarizer.

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
        Mean squared leave-one-out error at ``alpha_``, or its approximation; only with
        ``alpha="loo"`` or "gcv". If a supervised binarizer saw the same rows, it is too good.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X had any.

    Notes
    -----
    ``fit`` keeps D x D numbers and the features of one chunk, whatever the number of rows (the
    features of all, if there are fewer rows than features): X may be a ``numpy.memmap``, and
    a ``dask.array`` is summed where its blocks are. Rows that come in chunks are fitted by
    ``fit_chunks``, or as they come by ``partial_fit``; the sums then stay with the model, and in
    its pickles. With "loo" and "gcv" in ``fit``, equal rows are left out together; in chunks
    and blocks each for itself.

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
        if is_dask(X):
            return self._fit_blocks(X, y, sample_weight)
        self._resolve_kernel(X)
        self._fit(*self._check_rows(X, y, sample_weight, reset=True))
        self._publish()
        return self

    @available_if(adds)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Add rows to those of earlier calls, and solve again.

        The first call decides what kind of input comes and trains the binarizer, where one is
        needed; later calls use it. Rows given to ``fit_chunks``, or to ``fit`` as dask arrays,
        count as earlier calls; after any other ``fit``, which keeps no sums, the first call
        begins anew. Not for ``kernel="precomputed"``, and not for ``alpha="loo"``, which takes a
        second pass over the rows: "gcv" does not.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        return self._fit_part(X, y, sample_weight)

    @available_if(streams)
    @fit_context(prefer_skip_nested_validation=True)
    def fit_chunks(self, chunks):
        """Fit the model to chunks of rows, one in memory at a time, and solve once.

        Chunks need not fit the features' memory: long ones are cut. The first one decides
        what kind of input comes and trains the binarizer, where one is needed. An interruption
        (Ctrl-C) solves from the rows seen so far, with an ``InterruptedFitWarning``.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight), or callable
            Rows, targets, and weights if any. A callable without arguments returns such an
            iterable each time. ``alpha="loo"`` reads the chunks twice, so it takes a callable
            or a container; an iterator will do for the rest.

        Returns
        -------
        self : object
        """
        return self._fit_chunks(chunks)

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
        if is_dask(X):
            n_columns = None if self._flat else len(self.intercept_)
            return self._lazily("predict", X, n_columns, np.empty(0 if self._flat else (0, 0)))
        decision = self._decision(X)
        return decision[:, 0] if self._flat else decision

    def _fit_last(self, Phi, Y, is_single, weights):
        """Fit as the last step of a model, to its features of distinct rows."""
        self._flat = is_single
        self._fit_ready(Phi, Y, weights)

    def _check_rows(self, X, y, sample_weight, reset):
        """Return validated X, y, targets (n, q) and weights."""
        X, y = self._validate(X, y, reset=reset, multi_output=True, y_numeric=True)
        y = y.astype(np.float64)
        if reset:
            self._flat = y.ndim == 1
        return X, y, y.reshape(len(y), -1), check_weights(sample_weight, X)
