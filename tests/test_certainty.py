"""How sure predictions are.

Oracles: scikit-learn's Gaussian process, refits without a row, and how often intervals hold.
"""

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skopu import (
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    SupervisedBinarizer,
)
from skopu._core.rows import merge_repeated_rows
from skopu.cross_fitted.conformal import Residuals
from skopu.ridge.leave_one_out import LeaveOneOut
from skopu.ridge.systems import system_of_features

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.3 * rng.normal(size=60)
NEW = 2 * rng.normal(size=(25, 4))


def noise_by_refits(model, X, y, weights):
    """Weighted mean of residual times residual left out, from as many refits as rows."""
    fitted = clone(model).set_params(alpha=model.alpha_).fit(X, y, weights).predict(X)
    left_out = np.empty(len(y))
    for row in range(len(y)):
        rest = np.arange(len(y)) != row
        other = clone(model).set_params(alpha=model.alpha_).fit(X[rest], y[rest], weights[rest])
        left_out[row] = other.predict(X[[row]])[0]
    return np.average((y - fitted) * (y - left_out), weights=weights)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("kernel", ["rbf", "linear", "wide"])
def test_gaussian_process(kernel, fit_intercept):
    """Oracle: the process with the same prior and noise; an intercept is a wide constant."""
    alpha, name = 0.3, "linear" if kernel == "wide" else kernel
    rows = rng.normal(size=(60, 90)) / 9 if kernel == "wide" else X
    new = rng.normal(size=(25, 90)) / 9 if kernel == "wide" else NEW
    model = OPUKernelRidge(
        alpha, kernel=name, gamma=0.5, fit_intercept=fit_intercept, compute_std=True
    ).fit(rows, y)
    noise = noise_by_refits(model, rows, y, np.ones(60))
    prior = RBF(1.0) if name == "rbf" else DotProduct(0, sigma_0_bounds="fixed")
    prior = ConstantKernel(noise / alpha) * prior + ConstantKernel(1e5 if fit_intercept else 1e-9)
    process = GaussianProcessRegressor(prior, alpha=noise, optimizer=None).fit(rows, y)
    expected, std = process.predict(new, return_std=True)
    mean, found = model.predict(new, return_std=True)
    np.testing.assert_allclose(mean, expected, atol=1e-3)
    np.testing.assert_allclose(found, np.sqrt(std**2 + noise), rtol=1e-4)
    np.testing.assert_array_equal(mean, model.predict(new))


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_noise_of_weighted_rows(kernel):
    """Oracle: refits without each row, at the alpha that was chosen."""
    weights = rng.uniform(0.2, 2, 60)
    model = OPUKernelRidge(kernel=kernel, compute_std=True).fit(X, y, sample_weight=weights)
    expected = noise_by_refits(clone(model).set_params(alpha=model.alpha_).fit(X, y), X, y, weights)
    np.testing.assert_allclose(model._posterior_.noise, expected, rtol=1e-6)


def test_targets_have_noise_and_alpha_of_their_own():
    """Oracle: each target fitted alone; rows given sparse."""
    Y, alpha = np.column_stack([y, 10 * rng.normal(size=60)]), [0.1, 5.0]
    for kernel in ("rbf", "linear"):
        model = OPUKernelRidge(alpha, kernel=kernel, compute_std=True).fit(X, Y)
        means, stds = model.predict(NEW, return_std=True)
        assert means.shape == stds.shape == (25, 2)
        for target in range(2):
            alone = OPUKernelRidge(alpha[target], kernel=kernel, compute_std=True)
            expected = alone.fit(X, Y[:, target]).predict(NEW, return_std=True)[1]
            np.testing.assert_allclose(stds[:, target], expected)
        again = clone(model).fit(sparse.csr_array(X), Y)
        np.testing.assert_allclose(again.predict(sparse.csr_array(NEW), return_std=True)[1], stds)


