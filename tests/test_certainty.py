"""How sure predictions are.

Oracles: scikit-learn's Gaussian process, refits without a row, and how often intervals hold.
"""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

from skopu import (
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    SupervisedBinarizer,
)
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
