"""Random features against the closed-form kernel."""

import numpy as np
import pytest
import torch
from oracles import BlackBox, Hardware, all_codes
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from skopu import OPUKernelRidge, OPURandomFeatures, opu_kernel
from skopu.devices import SimulatedOPU
from skopu.exceptions import NotBinaryError
from skopu.kernel_ridge.gamma import _leave_one_out_error
from skopu.kernel_ridge.origin import OPUFeatures

FORMS = ["raw", "centered"]


@pytest.fixture
def codes(rng):
    codes = rng.integers(0, 2, size=(30, 24), dtype=np.uint8)
    codes.flags.writeable = False
    return codes


def variance_times_components(form, x, y):
    """Oracle: variance of one component's contribution, from Gaussian moments."""
    N, P = float(x.sum() * y.sum()), float((x & y).sum()) ** 2
    return 3 * N**2 + 14 * N * P + 3 * P**2 if form == "raw" else N**2 + 4 * N * P + 3 * P**2


def contributions(form, x, y, n_components, seed):
    """What each component adds to the estimate of the kernel, times their number."""
    model = OPURandomFeatures(n_components + (form == "centered"), form=form, binarize=None)
    model.set_params(opu=SimulatedOPU(seed))
    features = np.asarray(model.fit_transform(np.vstack([x, y])), dtype=np.float64)
    product = n_components * features[0, :n_components] * features[1, :n_components]
    return product if form == "raw" else product + features[0, -1] * features[1, -1]


