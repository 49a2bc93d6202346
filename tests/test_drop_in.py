"""OPUKernelRidge in the place of KernelRidge, for every kernel. Oracle: scikit-learn's own."""

import functools
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.tests import test_kernel_ridge as scikit_learns

from skopu import OPUKernel, OPUKernelRidge, OPUKernelRidgeClassifier, opu_kernel
from skopu.exceptions import RidgeConditionWarning
from skopu.kernel_ridge import dual

RNG = np.random.default_rng(0)
X, NEW = RNG.random((60, 5)), RNG.random((20, 5))
Y = RNG.standard_normal((60, 2))
WEIGHTS = np.where(np.arange(60) % 7 == 0, 0.0, RNG.uniform(0.2, 2, 60))


def squared_product(x, y, power=2):
    return (x @ y) ** power


KERNELS = [*PAIRWISE_KERNEL_FUNCTIONS, opu_kernel, OPUKernel(0.8), squared_product]
DENSE_ONLY = ("chi2", "additive_chi2", opu_kernel, squared_product)
CONTAINERS = {
    "dense": np.asarray,
    "float32": np.float32,
    "whole numbers": lambda X: (3 * X).astype(int),
    "csr": lambda X: sparse.csr_array(np.where(X > 0.5, X, 0)),
    "csc": lambda X: sparse.csc_array(np.where(X > 0.5, X, 0)),
}
SPARSE = CONTAINERS["csr"], CONTAINERS["csc"]


def name(value):
    return getattr(value, "__name__", str(value))


def drop_in(alpha=1, **parameters):
    """With what KernelRidge does by default."""
    settings = {"fit_intercept": False, "kernel_approximation": None}
    return OPUKernelRidge(alpha, **settings | parameters)


def targets_and_alphas():
    """Each shape of y, with one alpha and with one a target."""
    yield from ((Y[:, 0], 1), (Y, 0.1), (Y, np.array([0.3, 2.0])))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kernel", KERNELS, ids=name)
# Of "sigmoid" and "additive_chi2", which have negative eigenvalues.
@pytest.mark.filterwarnings("ignore::skopu.exceptions.RidgeConditionWarning")
@pytest.mark.filterwarnings("ignore:Singular matrix in solving dual problem:UserWarning")
def test_predictions_are_those_of_kernel_ridge(kernel, container, weights):
    """To 1e-8 of the largest prediction, or the last digit of float32.

    Of float32 rows scikit-learn's kernels and, for several alphas, its coefficients are float32.
    Where ours are not, the two agree to that precision, which the solution magnifies.
    """
    convert = CONTAINERS[container]
    if convert in SPARSE and any(kernel is other for other in DENSE_ONLY):
        pytest.skip("scikit-learn has no sparse form of it")
    data, new = convert(X), convert(NEW)
    given = {"kernel": kernel}
    if isinstance(kernel, str):
        given |= {"gamma": 0.4, "degree": 2, "coef0": 0.5}
    for target, alpha in targets_and_alphas():
        expected = KernelRidge(alpha=alpha, **given)
        if np.ndim(alpha) and kernel in ("sigmoid", "additive_chi2"):
            continue  # scikit-learn does not solve these
        expected = expected.fit(data, target, weights).predict(new)
        found = drop_in(alpha, **given).fit(data, target, weights)
        is_rounded = container == "float32" and (np.ndim(alpha) or kernel in ("linear", opu_kernel))
        # Our predictions of float32 rows are float32, as Ridge's are.
        last = 1e-7 if container == "float32" else 1e-8
        size = np.abs(expected).max() * (1e-3 if is_rounded else last)
        np.testing.assert_allclose(found.predict(new), expected, rtol=0, atol=size)
        if found.kernel_ != "linear":
            assert found.dual_coef_.shape == target.shape
            assert found.X_fit_.shape == X.shape
        assert found.kernel_approximation_ is None


def scikit_learns_cases():
    """Every test of scikit-learn's file, with its parameters."""
    for test_name, test in vars(scikit_learns).items():
        if test_name.startswith("test_"):
            marks = getattr(test, "pytestmark", [])
            for value in marks[0].args[1] if marks else [None]:
                yield pytest.param(test, [] if value is None else [value], id=test_name)


@pytest.mark.parametrize(("test", "arguments"), list(scikit_learns_cases()))
def test_scikit_learns_own_tests(test, arguments, monkeypatch):
    """Oracle: what they assert, with our class under the name of theirs."""
    swapped = functools.partial(OPUKernelRidge, alpha=1, fit_intercept=False)
    monkeypatch.setattr(scikit_learns, "KernelRidge", swapped)
    test(*arguments)


