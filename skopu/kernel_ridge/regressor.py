"""Kernel ridge regression with the kernel of an Optical Processing Unit."""

from dataclasses import KW_ONLY, dataclass
from typing import Self

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skopu._core.dask import is_dask, map_rows
from skopu._core.estimation import in_precision_of
from skopu._core.fitting import whole
from skopu._core.targets import as_columns
from skopu._core.validation import check_weights, fit_context
from skopu.kernel_ridge.base import OPURidge
from skopu.kernel_ridge.chunks import can_stream, fit_blocks, fit_chunks, fit_part, solve_again
from skopu.kernel_ridge.unsolved import keeping_rows


@dataclass(eq=False, repr=False)
class OPUKernelRidge(MultiOutputMixin, RegressorMixin, OPURidge):
    r"""Kernel ridge regression with the kernel of an Optical Processing Unit, or any other.

    Minimises

    .. math:: \sum_i w_i \|y_i - b - W^\top \phi(x_i)\|^2 + \alpha \|W\|^2

    (equation 2 of [1]_, without its factor 1/2). By default :math:`\phi` are OPU features, so
    that the model approximates kernel ridge regression with
    :math:`k(x, y) = \gamma^4(\|x\|^2\|y\|^2 + (x^\top y)^2)` on binary codes, in memory of order
    n D instead of n^2; in a pipeline behind ``OPURandomFeatures`` it is the linear readout. With
    a kernel of scikit-learn it takes the place of :class:`~sklearn.kernel_ridge.KernelRidge`: the
    same exact solution in the dual, with an intercept and a chosen alpha besides
    (``OPUKernelRidge(1, kernel="rbf", kernel_approximation=None, fit_intercept=False)`` is
    ``KernelRidge(1, kernel="rbf")``; the user guide compares them name by name).

    Parameters
    ----------
    alpha : float, array-like of shape (n_targets,), "loo" or "gcv", default="loo"
        Ridge penalty, one for all targets or one for each; its scale is that of the kernel. "loo":
        the best of 41 from 1e-9 to 10 times the mean squared norm of the centred
        features, by exact leave-one-out error from one factorisation and, for features, a second
        pass over the rows. "gcv": by generalised cross-validation, which gives every row the
        mean leverage and needs no second pass; rows that cannot be read twice are judged so for
        "loo" too.
    alphas : array-like of shape (n_alphas,) or None, default=None
        What "loo" and "gcv" try; None: the 41 above.
    kernel : str or callable, default="auto"
        - "opu": binary X (all values 0 or 1) is projected as it is, any other X goes through
          ``binarizer`` first.
        - "linear": X is a matrix of features already.
        - "auto": "linear" if X is the output of ``OPURandomFeatures``, which says so by its type
          (or by the names of its columns in a data frame), otherwise "opu". Behind a
          ``FeatureUnion``, a scaler or a ``BaggingRegressor``, which make plain arrays of it,
          say "linear"; what looks like such features is warned of.
        - any other name that :func:`~sklearn.metrics.pairwise.pairwise_kernels` knows: "rbf",
          "laplacian", "poly", "polynomial", "sigmoid", "cosine", "chi2", "additive_chi2". Exact,
          in the dual: n^2 numbers in memory, n^3 operations.
        - a callable: :func:`~skopu.opu_kernel`, a Gaussian process kernel such as
          :class:`~skopu.OPUKernel` or a function of two rows, which is called for every pair.
        - "precomputed": X is a kernel matrix.
    gamma : float or None, default=None
        "opu": the features are multiplied by ``gamma**2``; None is 1. Other names: their gamma,
        for "rbf" in :math:`\exp(-\gamma\|x - y\|^2)`; None is 1 / n_features, for "chi2" 1.
    degree : float, default=3
        Of "poly".
    coef0 : float, default=1
        Of "poly" and "sigmoid".
    kernel_params : dict or None, default=None
        Keyword arguments of a callable kernel.
    kernel_approximation : {"auto", "fourier"} or None, default="auto"
        For "rbf". None: the exact kernel. "fourier": ``n_components`` random Fourier features.
        "auto": exact up to 4096 rows, where it takes seconds; Fourier features for more, and in
        ``partial_fit``, ``fit_chunks`` and for dask arrays.
    n_components : int, default=1024
        D, number of random features, for "opu" and "fourier".
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device, for "opu".
    binarizer : transformer or None, default=None
        Makes codes of real X, for "opu". None: a ``SupervisedBinarizer``. Settable before it
        exists: ``set_params(binarizer__n_bits=32)``. A supervised one is trained on the device
        and the number of components given here, in place of its own.
    fit_intercept : bool, default=True
        Whether to fit b, unpenalised. ``KernelRidge`` has none.
    gram : {"auto", "float64", "float32", "tf32", "int7"}, default="auto"
        Arithmetic of the products of features, from fast and exact to faster: see the user
        guide for what it does to the error. Sums over chunks and the solution are in float64
        always. "auto" is "float64", and on a card "float32", in full. "tf32" rounds factors to 11
        bits, as cards do faster; elsewhere it is "float32". "int7" is "float32" on cards, and on
        processors that do not multiply bytes faster.
    chunk_size : int or None, default=None
        Rows whose features (or kernels with the fitted rows, in ``predict``) are in memory at a
        time. None: as many as fit into ``sklearn.get_config()["working_memory"]``, and no more
        than 16384; where a card's memory does not suffice, half of them, until it does.
    torch_device : str, default="cpu"
        Where features are projected and summed, and the system is solved: "cpu", "cuda",
        "cuda:1", or "auto", a graphics card where there is one. Torch tensors are worked on where
        they are, and predictions of a tensor are one. Kernels solved in the dual are the
        processor's; a default binarizer is trained on the device named here.
    random_state : int, RandomState instance or None, default=None
        Source for the binarizer and the Fourier features. The device has its own seed.
    verbose : int, default=0
        Above 0: progress of the sums, and of the default binarizer.

    compute_std : bool, default=False
        Whether ``fit`` keeps what ``predict(X, return_std=True)`` takes: an eigendecomposition, of
        n_components^2 numbers (or n_samples^2 in the dual).

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Weights of the columns, for "linear".
    readout_coef_ : ndarray of shape (n_components,) or (n_targets, n_components)
        Weights of the random features, for "opu" and "fourier".
    dual_coef_ : ndarray of shape (n_samples,) or (n_samples, n_targets)
        Weights of the fitted rows in their place, for kernels solved in the dual. With
        alpha chosen, a row that is repeated has the weight of all of them at its first place.
    X_fit_ : {ndarray, sparse matrix} of shape (n_samples, n_features)
        The fitted rows that predictions need, for kernels solved in the dual; not a copy. Absent
        for "precomputed".
    feature_importances_ : ndarray of shape (n_features,)
        Mean over training rows of the squared gradient of the prediction, in closed form: in
        standard deviations of the target for one of the (scaled) column, summed over targets. For
        "opu", of the mean prediction over codes of a supervised binarizer's probabilities, or of
        changing a bit of binary X; the device's matrix must be known. For "rbf" and "poly" too.
        Otherwise absent, as it is for rows that come in chunks.
    intercept_ : float or ndarray of shape (n_targets,)
        b; zero without intercept.
    kernel_ : str or callable
        The kernel used: "auto" is "opu" or "linear" by now.
    kernel_approximation_ : {"opu", "fourier"} or None
        Features of which kind stand for the kernel; None: it is exact.
    binarizer_ : transformer or None
        The fitted binarizer; None if none was needed.
    features_ : transformer or None
        The fitted ``OPURandomFeatures`` or ``RBFSampler``; None if X was used as it is.
    alpha_ : float or ndarray of shape (n_targets,)
        The one used.
    loo_error_ : float
        Mean squared leave-one-out error at ``alpha_``, or its approximation; only with
        ``alpha="loo"`` or "gcv". If a supervised binarizer saw the same rows, it is too good.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    Notes
    -----
    With features, ``fit`` keeps D x D numbers and the features of one chunk, whatever the number
    of rows (the features of all, if there are fewer rows than features): X may be a
    ``numpy.memmap``, and a ``dask.array`` is summed where its blocks are. Rows that come in chunks
    are fitted by ``fit_chunks``, or as they come by ``partial_fit``; the sums then stay with the
    model, and in its pickles. With "loo" and "gcv" in ``fit``, equal rows are left out together;
    in chunks and blocks each for itself, and for "precomputed" too.

    X may be a torch tensor, of codes or of features that :class:`OPURandomFeatures` made of a
    tensor: neither they nor the features leave the card; equal rows are left out each for itself.
    Fitted attributes are numpy arrays in any case. With dask, a worker a card does its share there.

    In the dual, ``fit`` holds one matrix of n^2 numbers, up to four while alpha is chosen;
    ``predict`` holds one chunk of the kernel with ``X_fit_``.

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
    >>> model = OPUKernelRidge(kernel="poly", degree=2).fit(X[:150], y[:150])
    >>> model.dual_coef_.shape, round(model.score(X[150:], y[150:]), 2)
    ((150,), 1.0)
    """

    _parameter_constraints = {**OPURidge._parameter_constraints, "compute_std": ["boolean"]}

    _: KW_ONLY
    compute_std: bool = False

    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def fit(self, X, y, sample_weight=None) -> Self:
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
            fit_blocks(self, X, y, sample_weight)
        else:
            self._resolve_kernel(X)
            self._fit(*self._check_rows(X, y, sample_weight, reset=True))
        return self

    @available_if(can_stream)
    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """Add rows to those of earlier calls, and solve again.

        The first call decides what kind of input comes and trains the binarizer, where one is
        needed; later calls use it. Rows given to ``fit_chunks``, or to ``fit`` as dask arrays,
        count as earlier calls; after any other ``fit``, which keeps no sums, the first call
        begins anew. Rows are seen once: ``alpha="loo"``, which takes a second pass over them, is
        chosen as "gcv" is. Not for kernels that are solved in the dual.

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
        fit_part(self, X, y, sample_weight)
        return self

    @available_if(can_stream)
    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def fit_chunks(self, chunks) -> Self:
        """Fit the model to chunks of rows, one in memory at a time, and solve once.

        Chunks need not fit the features' memory: long ones are cut. The first one decides
        what kind of input comes and trains the binarizer, where one is needed. An interruption
        (Ctrl-C) solves from the rows seen so far, with an ``InterruptedFitWarning``; whatever else
        ends it, what was summed is kept, see :meth:`solve`.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight), or callable
            Rows, targets, and weights if any. A callable without arguments returns such an
            iterable each time. ``alpha="loo"`` reads a callable or a container twice; for an
            iterator, which can be read once, it is chosen as "gcv" is.

        Returns
        -------
        self : object
        """
        fit_chunks(self, chunks)
        return self

    @available_if(can_stream)
    @fit_context(prefer_skip_nested_validation=True)
    @keeping_rows
    @whole
    def solve(self) -> Self:
        """Solve from what was read of the rows, without them.

        For a fit that did not end well, by Ctrl-C or an error while it was solved or while rows
        came: the sums of those that came stay with the estimator until a fit ends well. And for a
        model that keeps its sums, after ``fit_chunks``, ``partial_fit`` or a ``fit`` to dask
        arrays: of another ``alpha``, ``fit_intercept`` or ``compute_std``. "loo" is judged as "gcv"
        is, unless there were fewer rows than features. ``partial_fit`` adds others afterwards.

        Returns
        -------
        self : object

        Examples
        --------
        >>> import numpy as np
        >>> from skopu import OPUKernelRidge
        >>> X = np.random.default_rng(0).standard_normal((300, 4))
        >>> model = OPUKernelRidge(1.0, kernel="linear").fit_chunks([(X, X @ [1, 2, 3, 4])])
        >>> model.set_params(alpha=1e-9).solve().coef_.round(6)
        array([1., 2., 3., 4.])
        """
        solve_again(self)
        return self

    def predict(self, X, return_std=False):
        r"""Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; for "precomputed" the kernel with the rows seen in ``fit``.
        return_std : bool, default=False
            Whether to return the standard deviation of a new target too. The ridge is the mean of
            a Bayesian linear model of weights :math:`N(0, \sigma^2/\alpha)`, whose variance for
            a new target is :math:`\sigma^2 (1 + z^\top (Z^\top W Z + \alpha)^{-1} z)` with
            centred features z, plus that of the intercept; :math:`\sigma^2` comes from
            leave-one-out residuals (from generalised cross-validation for rows that come in
            chunks). It knows nothing of errors of the binarizer. Needs ``compute_std=True``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        std : ndarray of the same shape
            If ``return_std``.

        Raises
        ------
        ValueError
            With ``return_std``, if the fit was without ``compute_std``, for "precomputed", or for
            dask arrays.
        """
        if return_std:
            return self._predicted_with_std(X)
        if is_dask(X):
            check_is_fitted(self)
            n_columns = None if self._is_flat_ else len(self.intercept_)
            meta = np.empty(0 if self._is_flat_ else (0, 0))
            return map_rows(self, "predict", X, n_columns, meta)
        decision = self._decision(X)
        return in_precision_of(X, decision[:, 0] if self._is_flat_ else decision)

    def _predicted_with_std(self, X):
        if is_dask(X):
            raise ValueError("return_std=True takes rows in memory: predict block by block.")
        check_is_fitted(self)
        found = self._read_out_with_std(self._validate(X, reset=False))
        return tuple(part[:, 0] if self._is_flat_ else part for part in found)

    def _fit_last(self, Phi, Y, is_single, weights):
        """Fit as the last step of a model, to its features of distinct rows."""
        self._is_flat_ = is_single
        self._fit_ready(Phi, Y, weights)

    def _check_rows(self, X, y, sample_weight, reset):
        """Return validated X, y, targets (n, q) and weights."""
        X, y = self._validate(X, y, reset=reset, multi_output=True, y_numeric=True)
        y = y.astype(np.float64)
        if reset:
            self._is_flat_ = y.ndim == 1
        return X, y, as_columns(y), check_weights(sample_weight, X)
