"""OPUKernelRidge in the place of KernelRidge.

The first class follows scikit-learn's own tests of ``KernelRidge``, where the kernels coincide.
"""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeClassifier, RidgeCV
from sklearn.metrics.pairwise import pairwise_kernels, rbf_kernel
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
    opu_kernel,
)
from skopu.devices import SimulatedOPU
from skopu.kernel_ridge.origin import is_opu_features

X, y = make_regression(n_features=10, random_state=0)
X.flags.writeable = False
Y = np.column_stack([y, y[::-1]])
WEIGHTS = np.linspace(0.1, 2, len(y))
WIDE = X[:8]  # fewer rows than columns: solved in the dual


class TestAsKernelRidge:
    """Oracle: KernelRidge, to 1e-8."""

    @pytest.mark.parametrize("rows", [slice(None), slice(8)], ids=["tall", "wide"])
    @pytest.mark.parametrize(
        "convert",
        [np.asarray, sparse.csr_array, sparse.csr_matrix, sparse.csc_array],
        ids=["dense", "csr", "csr matrix", "csc"],
    )
    @pytest.mark.parametrize("target", [y, Y], ids=["single", "multi"])
    @pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
    @pytest.mark.parametrize("alpha", [1, 0.01])
    def test_linear(self, rows, convert, target, weights, alpha):
        data, target = convert(X[rows]), target[rows]
        weights = None if weights is None else weights[rows]
        expected = KernelRidge(alpha, kernel="linear").fit(data, target, weights)
        model = OPUKernelRidge(alpha, kernel="linear", fit_intercept=False)
        model.fit(data, target, weights)
        np.testing.assert_allclose(
            model.predict(convert(X)), expected.predict(convert(X)), rtol=1e-8, atol=1e-8
        )

    def test_alpha_is_the_first_argument(self):
        expected = KernelRidge(1, kernel="linear").fit(X, y).predict(X)
        model = OPUKernelRidge(1, kernel="linear", fit_intercept=False).fit(X, y)
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-8)

    def test_one_penalty_for_each_target(self):
        alpha = np.array([0.1, 10.0])
        expected = KernelRidge(alpha=alpha, kernel="linear").fit(X, Y).predict(X)
        model = OPUKernelRidge(alpha=alpha, kernel="linear", fit_intercept=False).fit(X, Y)
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-8)
        assert model.coef_.shape == (2, 10)

    @pytest.mark.parametrize("metric", ["linear", "rbf", "laplacian", "poly", opu_kernel])
    @pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
    def test_precomputed(self, metric, weights):
        K = pairwise_kernels(X, metric=metric)
        expected = KernelRidge(kernel="precomputed").fit(K, Y, weights)
        model = OPUKernelRidge(1, kernel="precomputed", fit_intercept=False).fit(K, Y, weights)
        np.testing.assert_allclose(model.predict(K), expected.predict(K), rtol=1e-8)
        np.testing.assert_allclose(model.dual_coef_, expected.dual_coef_, rtol=1e-6, atol=1e-8)

    def test_rows_of_weight_zero_in_a_precomputed_kernel(self):
        K = rbf_kernel(X)
        weights = np.where(np.arange(len(y)) % 3 == 0, 0.0, 1.0)
        expected = KernelRidge(kernel="precomputed").fit(K, y, weights)
        model = OPUKernelRidge(1, kernel="precomputed", fit_intercept=False).fit(K, y, weights)
        np.testing.assert_allclose(model.predict(K), expected.predict(K), rtol=1e-8)

    def test_random_fourier_features_approach_the_rbf_kernel(self):
        """The error of 2 x 10^4 features is about 1 %; 5 % of the spread is allowed."""
        expected = KernelRidge(kernel="rbf", alpha=0.1).fit(X, y).predict(X)
        model = OPUKernelRidge(
            0.1,
            kernel="rbf",
            kernel_approximation="fourier",
            n_components=20_000,
            fit_intercept=False,
            random_state=0,
        )
        difference = model.fit(X, y).predict(X) - expected
        assert np.sqrt(np.mean(difference**2)) < 0.05 * expected.std()