class TestChosenAlpha:
    @pytest.mark.parametrize("kernel", ["laplacian", "precomputed"])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_leave_one_out(self, kernel, fit_intercept):
        """Oracle: a fit without each row, over the same grid."""
        data = rbf_kernel(X) if kernel == "precomputed" else X
        alphas = np.array([0.01, 0.3, 5.0])
        found = OPUKernelRidge(kernel=kernel, alphas=alphas, fit_intercept=fit_intercept)
        found.fit(data, Y)
        errors = np.zeros(3)
        for i in range(60):
            kept = np.arange(60) != i
            columns = kept if kernel == "precomputed" else slice(None)
            for number, alpha in enumerate(alphas):
                model = OPUKernelRidge(alpha, kernel=kernel, fit_intercept=fit_intercept)
                model.fit(data[kept][:, columns], Y[kept])
                left_out = model.predict(data[[i]][:, columns])
                errors[number] += np.square(Y[i] - left_out).mean() / 60
        assert found.alpha_ == alphas[np.argmin(errors)]
        assert found.loo_error_ == pytest.approx(errors.min(), rel=1e-8)

    def test_repeated_rows_are_left_out_together(self):
        """Oracle: their weights added up. Predictions take all of X_fit_, as ever."""
        twice = OPUKernelRidge(kernel="rbf").fit(np.vstack([X, X[:9]]), np.vstack([Y, Y[:9]]))
        weights = np.where(np.arange(60) < 9, 2.0, 1.0)
        expected = OPUKernelRidge(kernel="rbf").fit(X, Y, weights)
        assert twice.alpha_ == pytest.approx(expected.alpha_)
        np.testing.assert_allclose(twice.predict(NEW), expected.predict(NEW), rtol=1e-8)
        assert len(twice.X_fit_) == 69

    def test_kernel_that_is_not_positive(self):
        """Oracle: the fit by what is left of it without its negative eigenvalues."""
        K = opu_kernel(X) - 3 * rbf_kernel(X)
        values, vectors = np.linalg.eigh(K)
        positive = (vectors * np.maximum(values, 0)) @ vectors.T
        found = OPUKernelRidge(kernel="precomputed", fit_intercept=False)
        with pytest.warns(RidgeConditionWarning, match="of the 60 eigenvalues of the kernel are"):
            found.fit(K, Y)
        expected = OPUKernelRidge(kernel="precomputed", fit_intercept=False).fit(positive, Y)
        assert found.alpha_ == pytest.approx(expected.alpha_)
        np.testing.assert_allclose(found.predict(K), expected.predict(positive), rtol=1e-6)

    @pytest.mark.parametrize("convert", [np.float32, np.float64])
    def test_rounding_makes_no_kernel_negative(self, convert):
        """Warnings are errors here; the kernel has rank 5 and a large common part."""
        data = convert(X + 100)
        for kernel in ("rbf", "poly", "cosine", opu_kernel):
            for fit_intercept in (True, False):
                OPUKernelRidge(kernel=kernel, fit_intercept=fit_intercept).fit(data, Y)
        OPUKernelRidge(kernel="precomputed").fit(data @ data.T, Y)

    def test_is_the_default(self):
        """A given value is taken as it is."""
        assert OPUKernelRidge().alpha == OPUKernelRidgeClassifier().alpha == "loo"
        assert OPUKernelRidge(0.25, kernel="rbf").fit(X, Y).alpha_ == 0.25


