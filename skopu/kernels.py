"""Closed form of the kernel that an Optical Processing Unit computes."""

import numpy as np
from scipy.sparse import issparse
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel
from sklearn.metrics.pairwise import check_pairwise_arrays
from sklearn.utils.extmath import row_norms, safe_sparse_dot


def opu_kernel(X, Y=None, gamma=1.0):
    r"""Kernel of OPU features in the limit of many components.

    .. math:: k(x, y) = \gamma^4 \left(\|x\|^2 \|y\|^2 + (x^\top y)^2\right)

    (equations 3 and 14 of [1]_, with :math:`\gamma^4 = 1/\sigma^4`). It is a function of the
    inner products alone, homogeneous of degree four, and defined for any real vectors, though
    a device can only display binary ones.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples_X, n_features)
        Rows. A single row of shape (n_features,) is accepted too and gives a number, as
        ``pairwise_kernels`` and ``KernelRidge`` ask of a callable kernel; they call it for
        every pair, so for speed pass ``kernel=OPUKernel()`` instead.
    Y : {array-like, sparse matrix} of shape (n_samples_Y, n_features), default=None
        Rows to compare with; None: X itself.
    gamma : float, default=1.0
        The features are multiplied by ``gamma**2``, so the kernel by ``gamma**4``.

    Returns
    -------
    K : ndarray of shape (n_samples_X, n_samples_Y), or float for two single rows
        float32 if both inputs are, else float64.

    See Also
    --------
    OPUKernel : The same kernel for Gaussian processes.
    OPURandomFeatures : Random features that approximate it.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu import opu_kernel
    >>> opu_kernel(np.array([[1.0, 0.0], [1.0, 1.0]]))
    array([[2., 3.],
           [3., 8.]])
    """
    if np.ndim(X) == 1 and Y is not None and np.ndim(Y) == 1:
        return float(opu_kernel(np.atleast_2d(X), np.atleast_2d(Y), gamma=gamma)[0, 0])
    X, Y = check_pairwise_arrays(X, Y)
    K = np.square(safe_sparse_dot(X, Y.T, dense_output=True))
    K += np.outer(row_norms(X, squared=True), row_norms(Y, squared=True))
    K *= gamma**4
    return K


class OPUKernel(Kernel):
    r"""OPU kernel for Gaussian processes.

    .. math:: k(x, y) = \gamma^4 \left(\|x\|^2 \|y\|^2 + (x^\top y)^2\right)

    (equation 14 of [1]_). Works wherever scikit-learn takes a Gaussian process kernel: in
    ``GaussianProcessRegressor``, in sums and products, in ``KernelRidge(kernel=OPUKernel())``
    and ``pairwise_kernels(metric=OPUKernel())``.

    Parameters
    ----------
    gamma : float, default=1.0
        Scale; optimised with the other hyperparameters, on a log scale.
    gamma_bounds : pair of floats > 0 or "fixed", default=(1e-5, 1e5)
        Its range in the optimisation.

    See Also
    --------
    opu_kernel : The function.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import WhiteKernel
    >>> from skopu import OPUKernel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, size=(40, 6))
    >>> y = X[:, 0] * X[:, 1] - X[:, 2] + 0.1 * rng.standard_normal(40)
    >>> gp = GaussianProcessRegressor(OPUKernel(0.5) + WhiteKernel(0.1), random_state=0)
    >>> bool(gp.fit(X[:30], y[:30]).score(X[30:], y[30:]) > 0.9)
    True
    """

    def __init__(self, gamma=1.0, gamma_bounds=(1e-5, 1e5)):
        self.gamma = gamma
        self.gamma_bounds = gamma_bounds

    @property
    def hyperparameter_gamma(self):
        """Name, type and bounds of gamma."""
        return Hyperparameter("gamma", "numeric", self.gamma_bounds)

    def __call__(self, X, Y=None, eval_gradient=False):
        """Return the kernel, and its gradient with respect to log(gamma) if asked.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples_X, n_features)
            Rows.
        Y : {array-like, sparse matrix} of shape (n_samples_Y, n_features), default=None
            Rows to compare with; None: X itself.
        eval_gradient : bool, default=False
            Whether to return the gradient too; needs ``Y=None``.

        Returns
        -------
        K : ndarray of shape (n_samples_X, n_samples_Y)
        K_gradient : ndarray of shape (n_samples_X, n_samples_X, n_hyperparameters)
            Only if ``eval_gradient``; the last axis is empty if gamma is fixed.
        """
        K = opu_kernel(_rows(X), Y, gamma=self.gamma)
        if not eval_gradient:
            return K
        if Y is not None:
            raise ValueError("eval_gradient=True needs Y=None: the gradient is of k(X, X).")
        if self.hyperparameter_gamma.fixed:
            return K, np.empty((*K.shape, 0))
        return K, 4 * K[:, :, np.newaxis]

    def diag(self, X):
        """Return k(x, x) for each row of X, shape (n_samples_X,)."""
        # As float: norms of small integers would overflow their type.
        X = _rows(X).astype(np.float64)
        return 2 * self.gamma**4 * row_norms(X, squared=True) ** 2

    def is_stationary(self):
        """Return False: the kernel depends on more than x - y."""
        return False

    def __repr__(self):
        return f"{type(self).__name__}(gamma={self.gamma:.3g})"


def _rows(X):
    return X if issparse(X) else np.atleast_2d(X)
