"""The closed-form kernel."""

import numpy as np
import pytest
from scipy import optimize, sparse
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import pairwise_kernels

from skopu import OPUKernel, opu_kernel


@pytest.fixture
def X(rng):
    X = rng.integers(0, 2, size=(12, 7)).astype(float)
    X.flags.writeable = False
    return X


def plain(X, Y, gamma):
    """Oracle: equation 14, entry by entry."""
    return np.array([[gamma**4 * ((x @ x) * (y @ y) + (x @ y) ** 2) for y in Y] for x in X])


@pytest.mark.parametrize("gamma", [1.0, 0.3])
def test_formula(X, rng, gamma):
    Y = rng.standard_normal((5, 7))
    np.testing.assert_allclose(opu_kernel(X, Y, gamma=gamma), plain(X, Y, gamma))
    np.testing.assert_allclose(opu_kernel(X, gamma=gamma), plain(X, X, gamma))
    np.testing.assert_allclose(opu_kernel(sparse.csr_array(X), Y, gamma), plain(X, Y, gamma))
    assert opu_kernel(X[0], Y[0], gamma) == pytest.approx(plain(X[:1], Y[:1], gamma)[0, 0])


def test_float32_stays_float32(X):
    assert opu_kernel(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("kernel", [opu_kernel, OPUKernel()], ids=["function", "object"])
def test_in_pairwise_kernels_and_kernel_ridge(X, rng, kernel):
    """Oracle: the precomputed kernel."""
    y = rng.standard_normal(len(X))
    np.testing.assert_allclose(pairwise_kernels(X, metric=kernel), plain(X, X, 1.0))
    model = KernelRidge(kernel=kernel, alpha=0.5).fit(X, y)
    expected = KernelRidge(kernel="precomputed", alpha=0.5).fit(plain(X, X, 1.0), y)
    np.testing.assert_allclose(model.predict(X), expected.predict(plain(X, X, 1.0)))


class TestGaussianProcessKernel:
    def test_values_and_diagonal(self, X, rng):
        Y = rng.standard_normal((5, 7))
        kernel = OPUKernel(0.7)
        np.testing.assert_allclose(kernel(X, Y), plain(X, Y, 0.7))
        np.testing.assert_allclose(kernel.diag(X), np.diag(plain(X, X, 0.7)))
        assert not kernel.is_stationary()
        assert repr(kernel) == "OPUKernel(gamma=0.7)"

    def test_small_integers_do_not_overflow(self):
        """Oracle: the kernel itself."""
        codes = np.ones((2, 200), dtype=np.uint8)
        np.testing.assert_allclose(OPUKernel().diag(codes), np.diag(OPUKernel()(codes)))

    def test_gradient(self, X):
        """Oracle: finite differences in theta = log(gamma)."""
        kernel = OPUKernel(0.7)
        _, gradient = kernel(X, eval_gradient=True)

        def entry(theta):
            return kernel.clone_with_theta(theta)(X)[2, 3]

        numeric = optimize.approx_fprime(kernel.theta, entry, 1e-7)
        np.testing.assert_allclose(gradient[2, 3], numeric, rtol=1e-5)

    def test_fixed_gamma_has_no_gradient(self, X):
        _, gradient = OPUKernel(0.7, gamma_bounds="fixed")(X, eval_gradient=True)
        assert gradient.shape == (12, 12, 0)

    def test_gradient_of_a_cross_kernel_is_refused(self, X):
        with pytest.raises(ValueError, match="eval_gradient=True needs Y=None"):
            OPUKernel()(X, X, eval_gradient=True)

    def test_marginal_likelihood_finds_gamma(self, rng):
        """Oracle: the gamma that the targets were drawn with, within a factor of 1.3.

        400 targets determine gamma^4 to about sqrt(2/28) = 27 %, the kernel's rank being 28;
        gamma to 7 %: the tolerance is four standard deviations. The seed is fixed.
        """
        X = rng.integers(0, 2, size=(400, 7)).astype(float)
        covariance = plain(X, X, 0.5) + 0.01 * np.eye(400)
        y = np.linalg.cholesky(covariance) @ rng.standard_normal(400)
        model = GaussianProcessRegressor(OPUKernel() + WhiteKernel(0.1), random_state=0).fit(X, y)
        assert 0.5 / 1.3 < model.kernel_.k1.gamma < 0.5 * 1.3