class TestFourierFeatures:
    @pytest.mark.parametrize(
        ("approximation", "expected"), [("auto", None), ("fourier", "fourier"), (None, None)]
    )
    def test_few_rows(self, approximation, expected):
        model = OPUKernelRidge(1, kernel="rbf", kernel_approximation=approximation, n_components=50)
        model.fit(X, Y)
        assert model.kernel_approximation_ == expected
        assert hasattr(model, "readout_coef_") == (expected == "fourier")
        assert hasattr(model, "dual_coef_") == (expected is None)

    def test_many_rows(self, monkeypatch):
        """Oracle: Fourier features asked for. Rows of weight zero are none."""
        monkeypatch.setattr("skopu.kernel_ridge.base.MAX_EXACT_ROWS", np.sum(WEIGHTS > 0) - 1)
        options = {"kernel": "rbf", "n_components": 50, "random_state": 0}
        found = OPUKernelRidge(1, **options).fit(X, Y, WEIGHTS)
        assert found.kernel_approximation_ == "fourier"
        asked = OPUKernelRidge(1, kernel_approximation="fourier", **options).fit(X, Y, WEIGHTS)
        np.testing.assert_array_equal(found.predict(NEW), asked.predict(NEW))
        monkeypatch.setattr("skopu.kernel_ridge.base.MAX_EXACT_ROWS", np.sum(WEIGHTS > 0))
        assert OPUKernelRidge(1, **options).fit(X, Y, WEIGHTS).kernel_approximation_ is None

    def test_chunks_cannot_be_exact(self):
        for parameters in (
            {"kernel": "poly"},
            {"kernel": opu_kernel},
            {"kernel": "rbf", "kernel_approximation": None},
        ):
            assert not hasattr(OPUKernelRidge(**parameters), "partial_fit")
            with pytest.raises(AttributeError) as raised:
                _ = OPUKernelRidge(**parameters).fit_chunks
            assert "needs the kernel of all rows at once: use fit" in str(raised.value.__cause__)
        found = OPUKernelRidge(kernel="rbf", n_components=20).fit_chunks([(X, Y)])
        assert found.kernel_approximation_ == "fourier"


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier(n_classes):
    """Oracle: RidgeClassifier on the features of the polynomial kernel of degree 1."""
    labels = np.array(["a", "b", "c"])[np.argsort(np.argsort(Y[:, 0])) * n_classes // 60]
    expected = RidgeClassifier(0.5).fit(np.sqrt(0.4) * X, labels)
    found = OPUKernelRidgeClassifier(0.5, kernel="poly", degree=1, gamma=0.4, coef0=0)
    found.fit(X, labels)
    np.testing.assert_allclose(
        found.decision_function(NEW), expected.decision_function(np.sqrt(0.4) * NEW), atol=1e-8
    )
    assert found.dual_coef_.shape == (60, 1 if n_classes == 2 else 3)


def test_parameters_of_the_kernel():
    """Oracle: KernelRidge with the same; a later ``set_params`` waits for the next fit."""
    expected = KernelRidge(kernel=squared_product, kernel_params={"power": 3}).fit(X, Y)
    found = drop_in(kernel=squared_product, kernel_params={"power": 3}).fit(X, Y)
    np.testing.assert_allclose(found.predict(NEW), expected.predict(NEW), rtol=1e-8)
    fixed = opu_kernel(X, gamma=0.5), opu_kernel(NEW, X, gamma=0.5)
    expected = KernelRidge(kernel="precomputed").fit(fixed[0], Y).predict(fixed[1])
    found = drop_in(kernel=opu_kernel, kernel_params={"gamma": 0.5}).fit(X, Y)
    np.testing.assert_allclose(found.predict(NEW), expected, rtol=1e-6)
    before = found.predict(NEW)
    found.set_params(kernel_params={"gamma": 2.0})
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict(NEW), before)


def test_our_kernel_is_called_once_not_for_every_pair(monkeypatch):
    calls = []
    monkeypatch.setattr(dual, "opu_kernel", lambda *a, **k: calls.append(a) or opu_kernel(*a))
    drop_in(kernel=dual.opu_kernel).fit(X, Y).predict(NEW)
    assert len(calls) == 2


def test_chi_squared_has_a_default_gamma():
    """Oracle: gamma = 1, of ``chi2_kernel``; KernelRidge fails without one."""
    found = drop_in(kernel="chi2").fit(X, Y).predict(NEW)
    expected = KernelRidge(kernel="chi2", gamma=1).fit(X, Y).predict(NEW)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_predictions_are_made_a_chunk_at_a_time():
    """Oracle: all at once; the kernel of 20,000 rows with 2000 takes 305 MB."""
    rows = RNG.random((20_000, 5))
    model = drop_in(kernel="rbf", chunk_size=200).fit(rows[:2000], rows[:2000, 0])
    tracemalloc.start()
    found = model.predict(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15 * 2**20
    np.testing.assert_allclose(found[:300], model.set_params(chunk_size=None).predict(rows[:300]))


def test_grid_search_over_kernels():
    """Oracle: KernelRidge's scores."""
    grid = {"kernel": ["rbf", "poly", "laplacian"], "gamma": [0.1, 1.0], "alpha": [0.1, 1.0]}
    found = GridSearchCV(drop_in(), grid, cv=3).fit(X, Y)
    expected = GridSearchCV(KernelRidge(), grid, cv=3).fit(X, Y)
    assert found.best_params_ == expected.best_params_
    scores = (search.cv_results_["mean_test_score"] for search in (found, expected))
    np.testing.assert_allclose(*scores, rtol=1e-8)


class TestBadInput:
    def test_unknown_kernel(self):
        with pytest.raises(ValueError, match="The 'kernel' parameter of OPUKernelRidge must be"):
            OPUKernelRidge(kernel="gauss").fit(X, Y)

    def test_negative_inputs_of_chi_squared(self):
        with pytest.raises(ValueError, match="negative values"):
            drop_in(kernel="chi2", gamma=1).fit(X - 1, Y)

    def test_indefinite_kernel(self):
        """Oracle: scikit-learn, which takes least squares too."""
        with pytest.warns(RidgeConditionWarning, match="indefinite"):
            found = drop_in(1e-3, kernel="sigmoid", coef0=-3).fit(X, Y)
        assert np.isfinite(found.predict(NEW)).all()
