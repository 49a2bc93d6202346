"""Scalings of the inputs: weights of columns by trees, and which scalings are chosen or go on."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import ExtraTreesRegressor

from skopu import CrossFittedOPUClassifier, CrossFittedOPURegressor, SupervisedBinarizer
from skopu._core.rows import Rows
from skopu._core.scaling import fit_scaler
from skopu.binarizers.relevance import column_weights, weigh_columns
from skopu.cross_fitted.scalings import Scaling, fit_scalers, make_scalings, names_of
from skopu.cross_fitted.training import STRENGTHS, _FoldRows, _start, train_fold_models
from skopu.cross_fitted.trees import KINDS
from skopu.training.choice import _EXACT_MARGIN, _MARGIN, _Candidates

SMALL = {"n_bits": 8, "cv": 3, "max_iter": 120, "random_state": 0}
WEIGHTS = np.ones(150)


def rows(n_rows=150, n_columns=12, seed=0):
    """Return columns of which the first two say all of the target, in single precision."""
    X = np.random.default_rng(seed).standard_normal((n_rows, n_columns))
    y = np.sin(2 * X[:, 0]) + X[:, 0] * X[:, 1]
    return X, y.astype(np.float32).astype(np.float64)


def scalings_of(X, y, folds, names=("standard", "quantile", "relevance"), seed=3):
    _, copies = fit_scalers(names, X, WEIGHTS, 0)
    return make_scalings(names, copies, y[:, None], WEIGHTS, folds, {}, seed)


def test_weights_are_roots_of_what_a_forest_explains_by_each_column():
    """Oracle: scikit-learn's forest on the rows that a fold does not hold out."""
    X, y = rows()
    folds = np.arange(len(X)) % 3
    *others, relevance = scalings_of(X, y, folds)
    assert [scaling.column_weights for scaling in others] == [None, None]
    settings = KINDS["small leaves"]
    for fold, weights in enumerate(relevance.column_weights):
        forest = ExtraTreesRegressor(
            settings["n_estimators"],
            max_leaf_nodes=settings["n_bits"] // settings["n_estimators"],
            min_samples_leaf=settings["min_samples_leaf"],
            random_state=3,
        ).fit(relevance.X[folds != fold], y[folds != fold])
        shares = forest.feature_importances_
        np.testing.assert_allclose(weights, np.sqrt(shares / shares.max()), atol=1e-12)


def test_a_forest_that_is_grown_already_is_taken():
    """Oracle: the shares that are given."""
    X, y = rows()

    class Grown:
        def __init__(self, shares):
            self.forest = self
            self.feature_importances_ = np.asarray(shares)

    bits = {"small leaves": [Grown([0.64, 0.36, 0, 0]), Grown([0.2, 0.8, 0, 0])]}
    (scaling,) = make_scalings(
        ["relevance"], [X[:, :4]], y[:, None], WEIGHTS, np.arange(len(X)) % 2, bits, 0
    )
    np.testing.assert_allclose(scaling.column_weights, [[1, 0.75, 0, 0], [0.5, 1, 0, 0]])


def test_where_trees_find_nothing_columns_weigh_the_same():
    """Oracle: ones; all targets are equal, so that there is nothing to split."""
    X, y = rows()
    *_, relevance = scalings_of(X, np.zeros_like(y), np.arange(len(X)) % 3)
    np.testing.assert_array_equal(relevance.column_weights, np.ones((3, X.shape[1])))


def test_weights_of_columns_end_up_in_the_encoders():
    """Oracle: models of columns multiplied beforehand; their W, times the weights, is for the
    columns as they were."""
    X, y = rows()
    folds, weights = np.arange(len(X)) % 3, np.linspace(0.2, 1, X.shape[1])
    given = Scaling("relevance", 0, X, np.tile(weights, (3, 1)))
    multiplied = Scaling("standard", 0, X * weights)
    settings = CrossFittedOPURegressor(n_bits=4, max_iter=40)
    found, expected = (
        train_fold_models([one], y[:, None], WEIGHTS, folds, STRENGTHS, 2, settings, 0)
        for one in (given, multiplied)
    )
    np.testing.assert_array_equal(found.strengths, expected.strengths)
    np.testing.assert_allclose(found.coef, expected.coef * weights, atol=1e-4)
    np.testing.assert_allclose(found.intercept, expected.intercept, atol=1e-4)


def test_rows_held_out_are_judged_in_weighed_columns():
    """Oracle: the same models on columns multiplied beforehand."""
    X, y = rows()
    weights, folds = np.linspace(0.1, 1, X.shape[1]), np.arange(len(X)) % 3
    settings, errors = CrossFittedOPURegressor(n_bits=4), []
    given = Scaling("relevance", 0, X, np.tile(weights, (3, 1)))
    for scaling in (given, Scaling("standard", 0, X * weights)):
        parts = _FoldRows([scaling], y[:, None], WEIGHTS, folds, settings, 0)
        models = _start(parts, STRENGTHS, settings, 0)
        models.readout.data += 0.1  # one that says something
        errors.append(parts.held_out_errors(models))
    np.testing.assert_allclose(*errors, rtol=1e-4)


def test_the_better_two_scalings_go_on():
    """Oracle: the one that is made useless, of columns that say nothing, is gone."""
    X, y = rows()
    noise = np.random.default_rng(1).standard_normal(X.shape)
    scalings = [Scaling(name, i, X) for i, name in enumerate(("standard", "quantile"))]
    for place in range(3):
        with_noise = [*scalings[:place], Scaling("relevance", 2, noise), *scalings[place:]]
        settings = CrossFittedOPURegressor(**SMALL)
        folds = np.arange(len(X)) % 3
        models = train_fold_models(
            with_noise, y[:, None], WEIGHTS, folds, STRENGTHS, 3, settings, 0
        )
        assert [scaling.name for scaling in models.scalings] == ["standard", "quantile"]
        assert models.coef.shape[:3] == (3, 2, 3)