def test_repeated_rows_of_weight_zero_and_pickles():
    """Oracle: the rows alone; the model before."""
    model = OPUKernelRidge(kernel="rbf", compute_std=True).fit(X, y)
    expected = model.predict(NEW, return_std=True)
    more = np.vstack([NEW[:3], X])
    weights = np.r_[np.zeros(3), np.ones(60)]
    other = clone(model).fit(more, np.r_[np.zeros(3), y], sample_weight=weights)
    for found in (other, pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(found.predict(NEW, return_std=True), expected, rtol=1e-6)


def test_rows_in_chunks():
    """Oracle: the noise when every row has the mean leverage."""
    model = OPUKernelRidge(1.0, kernel="linear", compute_std=True).fit_chunks([(X, y)])
    scan = LeaveOneOut(system_of_features(X, y[:, None], np.ones(60), True), [1.0])
    residual = y - model.predict(X)
    leverage = (scan.values / (scan.values + 1)).sum() + 1
    expected = residual @ residual / 60 / (1 - leverage / 60)
    np.testing.assert_allclose(model._posterior_.noise, expected)
    assert (model.predict(NEW, return_std=True)[1] > np.sqrt(expected)).all()


def test_features_of_codes_make_no_pass_more():
    """Oracle: passes of a prediction without standard deviations."""
    model = OPUKernelRidge(
        n_components=32, binarizer=HyperplaneBinarizer(16, random_state=0), compute_std=True
    ).fit(X, y)
    before = model.features_.opu_.n_passes
    mean, std = model.predict(NEW, return_std=True)
    assert model.features_.opu_.n_passes - before == len(NEW)
    np.testing.assert_array_equal(mean, model.predict(NEW))
    assert (std > 0).all()


@pytest.mark.parametrize("prediction", ["draws", "threshold", "mean"])
def test_end_to_end(prediction):
    """Oracle: ridge and draws taken apart by hand."""
    binarizer = SupervisedBinarizer(8, n_components=64, max_iter=40, random_state=0)
    model = EndToEndOPURegressor(binarizer, prediction=prediction, n_draws=5, random_state=0)
    model.set_params(ridge__compute_std=True).fit(X, y)
    mean, std = model.predict(NEW, return_std=True)
    np.testing.assert_allclose(mean, model.predict(NEW), rtol=1e-5)
    probabilities = model.binarizer_.bit_probabilities(NEW)
    if prediction == "mean":
        Phi, extra = model.features_.expectation(probabilities), 0.0
    elif prediction == "threshold":
        Phi, extra = model.features_.transform(model.binarizer_.transform(NEW)), 0.0
    else:
        draws = [probabilities > own for own in model.thresholds_]
        draws = [np.asarray(model.features_.transform(codes)) for codes in draws]
        Phi = np.mean(draws, axis=0)
        readouts = [model.ridge_.predict(draw) for draw in draws]
        extra = np.var(readouts, axis=0, ddof=1) / 5
    expected = np.square(model.ridge_.predict(Phi, return_std=True)[1]) + extra
    np.testing.assert_allclose(std**2, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OPUKernelRidge(kernel="rbf"), "compute_std=True"),
        (OPUKernelRidge(kernel="precomputed", compute_std=True), "kernel of each row with itself"),
        (EndToEndOPURegressor(SupervisedBinarizer(4, max_iter=2)), "compute_std=True"),
    ],
)
def test_what_is_missing_is_said(model, message):
    rows = X @ X.T if getattr(model, "kernel", "") == "precomputed" else X
    with pytest.raises(ValueError, match=message):
        model.fit(rows, y).predict(rows, return_std=True)


def test_no_prior_no_posterior():
    with pytest.raises(ValueError, match="needs alpha above 0"):
        OPUKernelRidge(0.0, kernel="linear", compute_std=True).fit(X, y)