class TestAgainstKernel:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("pair", range(3))
    def test_unbiased_with_the_stated_variance(self, form, pair, codes):
        """2 x 10^5 components; mean within 5 standard errors (rate 6e-7 a pair).

        The variance of a product of four normals is heavy-tailed, its estimate good to some
        3 %: the tolerance is 15 %. The seeds are fixed.
        """
        x, y = codes[2 * pair], codes[2 * pair + 1]
        products = contributions(form, x, y, 200_000, pair)
        k = opu_kernel(np.vstack([x, y]))[0, 1]
        assert abs(products.mean() - k) < 5 * stats.sem(products)
        assert products.var() == pytest.approx(variance_times_components(form, x, y), rel=0.15)

    @pytest.mark.parametrize("form", FORMS)
    def test_error_falls_with_the_root_of_the_components(self, form, codes):
        """Oracle: the standard deviation above over root D; 200 devices a size.

        The root mean square of 200 errors is good to 5 % (one standard deviation), 30 % is
        asked: a false alarm once in 10^8, were the errors normal.
        """
        x, y = codes[0], codes[1]
        k = opu_kernel(np.vstack([x, y]))[0, 1]
        for n_components in (64, 256, 1024):
            blocks = contributions(form, x, y, 200 * n_components, 9).reshape(200, -1)
            error = np.sqrt(np.mean((blocks.mean(1) - k) ** 2))
            expected = np.sqrt(variance_times_components(form, x, y) / n_components)
            assert error == pytest.approx(expected, rel=0.3)

    def test_centered_variance_is_smaller_for_every_pair(self, codes):
        """Oracle: the two formulas; 3N^2 + 14NP + 3P^2 >= 2 (N^2 + 4NP) + 3P^2 > ..."""
        pairs = [(x, y) for x in codes for y in codes]
        ratio = [
            variance_times_components("raw", x, y) / variance_times_components("centered", x, y)
            for x, y in pairs
        ]
        assert min(ratio) > 2.4
        assert max(ratio) < 3.5

    @pytest.mark.parametrize("form", FORMS)
    def test_ridge_on_16k_features_is_kernel_ridge(self, form, rng):
        """Oracle: KernelRidge on the closed-form kernel, on codes not fitted.

        The features' relative error at D = 16384 is about 1 %; predictions may differ by 5 %
        of the spread of the targets.
        """
        codes = rng.integers(0, 2, size=(260, 16))
        y = np.sin(codes @ rng.standard_normal(16))
        alpha = 20.0
        exact = KernelRidge(alpha=alpha, kernel="precomputed")
        exact.fit(opu_kernel(codes[:200]), y[:200])
        features = OPURandomFeatures(2**14, form=form).fit(codes)
        model = OPUKernelRidge(alpha, fit_intercept=False)
        model.fit(features.transform(codes[:200]), y[:200])
        difference = model.predict(features.transform(codes[200:])) - exact.predict(
            opu_kernel(codes[200:], codes[:200])
        )
        assert np.sqrt(np.mean(difference**2)) < 0.05 * y.std()

    @pytest.mark.parametrize("form", [*FORMS, "exact"])
    def test_expectation_of_random_codes(self, form):
        """Oracle: the average over all 2^6 codes, weighted by their probabilities."""
        p = np.array([[0.1, 0.9, 0.5, 0.3, 0.7, 0.0], [0.2] * 6])
        codes = all_codes(6)
        weights = np.prod(np.where(codes[:, None] == 1, p, 1 - p), axis=2).T
        model = OPURandomFeatures(40, form=form, gamma=0.7).fit(codes)
        expected = weights @ model.transform(codes)
        np.testing.assert_allclose(model.expectation(p), expected, rtol=1e-5)

    @pytest.mark.parametrize("n_bits", [1, 2, 24])
    def test_exact_form_is_the_kernel(self, n_bits, codes):
        """Oracle: opu_kernel, to the precision of float32."""
        codes = codes[:, :n_bits]
        model = OPURandomFeatures(form="exact", gamma=1.3, opu=Hardware())
        features = np.asarray(model.fit_transform(codes), dtype=np.float64)
        assert features.shape == (30, n_bits * (n_bits + 1) // 2)
        assert len(model.get_feature_names_out()) == features.shape[1]
        assert model.opu_.n_passes == 0
        K = opu_kernel(codes.astype(float), gamma=1.3)
        np.testing.assert_allclose(features @ features.T, K, rtol=1e-6)

    def test_exact_form_is_refused_where_it_is_large(self, codes):
        with pytest.raises(ValueError, match=r"= 300 features for k = 24 bits, more than n_comp"):
            OPURandomFeatures(299, form="exact").fit(codes)
        assert OPURandomFeatures(300, form="exact").fit_transform(codes).shape == (30, 300)

    def test_expectation_needs_the_matrix(self, codes):
        model = OPURandomFeatures(8, opu=BlackBox()).fit(codes)
        with pytest.raises(AttributeError, match="matrix of BlackBox is not known"):
            model.expectation(np.full((1, 24), 0.5))


class FromMemory(BlackBox):
    """Answers a repeated question with the array that it gave, which may not be written."""

    def project(self, codes, n_components):
        if not hasattr(self, "answer"):
            self.answer = super().project(codes, n_components)
            self.answer.flags.writeable = False
        return self.answer


@pytest.mark.parametrize("form", FORMS)
def test_answers_of_the_device_are_its_own(form, codes):
    """Oracle: a device that computes each time."""
    expected = OPURandomFeatures(8, form=form, opu=BlackBox()).fit_transform(codes)
    model = OPURandomFeatures(8, form=form, opu=FromMemory()).fit(codes)
    for _ in range(3):
        np.testing.assert_array_equal(model.transform(codes), expected)


class TestInput:
    def test_several_entries_for_a_cell(self):
        """Oracle: their sum. The matrix given stays as it was."""
        rows, columns = [0, 0, 1, 2, 2, 2], [1, 1, 0, 2, 2, 0]
        data = sparse.coo_array((np.array([1.0, -1, 1, 2, -1, 1]), (rows, columns)), shape=(3, 3))
        given = sparse.csr_array((data.data, data.col, [0, 2, 3, 6]), shape=(3, 3))
        found = OPURandomFeatures(8).fit(given).transform(given)
        np.testing.assert_array_equal(
            found, OPURandomFeatures(8).fit_transform(data.toarray().astype(np.uint8))
        )
        assert given.nnz == 6
        model = OPUKernelRidge(1.0, n_components=8).fit(given, np.arange(3.0))
        assert model.binarizer_ is None

    def test_threshold_that_tells_nothing_apart(self, rng):
        """Oracle: the share of columns that are positive in every row, counted."""
        values = rng.standard_normal((50, 8))
        values[:, :6] += 10
        for data in (values, sparse.csr_array(values)):
            with pytest.warns(UserWarning, match="binarize=0.0 makes 75% of the bits the same in"):
                OPURandomFeatures(16).fit(data)
        for certain, threshold in ((values[:, 5:], 0.0), (values, 10.0), (np.ones((9, 4)), 0.0)):
            OPURandomFeatures(16, binarize=threshold).fit(certain)

    @pytest.mark.parametrize(
        "convert",
        [
            lambda z: z.astype(bool),
            lambda z: z.astype(np.float64),
            lambda z: z.astype(np.float32) * 3 - 1,
            sparse.csr_array,
            lambda z: sparse.csc_matrix(z.astype(float)),
        ],
        ids=["bool", "float", "real", "sparse", "csc"],
    )
    def test_types_give_the_same_features(self, codes, convert):
        model = OPURandomFeatures(20)
        expected = model.fit_transform(codes)
        assert expected.dtype == np.float32
        np.testing.assert_array_equal(clone(model).fit_transform(convert(codes)), expected)

    def test_data_frame_and_names(self, codes):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(codes, columns=[f"bit {i}" for i in range(24)])
        model = OPURandomFeatures(3).fit(frame)
        assert list(model.feature_names_in_) == list(frame.columns)
        assert list(model.get_feature_names_out()) == [f"opurandomfeatures{i}" for i in range(3)]
        np.testing.assert_array_equal(
            model.transform(frame), OPURandomFeatures(3).fit_transform(codes)
        )

    def test_threshold(self, rng):
        """Oracle: thresholding by hand."""
        X = rng.standard_normal((10, 6))
        model = OPURandomFeatures(12, binarize=0.4).fit(X)
        np.testing.assert_array_equal(model.transform(X), model.transform((X > 0.4) * 1.0))

    def test_strict_mode_refuses_what_is_not_binary(self, rng):
        with pytest.raises(NotBinaryError, match=r"X \(with binarize=None\) must hold only 0 and"):
            OPURandomFeatures(4, binarize=None).fit_transform(rng.standard_normal((5, 3)))

    def test_negative_threshold_of_sparse_input_is_refused(self, codes):
        with pytest.raises(ValueError, match="threshold < 0"):
            OPURandomFeatures(4, binarize=-1.0).fit_transform(sparse.csr_array(codes))


class TestOutput:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("n_components", [1, 2, 7])
    def test_number_of_columns(self, form, n_components, codes):
        features = OPURandomFeatures(n_components, form=form).fit_transform(codes)
        assert features.shape == (30, n_components)
        if form == "centered":
            np.testing.assert_array_equal(features[:, -1], codes.sum(1))

    def test_raw_form_is_the_definition(self, codes):
        """Oracle: equation 13 with the device's matrix."""
        features = OPURandomFeatures(50, form="raw", gamma=1.7).fit_transform(codes)
        R = SimulatedOPU().matrix(24, 50)
        expected = 1.7**2 * np.abs(codes @ R.T) ** 2 / np.sqrt(50)
        np.testing.assert_allclose(features, expected, rtol=1e-5)

    def test_centered_form_is_the_definition(self, codes):
        """Oracle: the formula of the docstring with the device's matrix, for three intensities."""
        features = OPURandomFeatures(4, form="centered", gamma=1.7).fit_transform(codes)
        popcounts = codes.sum(axis=1)
        R = SimulatedOPU().matrix(24, 3)
        rest = (np.abs(codes @ R.T) ** 2 - popcounts[:, None]) / np.sqrt(3)
        expected = 1.7**2 * np.column_stack([rest, popcounts])
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)

    def test_type_travels_through_slices_but_not_arithmetic(self, codes):
        features = OPURandomFeatures(6).fit_transform(codes)
        assert isinstance(features[:3], OPUFeatures)
        assert type(features * 2) is np.ndarray
        assert type(features @ np.ones((6, 1))) is np.ndarray
        assert np.isscalar(features.max())

    def test_passes_are_counted(self, codes):
        model = OPURandomFeatures(6, opu=Hardware()).fit(codes)
        model.transform(codes)
        assert model.opu_.n_passes == 30