def test_few_columns_that_matter_among_many_are_found():
    """Oracle: the errors without the weights; a third of the variance left is much, a tenth little.

    The product of the first two of forty columns, 400 rows."""
    X, y = rows(800, 40)
    settings = {"n_bits": 32, "cv": 3, "max_iter": 400, "trees": False, "random_state": 0}
    errors = {}
    for scaler in ("both", "auto"):
        model = CrossFittedOPURegressor(scaler=scaler, **settings).fit(X[:400], y[:400])
        errors[scaler] = 1 - model.score(X[400:], y[400:])
    assert errors["auto"] < 0.5 * errors["both"]


def test_which_scalings_a_parameter_stands_for():
    """Oracle: the docstring."""
    many, few = np.zeros((100, 2)), np.zeros((99, 2))
    assert names_of("auto", many) == ["standard", "quantile", "relevance"]
    assert names_of("auto", few) == names_of("both", many) == ["standard", "quantile"]
    assert names_of("auto", sparse.csr_matrix(many)) == ["standard"]
    assert names_of("relevance", few) == ["relevance"]


@pytest.mark.parametrize("estimator", [CrossFittedOPURegressor, SupervisedBinarizer])
def test_sparse_rows_have_no_weights_of_columns(estimator):
    X, y = rows()
    with pytest.raises(
        ValueError, match=r"scaler='relevance' .* X is sparse: use scaler='standard'"
    ):
        estimator(8, scaler="relevance", max_iter=5).fit(sparse.csr_matrix(X), y)


def test_a_scaler_multiplies_its_columns_by_their_weights():
    """Oracle: standardised columns times the weights, by hand; constant columns weigh nothing."""
    X, y = rows()
    X[:, 5] = 3.0
    standard = fit_scaler("standard", X, WEIGHTS, 0)
    scaled = standard.transform(X)
    weighed = weigh_columns(standard, Rows(scaled, y[:, None], WEIGHTS, np.arange(len(X))), 3)
    settings = KINDS["small leaves"]
    forest = ExtraTreesRegressor(
        settings["n_estimators"],
        max_leaf_nodes=settings["n_bits"] // settings["n_estimators"],
        min_samples_leaf=settings["min_samples_leaf"],
        random_state=3,
    ).fit(scaled, y)
    expected = scaled * np.sqrt(forest.feature_importances_ / forest.feature_importances_.max())
    np.testing.assert_allclose(weighed.transform(X), expected, atol=1e-8)
    assert standard.transform(X).std(axis=0)[0] == pytest.approx(1)  # as it was


def test_nothing_to_tell_columns_by_leaves_them_as_they_are():
    np.testing.assert_array_equal(column_weights(np.zeros(3)), np.ones(3))


@pytest.mark.parametrize("gradient", ["loo", "exact"])
def test_a_binarizer_weighs_columns_where_few_of_many_matter_and_only_there(gradient):
    """Oracle: how the columns that it gives its encoder spread; 1 each if they are standardised."""
    X, y = rows(400, 40)
    binarizer = SupervisedBinarizer(16, gradient=gradient, max_iter=300, random_state=0)
    spreads = binarizer.fit(X, y).scaler_.transform(X).std(axis=0)
    assert spreads.max() == pytest.approx(1)
    assert spreads[2:].max() < 0.5
    X, y = X[:, :4], X[:, :4] @ np.ones(4)
    spreads = binarizer.fit(X, y).scaler_.transform(X).std(axis=0)
    assert spreads.min() > 0.8


def test_few_rows_are_not_asked_which_columns_matter():
    """Oracle: the scalings tried; a forest of 99 rows would tell little."""
    X, _ = rows(100)
    names = SupervisedBinarizer()._scalings
    assert names(X) == ["standard", "quantile", "relevance"]
    assert names(X[:99]) == ["standard", "quantile"]
    assert SupervisedBinarizer(gradient="exact")._scalings(X) == ["standard", "relevance"]
    assert names(sparse.csr_matrix(X)) == ["standard"]


@pytest.mark.parametrize("scaler", ["auto", "relevance"])
def test_classes_and_the_scalers_that_encoders_take(scaler):
    """Oracle: one standard scaler for two scalings; what is predicted does not need the forest."""
    X, y = rows(200)
    model = CrossFittedOPUClassifier(scaler=scaler, **SMALL).fit(X, y > 0)
    assert len(model.scalers_) == (2 if scaler == "auto" else 1)
    assert set(model.encoder_scaler_) <= set(range(len(model.scalers_)))
    named = {e["scaler"] for group in model.candidates_["encoders"] for e in group}
    assert "relevance" in named
    assert len(named) <= 2
    assert model.score(X, y > 0) > 0.8


def test_exact_training_weighs_columns_only_for_half_of_the_error():
    """Oracle: the ratio of errors that each way of training is given, one on either side."""
    X = np.zeros((2, 1))
    errors = np.array([[1.0, 2.0], [0.7, 3.0]])
    for margin, expected in ((0.9, 1), (0.5, 0)):
        candidates = _Candidates.__new__(_Candidates)
        candidates._copies, candidates._penalties = {0: X, 1: X}, np.arange(2)
        candidates.errors, candidates._margin = errors, margin
        assert candidates.best() == (expected, 0)
    assert _EXACT_MARGIN < _MARGIN