def brute_force(model, X_new, coverage, weights=None):
    """Ends of CV+ intervals in standardised units, by the definition, one row at a time."""
    residuals, predictions = model._residuals_, model._outputs_of_folds(X_new)[:, :, 0]
    weights = residuals.weights if weights is None else weights
    ends = []
    for own in predictions.T:
        pairs = own[residuals.folds], residuals.scores[:, 0]
        for values, sign in ((pairs[1] - pairs[0], -1), (pairs[1] + pairs[0], 1)):
            order = np.argsort(values)
            reached = np.cumsum(weights[order]) / (weights.sum() + residuals.own_weight)
            above = np.flatnonzero(reached >= coverage - 1e-12)
            ends.append(sign * (values[order][above[0]] if len(above) else np.inf))
    return np.reshape(ends, (-1, 2))


ENSEMBLE = CrossFittedOPURegressor(6, cv=3, max_iter=30, random_state=0)


class TestIntervals:
    def test_models_of_folds_are_those_that_left_the_rows_out(self):
        """Oracle: the predictions of rows left out, by which the average was chosen."""
        model = clone(ENSEMBLE).fit(X, y)
        kept = merge_repeated_rows(X, y[:, None], np.ones(60)).kept
        target = (y[kept] - y.mean()) / y.std()
        own = model._outputs_of_folds(X[kept])[model._residuals_.folds, np.arange(60), 0]
        np.testing.assert_allclose(
            np.abs(target - own), model._residuals_.scores[:, 0], atol=1e-3
        )  # kernels in float32

    @pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
    def test_definition(self, coverage):
        """Oracle: quantiles by hand; of 60 rows none reaches 0.99 of 61."""
        weights = rng.integers(1, 4, 60)
        for given in (None, weights):
            model = clone(ENSEMBLE).fit(X, y, sample_weight=given)
            found = model.predict_interval(NEW, coverage)
            expected = brute_force(model, NEW, coverage)
            scale, mean = model._target_scaler.scale_, model._target_scaler.mean_
            np.testing.assert_allclose(found, expected * scale + mean)
            assert np.isinf(found).all() == (coverage == 0.99)

    def test_groups_count_once(self):
        """Oracle: the definition with weights that add up to 1 in each group."""
        groups = np.repeat(np.arange(12), [1, 9] * 6)
        model = clone(ENSEMBLE).fit(X, y, groups=groups)
        kept = merge_repeated_rows(X, y[:, None], np.ones(60)).kept
        folds, own = model._residuals_.folds, groups[kept]
        assert all(len(np.unique(folds[own == group])) == 1 for group in range(12))
        weights = 1 / np.bincount(groups)[own]
        found = model.predict_interval(NEW, 0.8)
        scale, mean = model._target_scaler.scale_, model._target_scaler.mean_
        np.testing.assert_allclose(found, brute_force(model, NEW, 0.8, weights) * scale + mean)
        assert np.isinf(model.predict_interval(NEW, 0.95)).all()  # 12 groups tell 12 / 13

    def test_several_outputs(self):
        """Oracle: shapes, and the same ends with outputs the other way round."""
        Y = np.column_stack([y, 5 - 2 * y])
        model = clone(ENSEMBLE).fit(X, Y)
        found = model.predict_interval(NEW, 0.8)
        assert found.shape == (25, 2, 2)
        assert (found[:, 0] < found[:, 1]).all()

    @pytest.mark.parametrize("coverage", [0.5, 0.9])
    def test_coverage(self, coverage):
        """Oracle: the share of 400 new targets; three standard deviations about the promise."""
        data = np.random.default_rng(1)
        rows = data.normal(size=(520, 3))
        target = rows[:, 0] ** 2 + data.exponential(size=520)
        model = clone(ENSEMBLE).fit(rows[:120], target[:120])
        low, high = model.predict_interval(rows[120:], coverage).T
        share = ((low <= target[120:]) & (target[120:] <= high)).mean()
        # Of the rows that are fitted, and of those that are counted.
        spread = 3 * np.sqrt(coverage * (1 - coverage) * (1 / 120 + 1 / 400))
        assert coverage - spread < share < coverage + spread + 0.05

    @pytest.mark.parametrize("coverage", [0, 1, 90])
    def test_a_share_is_a_share(self, coverage):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            clone(ENSEMBLE).fit(X, y).predict_interval(NEW, coverage)