class TestGamma:
    def test_scalar_scales_the_kernel_by_its_fourth_power(self, codes):
        plain, scaled = (OPURandomFeatures(9, gamma=g).fit_transform(codes) for g in (1.0, 2.0))
        np.testing.assert_allclose(scaled, 4 * plain)

    def test_one_for_each_feature(self, codes):
        gamma = np.linspace(0.5, 2, 9)
        features = OPURandomFeatures(9, gamma=gamma).fit_transform(codes)
        np.testing.assert_allclose(
            features, OPURandomFeatures(9).fit_transform(codes) * gamma**2, rtol=1e-6
        )

    @pytest.mark.parametrize("gamma", [[1.0, 2.0], [[1.0]], [-1.0] * 5])
    def test_wrong_shape_or_sign(self, codes, gamma):
        with pytest.raises(ValueError, match="n_components=5 positive numbers, got an array"):
            OPURandomFeatures(5, gamma=gamma).fit(codes)

    @pytest.fixture
    def task(self, rng):
        codes = rng.integers(0, 2, size=(120, 10))
        signal = codes[:, 0] * codes[:, 1] + 0.5 * codes[:, 2]
        return codes, signal + 0.1 * rng.standard_normal(120)

    @staticmethod
    def error(model, codes, y):
        """Oracle: leave-one-out error by one fit for every row."""
        features = np.asarray(model.transform(codes), dtype=np.float64)
        target = (y - y.mean()) / y.std()
        errors = []
        for i in range(len(y)):
            kept = np.arange(len(y)) != i
            ridge = OPUKernelRidge(model.alpha, kernel="linear")
            ridge.fit(features[kept], target[kept])
            errors.append((ridge.predict(features[[i]])[0] - target[i]) ** 2)
        return np.mean(errors)

    @pytest.mark.parametrize("n_features", [3, 12], ids=["primal", "dual"])
    def test_what_is_minimised(self, rng, n_features):
        """Oracle: scikit-learn's Ridge with an intercept, fitted once for every row left out."""
        Phi, Y = rng.standard_normal((8, n_features)), rng.standard_normal((8, 2))
        centred = torch.from_numpy(Phi - Phi.mean(0)), torch.from_numpy(Y - Y.mean(0))
        errors = []
        for i in range(8):
            kept = np.arange(8) != i
            left_out = Ridge(0.7).fit(Phi[kept], Y[kept]).predict(Phi[[i]])
            errors.append(np.mean((left_out - Y[i]) ** 2))
        assert _leave_one_out_error(*centred, 0.7).item() == pytest.approx(np.mean(errors))

    @pytest.mark.parametrize("n_components", [40, 200], ids=["primal", "dual"])
    def test_learned_scalar_is_a_minimum(self, task, n_components):
        codes, y = task
        model = OPURandomFeatures(n_components, gamma="learn").fit(codes, y)
        best = self.error(model, codes, y)
        for factor in (0.8, 1.25):
            other = OPURandomFeatures(n_components, gamma=model.gamma_ * factor).fit(codes)
            assert best <= self.error(other, codes, y) + 1e-9

    def test_of_the_exact_form(self, codes):
        """Oracle: the features themselves, times gamma squared."""
        gamma = np.linspace(0.5, 2, 300)
        features = OPURandomFeatures(form="exact", gamma=gamma).fit_transform(codes)
        plain = OPURandomFeatures(form="exact").fit_transform(codes)
        np.testing.assert_allclose(features, plain * gamma**2, rtol=1e-6)
        with pytest.raises(ValueError, match=r"k\(k \+ 1\)/2=300 positive numbers"):
            OPURandomFeatures(form="exact", gamma=[1.0, 2.0]).fit(codes)

    def test_one_for_each_feature_does_better_in_sample(self, task):
        codes, y = task
        scalar = OPURandomFeatures(40, gamma="learn").fit(codes, y)
        many = OPURandomFeatures(40, gamma="learn", gamma_per="feature").fit(codes, y)
        assert many.gamma_.shape == (40,)
        assert self.error(many, codes, y) < self.error(scalar, codes, y)

    def test_of_as_many_rows_as_can_be_fitted(self):
        """Oracle: two rows, which any large gamma fits; an alpha beside it was lost to rounding."""
        model = OPURandomFeatures(32, gamma="learn").fit(np.eye(2), [-8.6, 0.0])
        assert np.isfinite(model.gamma_)

    def test_labels_can_be_learned_from(self, task):
        codes, y = task
        model = OPURandomFeatures(20, gamma="learn").fit(codes, np.where(y > 0.5, "a", "b"))
        assert model.gamma_ > 0

    def test_targets_are_checked(self, codes):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            OPURandomFeatures(5, gamma="learn").fit(codes, [1.0, 2.0])
        with pytest.raises(ValueError, match="Input y contains NaN"):
            OPURandomFeatures(5, gamma="learn").fit(codes, np.full(len(codes), np.nan))

    def test_needs_targets(self, codes):
        with pytest.raises(ValueError, match="gamma='learn' needs y: pass targets to fit"):
            OPURandomFeatures(5, gamma="learn").fit(codes)