class TestChoiceOfKernel:
    def test_binary_input_is_projected_as_it_is(self, rng):
        """Oracle: the features and the linear kernel, by hand."""
        codes = rng.integers(0, 2, size=(60, 12))
        target = rng.standard_normal(60)
        model = OPUKernelRidge(0.5, n_components=100, gamma=0.8).fit(codes, target)
        features = OPURandomFeatures(100, gamma=0.8).fit_transform(codes)
        expected = OPUKernelRidge(0.5, kernel="linear").fit(features, target).predict(features)
        np.testing.assert_allclose(model.predict(codes), expected, rtol=1e-6)
        assert (model.kernel_, model.binarizer_) == ("opu", None)

    def test_real_input_goes_through_the_default_binarizer(self):
        model = OPUKernelRidge(n_components=64, random_state=0).set_params(
            binarizer__n_bits=8, binarizer__max_iter=10
        )
        model.fit(X, y)
        assert isinstance(model.binarizer_, SupervisedBinarizer)
        assert model.binarizer_.n_components == 64
        model.set_params(opu=SimulatedOPU(4), n_components=32).fit(X, y)
        assert model.binarizer_.opu_.random_state == model.features_.opu_.random_state == 4
        assert model.binarizer_.n_components == 32
        assert model.features_.n_features_in_ == 8

    def test_given_binarizer_is_used(self):
        model = OPUKernelRidge(binarizer=HyperplaneBinarizer(8), random_state=0).fit(X, y)
        assert isinstance(model.binarizer_, HyperplaneBinarizer)
        again = OPUKernelRidge(binarizer=HyperplaneBinarizer(8), random_state=0).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), again.predict(X))

    @pytest.mark.parametrize("kernel", ["linear", "opu"])
    def test_kernel_can_be_forced(self, kernel, rng):
        codes = rng.integers(0, 2, size=(30, 5))
        features = OPURandomFeatures(16).fit_transform(codes)
        model = OPUKernelRidge(kernel=kernel, binarizer=HyperplaneBinarizer(4))
        model.fit(features if kernel == "opu" else codes, rng.standard_normal(30))
        assert model.kernel_ == kernel
        assert (model.binarizer_ is None) == (kernel == "linear")

    def test_features_are_known_by_type_or_column_names(self, rng):
        pd = pytest.importorskip("pandas")
        codes = rng.integers(0, 2, size=(30, 5))
        model = OPURandomFeatures(4).set_output(transform="pandas").fit(codes)
        frame = model.transform(codes)
        assert is_opu_features(frame)
        assert is_opu_features(frame.add_prefix("union__"))
        assert is_opu_features(OPURandomFeatures(4).fit_transform(codes))
        assert not is_opu_features(frame.to_numpy())
        assert not is_opu_features(pd.DataFrame(codes))
        assert not is_opu_features(frame.assign(other=1.0))

    def test_binary_in_fit_must_be_binary_in_predict(self, rng):
        codes = rng.integers(0, 2, size=(30, 5))
        model = OPUKernelRidge(n_components=8).fit(codes, rng.standard_normal(30))
        with pytest.raises(ValueError, match=r"must hold only 0 and 1.*such as 0\.5"):
            model.predict(codes * 0.5)

    @pytest.mark.parametrize("step", [StandardScaler(), MinMaxScaler(), None])
    def test_features_that_were_made_plain_numbers(self, step, rng):
        """Oracle: what was passed. Inputs, standardised or not, are let pass."""
        codes = HyperplaneBinarizer(16, random_state=0).fit_transform(X)
        features = OPURandomFeatures(128).fit_transform(codes)
        plain = np.asarray(features) if step is None else step.fit_transform(features)
        model = OPUKernelRidge(n_components=8, binarizer=HyperplaneBinarizer(4))
        with pytest.warns(UserWarning, match="of 128 columns, for inputs .* write kernel='linear'"):
            model.fit(plain, y)
        for certain in (features, sparse.csr_array(codes), codes, rng.random((100, 128))):
            clone(model).fit(certain, y)
        model.set_params(kernel="opu").fit(plain, y)

    def test_a_device_of_the_size_of_the_features(self):
        """The popcount needs no component: 64 of them make 65 features, for any input."""
        codes = HyperplaneBinarizer(8, random_state=0).fit_transform(X)
        for data in (codes, X):
            model = OPUKernelRidge(n_components=65, opu=SimulatedOPU(max_components=64))
            model.set_params(binarizer__n_bits=8, binarizer__max_iter=2).fit(data, y)
            assert model.readout_coef_.shape == (65,)
        with pytest.raises(ValueError, match=r"at most 64 components, .* n_components=66: use"):
            model.set_params(n_components=66).fit(X, y)

    def test_kernel_matrix_must_be_square(self):
        with pytest.raises(ValueError, match=r"square kernel matrix of the rows, got shape"):
            OPUKernelRidge(kernel="precomputed").fit(X, y)


