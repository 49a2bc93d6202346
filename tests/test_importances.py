"""How much each column matters.

Oracles: finite differences of predictions, bits that are flipped, targets made of known columns.
"""

import numpy as np
import pytest
from oracles import BlackBox
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.pipeline import make_pipeline

from skopu import (
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu.cross_fitted.importances import importances
from skopu.cross_fitted.trees import predict_part

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 6)) * [1, 1, 3, 1, 1, 0]
y = 3 * X[:, 1] + np.sin(X[:, 2]) * X[:, 3]
EXACT = SupervisedBinarizer(12, n_components=128, max_iter=80, gradient="exact", random_state=0)
SMOOTH = [
    OPUKernelRidge(kernel="rbf"),
    OPUKernelRidge(kernel="rbf", kernel_approximation="fourier", n_components=40, random_state=0),
    OPUKernelRidge(kernel="poly", degree=2, alpha=1.0),
    EndToEndOPURegressor(EXACT, prediction="mean", random_state=0),
    CrossFittedOPURegressor(8, cv=2, max_iter=40, scaler="standard", trees=False, random_state=0),
]


def differences(predict, X, step=1e-4):
    """Gradients (n, d) of a smooth prediction."""
    moves = step * np.eye(X.shape[1])
    return np.column_stack([(predict(X + m) - predict(X - m)) / (2 * step) for m in moves])


@pytest.mark.parametrize("model", SMOOTH, ids=lambda m: f"{type(m).__name__}-{m.get_params()}"[:60])
def test_mean_squared_gradient(model):
    """Oracle: finite differences; the last column does not vary."""
    model = clone(model).fit(X, y)
    slopes = differences(model.predict, X) * X.std(axis=0) / y.std()
    expected = np.square(slopes).mean(axis=0)
    np.testing.assert_allclose(model.feature_importances_, expected, rtol=1e-4, atol=1e-9)
    assert model.feature_importances_[-1] == 0
    assert model.feature_importances_.argmax() == 1


def test_of_thresholded_codes():
    """Oracle: finite differences of the readout's mean over codes."""
    model = OPUKernelRidge(binarizer=EXACT, n_components=128).fit(X, y)

    def mean(X):
        p, c = model.binarizer_.bit_probabilities(X), model.features_
        return (c.expectation(p) @ model.readout_coef_) + model.intercept_

    slopes = differences(mean, X, 1e-2) * X.std(axis=0) / y.std()  # features are float32
    expected = np.square(slopes).mean(axis=0)
    np.testing.assert_allclose(model.feature_importances_, expected, rtol=2e-2, atol=1e-3)


def test_of_binary_columns():
    """Oracle: every bit of every row flipped."""
    bits = (X > 0).astype(float)[:, :5]
    model = OPUKernelRidge(n_components=64).fit(bits, y)
    changes = []
    for column in range(5):
        ones, zeros = bits.copy(), bits.copy()
        ones[:, column], zeros[:, column] = 1, 0
        changes.append(model.predict(ones) - model.predict(zeros))
    expected = np.square(np.transpose(changes) * bits.std(axis=0) / y.std()).mean(axis=0)
    np.testing.assert_allclose(model.feature_importances_, expected, rtol=1e-3)


def test_weights_and_sparse_rows():
    """Oracle: repeated rows; the same rows dense."""
    counts = rng.integers(0, 3, len(y))
    model = OPUKernelRidge(kernel="rbf")
    weighted = model.fit(X, y, sample_weight=counts).feature_importances_
    repeated = model.fit(X.repeat(counts, axis=0), y.repeat(counts)).feature_importances_
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)
    dense = model.fit(X, y).feature_importances_
    np.testing.assert_allclose(model.fit(sparse.csr_array(X), y).feature_importances_, dense)


@pytest.mark.parametrize(
    "model",
    [
        OPUKernelRidge(kernel="rbf", kernel_approximation="fourier", n_components=200),
        OPUKernelRidgeClassifier(kernel="rbf"),
        OPUKernelRidge(binarizer=EXACT, n_components=128),
        EndToEndOPUClassifier(EXACT, prediction="threshold"),
        CrossFittedOPUClassifier(8, cv=2, max_iter=20),
        CrossFittedOPURegressor(8, cv=2, max_iter=20),
    ],
    ids=lambda model: type(model).__name__,
)
def test_selection(model):
    """Oracle: the one column that the target is made of."""
    model = clone(model).set_params(random_state=0)
    target = X[:, 3] > 0 if "Classifier" in type(model).__name__ else X[:, 3]
    for selector in (
        SelectFromModel(model, max_features=1, threshold=-np.inf),
        RFE(model, n_features_to_select=1, step=3),
    ):
        np.testing.assert_array_equal(np.flatnonzero(selector.fit(X, target).get_support()), [3])


@pytest.mark.parametrize(
    "model",
    [
        EndToEndOPURegressor(clone(EXACT).set_params(gradient="loo", opu=BlackBox(), max_iter=2)),
        OPUKernelRidge(binarizer=HyperplaneBinarizer(8), n_components=16),
        OPUKernelRidge(kernel="laplacian"),
    ],
    ids=["unknown matrix", "steps", "no gradient"],
)
def test_unknown_importances_are_refused(model):
    """Nothing that a selector would take for importances of columns is there."""
    with pytest.raises(ValueError, match="feature_importances_"):
        SelectFromModel(model, max_features=1, threshold=-np.inf).fit(X, y).get_support()


def test_a_refit_that_cannot_give_them_drops_them():
    """Oracle: rows in chunks, of which no sample is kept."""
    model = OPUKernelRidge(n_components=32).fit((X > 0).astype(int), y)
    assert model.feature_importances_.shape == (6,)
    model.fit_chunks([((X > 0).astype(int), y)])
    assert not hasattr(model, "feature_importances_")


def test_a_linear_readout_has_coefficients_of_its_columns():
    """Behind features the columns are the features."""
    chain = make_pipeline(HyperplaneBinarizer(8), OPURandomFeatures(16), OPUKernelRidge())
    ridge = chain.fit(X, y)[-1]
    assert ridge.coef_.shape == (16,)
    assert not hasattr(ridge, "feature_importances_")


def test_trees_add_their_variance():
    """Oracle: what the trees of an ensemble predict, and where they split."""
    data = np.random.default_rng(1)
    rows = data.uniform(-1, 1, size=(300, 4))
    target = np.where(rows[:, 2] > 0.3, 1.0, -1.0)
    model = CrossFittedOPURegressor(8, cv=2, max_iter=20, random_state=0).fit(rows, target)
    whole, copies = model.feature_importances_, [s.transform(rows) for s in model.scalers_]
    assert whole.argmax() == 2
    trees, parts = np.zeros(4), model._trees_
    assert parts
    for kind in {part.kind for part in parts}:
        own = [part for part in parts if part.kind == kind]
        predicted = sum(predict_part(kind, p.bits, p.whole, copies[0]) for p in own)
        trees += predicted.var() * np.mean([p.bits.shares(4) for p in own], axis=0)
    model._trees_ = []
    standard = (target - target.mean()) / target.std()
    encoders = importances(copies, model, standard[:, None], np.ones(300))
    np.testing.assert_allclose(whole, encoders + trees, rtol=1e-6)
