"""Cross-fitted ensembles and what they are made of."""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, train_test_split

from skopu import (
    ConvergenceDisplay,
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    EndToEndOPURegressor,
    SupervisedBinarizer,
)
from skopu.cross_fitted.averaging import greedy_average
from skopu.cross_fitted.folds import assign_folds
from skopu.cross_fitted.selection import evaluate_form
from skopu.exceptions import InterruptedFitWarning
from skopu.forms.kernel import form_kernel
from skopu.ridge.held_out import ridge_path

RNG = np.random.default_rng(0)
P = RNG.random((60, 5))
Y = np.column_stack([np.sin(4 * P[:, 0]) + P[:, 1] * P[:, 2], P[:, 3]])
WEIGHTS = RNG.uniform(0.5, 2, size=60)


def pair_features(P):
    """Explicit features of the form kernel: the bits and their products, about one half."""
    C = P - 0.5
    i, j = np.triu_indices(P.shape[1], 1)
    return np.hstack([C, np.sqrt(2) * C[:, i] * C[:, j]])


def kernel(rows, centres):
    return form_kernel(P[rows], P[centres])


def test_form_kernel_is_the_inner_product_of_bits_and_pairs():
    """Oracle: the features written out."""
    features = pair_features(P)
    np.testing.assert_allclose(form_kernel(P, P[:7]), features @ features[:7].T, atol=1e-12)


def test_ridge_path_equals_weighted_ridge_on_explicit_features():
    """Oracle: scikit-learn's Ridge with an intercept and sample weights."""
    features, rows = pair_features(P), np.arange(60)
    shares = WEIGHTS / WEIGHTS.sum()
    centred = features - shares @ features
    trace = WEIGHTS @ np.square(centred).sum(1)
    path, centres = ridge_path(kernel, rows, Y, WEIGHTS, [1e-4, 1e-1], seed=0)
    for relative, dual, intercept in zip([1e-4, 1e-1], *path):
        expected = Ridge(relative * trace).fit(features, Y, sample_weight=WEIGHTS)
        predicted = kernel(rows, centres) @ dual + intercept
        np.testing.assert_allclose(predicted, expected.predict(features), atol=1e-9)


def test_landmarks_that_span_the_features_give_the_exact_path():
    """Oracle: the exact path; 30 centres span the 15 features of the kernel."""
    rows = np.arange(60)
    exact, _ = ridge_path(kernel, rows, Y, WEIGHTS, [1e-3], seed=0)
    few, centres = ridge_path(kernel, rows, Y, WEIGHTS, [1e-3], 0, max_rows=50, n_centres=30)
    assert len(centres) == 30
    np.testing.assert_allclose(
        kernel(rows, centres) @ few.dual[0] + few.intercept[0],
        kernel(rows, rows) @ exact.dual[0] + exact.intercept[0],
        atol=1e-6,
    )


def test_greedy_average_of_two_picks_is_the_best_pair_with_the_best_candidate():
    """Oracle: enumeration of all pairs that hold the best single candidate."""
    predictions = Y[None] + RNG.standard_normal((6, 60, 2)) * RNG.uniform(0.3, 1, (6, 1, 1))

    def error(chosen):
        squares = np.square(predictions[list(chosen)].mean(0) - Y).mean(1)
        return np.average(squares, weights=WEIGHTS)

    best = min(range(6), key=lambda i: error([i]))
    pairs = [pair for pair in combinations_with_replacement(range(6), 2) if best in pair]
    shares, found = greedy_average(predictions, Y, WEIGHTS, 2)
    assert found == pytest.approx(min(map(error, pairs)), rel=1e-12)
    assert found == pytest.approx(error(np.repeat(range(6), (2 * shares).astype(int))), rel=1e-12)


def test_folds_are_even_overall_and_within_classes():
    """Oracle: counting."""
    classes = np.repeat([0, 1, 2], [40, 17, 6])
    folds = assign_folds(63, 4, classes, seed=1)
    assert np.ptp(np.bincount(folds)) <= 1
    for label in range(3):
        assert np.ptp(np.bincount(folds[classes == label], minlength=4)) <= 1


@pytest.fixture(scope="module")
def diabetes():
    return train_test_split(*load_diabetes(return_X_y=True), random_state=0)


SMALL = {"n_bits": 8, "cv": 2, "max_iter": 60, "random_state": 0}


def test_predictions_are_the_average_of_the_candidates(diabetes):
    """Oracle: the ensemble recomputed from its public parts, form by form."""
    X, X_test, y, _ = diabetes
    model = CrossFittedOPURegressor(**SMALL).fit(X, y)
    total = np.full((len(X_test), 1), model.bias_[0])
    for p, linear, pairs in zip(model.bit_probabilities(X_test), model.linear_, model.pairs_):
        c = p - 0.5
        total[:, 0] += c @ linear[0] + np.einsum("ni,ij,nj->n", c, pairs[0], c)
        np.testing.assert_allclose(np.diag(pairs[0]), 0)
        np.testing.assert_allclose(pairs[0], pairs[0].T, atol=1e-12)
    np.testing.assert_allclose(model.predict(X_test), total[:, 0] * y.std() + y.mean(), rtol=1e-9)
    assert sum(model.candidates_["share"]) == pytest.approx(1)