class TestLeaveOneOut:
    @pytest.mark.parametrize("rows", [slice(None), slice(8)], ids=["tall", "wide"])
    def test_choice_is_that_of_ridge_cv(self, rows):
        """Oracle: RidgeCV's leave-one-out over the same penalties."""
        model = OPUKernelRidge("loo", kernel="linear").fit(X[rows], y[rows])
        centred = X[rows] - X[rows].mean(0)
        grid = np.logspace(-9, 1, 41) * np.square(centred).sum(1).mean()
        chosen = RidgeCV(grid).fit(X[rows], y[rows]).alpha_
        assert model.alpha_ == pytest.approx(chosen)
        # RidgeCV's own coefficients are off by 1e-3 before scikit-learn 1.8.
        expected = Ridge(chosen).fit(X[rows], y[rows])
        np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-6)

    def test_repeated_rows_are_left_out_together(self, rng):
        """Oracle: the fit of the distinct rows with doubled weights."""
        target = y + 100 * rng.standard_normal(len(y))
        twice = OPUKernelRidge("loo", kernel="linear")
        twice.fit(np.vstack([X, X]), np.hstack([target, target]))
        weighted = OPUKernelRidge("loo", kernel="linear")
        weighted.fit(X, target, sample_weight=np.full(len(y), 2.0))
        assert twice.alpha_ == pytest.approx(weighted.alpha_)
        assert twice.loo_error_ == pytest.approx(weighted.loo_error_)

    def test_on_a_precomputed_kernel(self):
        """Oracle: the same kernel as features."""
        features = OPUKernelRidge("loo", kernel="linear").fit(WIDE, y[:8])
        kernel = OPUKernelRidge("loo", kernel="precomputed").fit(WIDE @ WIDE.T, y[:8])
        assert kernel.alpha_ == pytest.approx(features.alpha_)
        np.testing.assert_allclose(
            kernel.predict(X @ WIDE.T), features.predict(X), rtol=1e-6, atol=1e-6
        )