class TestSets:
    def test_p_values(self):
        """Oracle: counting, row by row and label by label."""
        labels = np.array(["a", "b", "c"])[np.digitize(y, [-0.7, 0.7])]
        model = CrossFittedOPUClassifier(6, cv=2, max_iter=20, random_state=0).fit(X, labels)
        residuals = model._residuals_
        strange = [model._strangeness(own) for own in model._outputs_of_folds(NEW)]
        expected = np.empty((25, 3))
        for row in range(25):
            for label in range(3):
                own = np.array([strange[fold][row, label] for fold in residuals.folds])
                count = (residuals.scores[:, 0] >= own).sum()
                expected[row, label] = (count + 1) / (60 + 1)
        np.testing.assert_allclose(residuals.ranks(np.stack(strange)), expected)
        np.testing.assert_array_equal(model.predict_set(NEW, 0.8), expected > 0.2)

    def test_p_values_of_equal_scores(self):
        """Oracle: counting by hand. A row left out that is as strange is not below."""
        scores, folds = np.array([[1.0], [2.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
        residuals = Residuals(scores, folds, np.ones(4))
        found = residuals.ranks(np.full((2, 1, 1), 2.0))
        assert found == pytest.approx((3 + 1) / (4 + 1))

    def test_coverage_and_size(self):
        """Oracle: the share of 300 new labels; larger sets hold more."""
        data = np.random.default_rng(2)
        rows = data.normal(size=(450, 3))
        labels = rows[:, 0] + 0.5 * data.normal(size=450) > 0
        model = CrossFittedOPUClassifier(6, cv=3, max_iter=30, random_state=0)
        model.fit(rows[:150], labels[:150])
        sets = {coverage: model.predict_set(rows[150:], coverage) for coverage in (0.7, 0.95)}
        for coverage, members in sets.items():
            share = members[np.arange(300), labels[150:].astype(int)].mean()
            assert abs(share - coverage) < 3 * np.sqrt(coverage * (1 - coverage) / 100)
        assert (sets[0.7] <= sets[0.95]).all()


class TestGroups:
    def test_metadata_routing(self):
        """Oracle: the groups given by hand."""
        groups = np.arange(60) % 10
        with sklearn.config_context(enable_metadata_routing=True):
            model = clone(ENSEMBLE).set_fit_request(groups=True)
            chain = make_pipeline(StandardScaler(), model).fit(X, y, groups=groups)
        by_hand = clone(ENSEMBLE).fit(StandardScaler().fit_transform(X), y, groups=groups)
        np.testing.assert_array_equal(chain[-1]._residuals_.folds, by_hand._residuals_.folds)
        assert not np.array_equal(
            by_hand._residuals_.folds, clone(ENSEMBLE).fit(X, y)._residuals_.folds
        )
        assert "_groups" not in vars(by_hand)

    def test_a_splitter_gets_them(self):
        """Oracle: the splits of the same splitter."""
        groups = np.arange(60) % 10
        model = clone(ENSEMBLE).set_params(cv=GroupKFold(3)).fit(X, y, groups=groups)
        folds = np.empty(60, dtype=int)
        for number, (_, held_out) in enumerate(GroupKFold(3).split(X, y, groups)):
            folds[held_out] = number
        kept = merge_repeated_rows(X, y[:, None], np.ones(60)).kept
        np.testing.assert_array_equal(model._residuals_.folds, folds[kept])

    def test_wrong_groups(self):
        with pytest.raises(ValueError, match="one group only, 7"):
            clone(ENSEMBLE).fit(X, y, groups=np.full(60, 7))
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            clone(ENSEMBLE).fit(X, y, groups=np.arange(59))