def test_collapsed_readouts_equal_kernel_ridge_of_all_encoders(diabetes):
    """Oracle: KernelRidge with the mean kernel of the encoders, all weight on one readout."""
    from skopu.cross_fitted.selection import ALPHAS, Selector
    from skopu.cross_fitted.training import STRENGTHS, train_fold_models

    X, _, y, _ = diabetes
    X, targets = 10 * X, ((y - y.mean()) / y.std())[:, None]
    folds = assign_folds(len(X), 2, None, 0)
    rows = [np.flatnonzero(folds != f) for f in range(2)]
    settings = CrossFittedOPURegressor(**SMALL)
    ones = np.ones(len(X))
    models = train_fold_models([X], targets, ones, rows, STRENGTHS, settings, seed=0)
    selector = Selector([X], models, targets, ones, folds, 2, 0)
    group = ((0, 0), (0, 3))
    shares = np.array([1.0])
    encoders, forms = selector._combine([("ridge", group, ALPHAS[8])], shares)
    assert encoders.tolist() == [[0, 0, 0], [0, 0, 3], [1, 0, 0], [1, 0, 3]]
    codes = [selector._probabilities(f, net, np.arange(len(X))) for f in range(2) for net in group]
    K = np.mean([form_kernel(p, p) for p in codes], axis=0)
    H = np.eye(len(X)) - 1 / len(X)
    K = H @ K @ H
    expected = KernelRidge(alpha=ALPHAS[8] * np.trace(K), kernel="precomputed").fit(K, targets)
    parts = zip(codes, forms.linear, forms.pairs)
    found = forms.bias + sum(evaluate_form(*part) for part in parts)
    np.testing.assert_allclose(found, expected.predict(K), atol=1e-8)


def test_held_out_error_is_that_of_unseen_rows(diabetes):
    """Oracle: rows never given. With noise for a target nothing can be learned, so an error
    below that of the mean would come from rows that were seen. 300 rows: the mean of squares
    of a fixed sample has a relative sd of .08; the tolerance of .15 below 1 fails by chance
    in 3 of 100 samples, and the sample is fixed."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((300, 4)), rng.standard_normal(300)
    model = CrossFittedOPURegressor(**SMALL).fit(X, y)
    assert model.validation_error_ > 0.85


def test_ensemble_beats_one_exact_model(diabetes):
    """Oracle: the single model of the package on the same rows and budget."""
    X, X_test, y, y_test = diabetes
    exact = SupervisedBinarizer(16, gradient="exact", max_iter=200, random_state=0)
    single = EndToEndOPURegressor(exact, prediction="mean", random_state=0).fit(X, y)
    model = CrossFittedOPURegressor(16, max_iter=200, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > single.score(X_test, y_test)


def test_probabilities_are_calibrated_on_rows_left_out():
    """Oracle: the log loss of the class shares, and of scores that are not scaled."""
    X, y = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    model = CrossFittedOPUClassifier(**SMALL).fit(X, y)
    loss = log_loss(y_test, model.predict_proba(X_test))
    assert loss < 0.2 < log_loss(y_test, np.full(len(y_test), y.mean()))
    model.temperature_ = 1.0
    assert loss < log_loss(y_test, model.predict_proba(X_test))


def test_given_splits_are_the_folds(diabetes):
    """Oracle: the same folds, as a splitter and as splits."""
    X, X_test, y, _ = diabetes
    groups = np.arange(len(X)) % 5
    splits = list(GroupKFold(5).split(X, y, groups))
    model = CrossFittedOPURegressor(**{**SMALL, "cv": splits}).fit(X, y)
    assert len(splits) == 5
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(model.predict(X_test), again.predict(X_test))
    CrossFittedOPURegressor(**{**SMALL, "cv": KFold(3)}).fit(X, y)


@pytest.mark.parametrize("cv", [ShuffleSplit(3, random_state=0), [([0, 1], [2, 3])]])
def test_splits_that_leave_rows_out_are_refused(diabetes, cv):
    X, _, y, _ = diabetes
    with pytest.raises(ValueError, match="must hold every row out exactly once"):
        CrossFittedOPURegressor(**{**SMALL, "cv": cv}).fit(X, y)


def test_several_outputs_and_sparse_rows(diabetes):
    """Oracle: shapes, and the dense rows without centring for the sparse ones."""
    X, X_test, y, _ = diabetes
    model = CrossFittedOPURegressor(**SMALL).fit(X, np.column_stack([y, -y]))
    both = model.predict(X_test)
    assert both.shape == (len(X_test), 2)
    assert np.corrcoef(both.T)[0, 1] < -0.9
    model = CrossFittedOPURegressor(**SMALL).fit(sparse.csr_matrix(X), y)
    assert len(model.scalers_) == 1
    assert model.score(sparse.csr_matrix(X), y) > 0.3


def test_candidates_make_a_table_and_the_history_a_figure(diabetes):
    X, _, y, _ = diabetes
    model = CrossFittedOPURegressor(**SMALL).fit(X, y)
    table = pd.DataFrame(model.candidates_)
    assert set(table.kind) == {"net", "ridge"}
    assert table.error.min() >= model.validation_error_ - 1e-12
    ConvergenceDisplay.from_estimator(model)


def test_interrupted_training_goes_on_to_the_readouts(diabetes, monkeypatch):
    """Oracle: the iterations done, and a model that predicts."""
    from skopu.cross_fitted import training as folds

    X, _, y, _ = diabetes
    surrogate, calls = folds._Training.surrogate, []

    def cut(self):
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return surrogate(self)

    monkeypatch.setattr(folds._Training, "surrogate", cut)
    with pytest.warns(InterruptedFitWarning, match="interrupted at iteration 21 of 60"):
        model = CrossFittedOPURegressor(**SMALL).fit(X, y)
    assert model.score(X, y) > 0.2


def test_not_fitted():
    with pytest.raises(NotFittedError):
        CrossFittedOPURegressor().bit_probabilities(np.zeros((2, 3)))