class TestHardNumbers:
    @pytest.mark.parametrize("rows", [slice(None), slice(8)], ids=["tall", "wide"])
    @pytest.mark.parametrize("alpha", [0.01, "loo"])
    def test_an_offset_of_the_columns_does_not_matter(self, rows, alpha):
        """Oracle: the fit without it; 1e6 leaves ten of sixteen digits to the spread."""
        plain = OPUKernelRidge(alpha, kernel="linear").fit(X[rows], y[rows])
        moved = OPUKernelRidge(alpha, kernel="linear").fit(X[rows] + 1e6, y[rows])
        np.testing.assert_allclose(moved.predict(X + 1e6), plain.predict(X), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("n_features", [3, 64])
    @pytest.mark.parametrize("value", [0.1, 1.0, 1e5])
    def test_constant_features_predict_the_mean(self, n_features, value):
        """Oracle: the mean, near the fitted rows and away from them."""
        features = np.full((20, n_features), value)
        model = OPUKernelRidge("loo", kernel="linear").fit(features, y[:20])
        for new in (features, 2 * features):
            np.testing.assert_allclose(model.predict(new), y[:20].mean(), atol=1e-3)

    @pytest.mark.parametrize("scale", [1e-200, 1e-13, 1e13, 1e150])
    def test_scale_of_the_target_does_not_matter(self, scale):
        """Oracle: the fit in other units."""
        codes = HyperplaneBinarizer(16, random_state=0).fit_transform(X)
        plain = OPUKernelRidge("loo", n_components=64).fit(codes, y)
        scaled = OPUKernelRidge("loo", n_components=64).fit(codes, scale * y)
        np.testing.assert_allclose(scaled.predict(codes) / scale, plain.predict(codes), rtol=1e-6)
        assert scaled.alpha_ == plain.alpha_

    def test_attributes_of_an_earlier_fit_are_gone(self):
        model = OPUKernelRidge("loo", kernel="linear").fit(X, y)
        model.set_params(alpha=1.0, kernel="precomputed").fit(X @ X.T, y)
        assert not hasattr(model, "loo_error_")
        assert not hasattr(model, "coef_")


class TestFailure:
    """A fit that fails leaves the model as it was. Oracle: its predictions before."""

    def test_before_any_fit(self):
        model = OPUKernelRidge(kernel="linear")
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.fit(np.full((9, 3), np.nan), y[:9])
        for method in (model.predict, OPUKernelRidgeClassifier().decision_function):
            with pytest.raises(NotFittedError):
                method(X)

    @pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_chunks"])
    @pytest.mark.parametrize("way", ["_publish", "_validate"])
    def test_after_one(self, method, way, monkeypatch):
        model = OPUKernelRidge(1.0, kernel="linear").partial_fit(X, y)
        before = dict(vars(model))

        def fail(*arguments, **options):
            raise RuntimeError("no")

        monkeypatch.setattr(OPUKernelRidge, way, fail)
        with pytest.raises(RuntimeError):
            getattr(model, method)(*([(X, Y)],) if method == "fit_chunks" else (X, Y[:, 0]))
        monkeypatch.undo()
        unsolved = {"_unsolved"}  # what was read of the rows, for ``solve``
        assert {n: v for n, v in vars(model).items() if n not in unsolved} == before
        again = OPUKernelRidge(1.0, kernel="linear").partial_fit(X, y).partial_fit(X[:9], y[:9])
        np.testing.assert_array_equal(model.partial_fit(X[:9], y[:9]).coef_, again.coef_)


class TestClassifier:
    @pytest.mark.parametrize("class_weight", [None, "balanced"])
    @pytest.mark.parametrize("alpha", [1.0, "loo"])
    @pytest.mark.parametrize("way", ["fit", "fit_chunks"])
    def test_a_weight_is_a_repetition(self, class_weight, alpha, way, rng):
        """Oracle: rows given as often as their weight says; a class of weight zero is none."""
        data, labels = X[:60], np.array(["a", "b", "c", "d"])[np.arange(60) % 4]
        weights = np.where(labels == "d", 0, rng.integers(0, 4, 60))
        settings = {"kernel": "linear", "class_weight": class_weight}
        weighted, repeated = (OPUKernelRidgeClassifier(alpha, **settings) for _ in range(2))
        repeats = np.repeat(np.arange(60), weights)
        if way == "fit":
            weighted.fit(data, labels, weights)
            repeated.fit(data[repeats], labels[repeats])
        elif alpha == "loo":
            return  # in chunks each row is left out for itself
        else:
            parts = [slice(0, 20), slice(20, 60)]
            weighted.fit_chunks([(data[i], labels[i], weights[i]) for i in parts])
            repeated.fit_chunks([(data[repeats], labels[repeats])])
        assert list(weighted.classes_) == ["a", "b", "c"]
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8, atol=1e-10)
        assert weighted.alpha_ == pytest.approx(repeated.alpha_)

    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0}])
    def test_linear_is_ridge_classifier(self, n_classes, class_weight):
        """Oracle: RidgeClassifier, scores to 1e-8; it counts rows without their weights."""
        data, labels = make_classification(
            n_classes=n_classes,
            n_informative=5,
            weights=[0.6, 0.3][: n_classes - 1],
            random_state=0,
        )
        weights = np.linspace(0.5, 1.5, len(labels))
        given = class_weight
        if class_weight == "balanced":
            sums = np.bincount(labels, weights)
            given = dict(enumerate(sums.sum() / (n_classes * sums)))
        expected = RidgeClassifier(0.7, class_weight=given).fit(data, labels, weights)
        model = OPUKernelRidgeClassifier(0.7, kernel="linear", class_weight=class_weight)
        model.fit(data, labels, weights)
        np.testing.assert_allclose(
            model.decision_function(data), expected.decision_function(data), atol=1e-8
        )
        np.testing.assert_array_equal(model.predict(data), expected.predict(data))

    def test_binarizer_learns_the_labels(self):
        data, labels = make_classification(random_state=0)
        model = OPUKernelRidgeClassifier(n_components=64, random_state=0).set_params(
            binarizer__n_bits=8, binarizer__max_iter=20
        )
        model.fit(data, np.array(["no", "yes"])[labels])
        assert model.binarizer_.loss_ == "cross_entropy"
        assert list(model.classes_) == ["no", "yes"]


class TestBadInput:
    def test_alpha(self):
        with pytest.raises(ValueError, match=r"one for each of the 1 target\(s\), 'loo' or 'gcv'"):
            OPUKernelRidge([1.0, 2.0], kernel="linear").fit(X, y)
        with pytest.raises(ValueError, match=r"shape \(2,\): \[-1"):
            OPUKernelRidge([-1.0, 2.0], kernel="linear").fit(X, Y)

    def test_negative_class_weight(self):
        with pytest.raises(ValueError, match="class_weight must not be negative, got"):
            OPUKernelRidgeClassifier(kernel="linear", class_weight={0: -1.0}).fit(X, y > 0)

    def test_overflow_is_named(self):
        with np.errstate(over="ignore", invalid="ignore"):
            for alpha in (1.0, "loo"):
                with pytest.raises(ValueError, match="overflowed; scale the inputs"):
                    OPUKernelRidge(alpha, kernel="linear").fit(X * 1e200, y)

    @pytest.mark.parametrize("value", [1e160, -1e308])
    def test_a_target_whose_square_overflows(self, value):
        with pytest.raises(ValueError, match=r"y holds -?1e\+\d+.*divide y by its maximum"):
            OPUKernelRidge(kernel="linear").fit(X, np.where(np.arange(len(X)) == 3, value, y))

    def test_one_class(self):
        with pytest.raises(ValueError, match="y has one class only, 1: a classifier needs rows"):
            OPUKernelRidgeClassifier(kernel="linear").fit(X, np.ones(len(X), dtype=int))

    def test_no_weight_at_all(self):
        with pytest.raises(ValueError, match="weights must contain at least one non-zero"):
            OPUKernelRidge(kernel="linear").fit(X, y, np.zeros(len(y)))

    def test_device_too_small(self, rng):
        codes = rng.integers(0, 2, size=(10, 5))
        small = SimulatedOPU(max_bits=4)
        with pytest.raises(ValueError, match="at most 4 bits, which is not enough"):
            OPUKernelRidge(opu=small).fit(codes, rng.standard_normal(10))
