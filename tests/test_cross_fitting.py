"""Cross-fitted ensembles and what they are made of."""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, make_friedman1
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
from skopu._core.rows import merge_repeated_rows
from skopu.cross_fitted.averaging import greedy_average
from skopu.cross_fitted.directions import few_directions
from skopu.cross_fitted.folds import assign_folds
from skopu.cross_fitted.readouts import ALPHAS, Codes, GroupReadouts
from skopu.cross_fitted.scalings import Scaling
from skopu.cross_fitted.selection import Candidate, Selector
from skopu.cross_fitted.training import STRENGTHS, train_fold_models
from skopu.cross_fitted.trees import (
    KINDS,
    TreeCodes,
    TreeReadouts,
    grow,
    predict_part,
    tree_parts,
)
from skopu.exceptions import InterruptedFitWarning
from skopu.forms.kernel import form_kernel, mean_kernel
from skopu.forms.quadratic import QuadraticForm
from skopu.ridge import held_out

ones = np.ones
RNG = np.random.default_rng(0)
P = RNG.random((60, 5))
Y = np.column_stack([np.sin(4 * P[:, 0]) + P[:, 1] * P[:, 2], P[:, 3]])
WEIGHTS = RNG.uniform(0.5, 2, size=60)


def pair_features(P):
    """Explicit features of the form kernel: the bits and their products, about one half."""
    C = P - 0.5
    i, j = np.triu_indices(P.shape[1], 1)
    return np.hstack([C, np.sqrt(2) * C[:, i] * C[:, j]])


class Kernel:
    """The form kernel of the rows of P, by their numbers."""

    def __init__(self, dtype=np.float64):
        self._c = (P - 0.5).astype(dtype)

    def between(self, rows, centres):
        return mean_kernel([self._c[rows]], [self._c[centres]])

    def among(self, rows):
        return mean_kernel([self._c[rows]], [self._c[rows]], is_lower=True)


def test_form_kernel_is_the_inner_product_of_bits_and_pairs():
    """Oracle: the features written out."""
    features = pair_features(P)
    np.testing.assert_allclose(form_kernel(P, P[:7]), features @ features[:7].T, atol=1e-12)


def test_mean_kernel_of_several_codes(monkeypatch):
    """Oracle: the mean of the kernels of each; below the diagonal where only that is asked."""
    from skopu._core import chunks

    monkeypatch.setattr(chunks, "_CACHED_VALUES", 60 * 7)  # several chunks of rows
    C, D = P - 0.5, RNG.random((60, 5)) - 0.5
    expected = (form_kernel(C + 0.5, C + 0.5) + form_kernel(D + 0.5, D + 0.5)) / 2
    np.testing.assert_allclose(mean_kernel([C, D], [C, D]), expected, atol=1e-12)
    lower = mean_kernel([C, D], [C, D], is_lower=True)
    np.testing.assert_allclose(np.tril(lower), np.tril(expected), atol=1e-12)
    single = [C.astype(np.float32)], [D.astype(np.float32)]
    found = mean_kernel(*single)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, form_kernel(C + 0.5, D + 0.5), atol=1e-6)


def relative_ridge(alpha):
    """scikit-learn's Ridge on the explicit features, its penalty relative to their trace."""
    features, shares = pair_features(P), WEIGHTS / WEIGHTS.sum()
    trace = WEIGHTS @ np.square(features - shares @ features).sum(1)
    return Ridge(alpha * trace).fit(features, Y, sample_weight=WEIGHTS).predict(features)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-4)])
def test_full_ridge_equals_weighted_ridge_on_explicit_features(dtype, tolerance):
    """Oracle: scikit-learn's Ridge with an intercept and sample weights."""
    kernel, rows = Kernel(dtype), np.arange(60)
    ridge = held_out.ridge_on_rows(kernel, rows, Y, WEIGHTS, seed=0)
    for alpha in (1e-4, 1e-1):
        readout = ridge.solve(alpha)
        found = readout.predict(kernel.between(rows, ridge.centres))
        np.testing.assert_allclose(found, relative_ridge(alpha), atol=tolerance)


def test_an_alpha_below_the_precision_is_raised():
    """Oracle: finite predictions as good as those of an alpha that the precision tells."""
    kernel, rows = Kernel(np.float32), np.arange(60)
    ridge = held_out.ridge_on_rows(kernel, rows, Y, WEIGHTS, seed=0)
    found = ridge.solve(1e-30).predict(kernel.between(rows, rows))
    assert np.mean(np.square(found - Y)) < 1.5 * np.mean(np.square(relative_ridge(1e-6) - Y))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row", [0, 3, 5])
def test_rows_that_are_alike_give_the_mean(row, dtype):
    """Oracle: the mean. What rounding leaves of their kernel may be negative, and no alpha helps.

    The factorisation was tried for ever, with another alpha each time.
    """
    kernel, rows = Kernel(dtype), np.full(60, row)
    ridge = held_out.ridge_on_rows(kernel, rows, Y, WEIGHTS, seed=0)
    found = ridge.solve(1e-4).predict(kernel.between(rows[:1], rows))
    np.testing.assert_allclose(found[0], np.average(Y, axis=0, weights=WEIGHTS), rtol=1e-6)


def test_centres_that_span_the_features_give_the_full_ridge(monkeypatch):
    """Oracle: scikit-learn's Ridge; 30 centres span the 15 features of the kernel."""
    monkeypatch.setattr(held_out, "MAX_ROWS", 50)
    monkeypatch.setattr(held_out, "N_CENTRES", 30)
    kernel, rows = Kernel(), np.arange(60)
    ridge = held_out.ridge_on_rows(kernel, rows, Y, WEIGHTS, seed=0)
    assert len(ridge.centres) == 30
    found = ridge.solve(1e-3).predict(kernel.between(rows, ridge.centres))
    np.testing.assert_allclose(found, relative_ridge(1e-3), atol=1e-6)


def test_more_centres_than_the_features_have_directions(monkeypatch):
    """Oracle: scikit-learn's Ridge. In single precision the kernel of 30 centres is indefinite."""
    monkeypatch.setattr(held_out, "MAX_ROWS", 50)
    monkeypatch.setattr(held_out, "N_CENTRES", 30)
    kernel, rows = Kernel(np.float32), np.arange(60)
    ridge = held_out.ridge_on_rows(kernel, rows, Y, WEIGHTS, seed=0)
    found = ridge.solve(1e-2).predict(kernel.between(rows, ridge.centres))
    np.testing.assert_allclose(found, relative_ridge(1e-2), atol=1e-3)


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
    model = CrossFittedOPURegressor(**SMALL, trees=False).fit(X, y)
    total = np.full((len(X_test), 1), model.bias_[0])
    for p, linear, pairs in zip(model.bit_probabilities(X_test), model.linear_, model.pairs_):
        c = p - 0.5
        total[:, 0] += c @ linear[0] + np.einsum("ni,ij,nj->n", c, pairs[0], c)
        np.testing.assert_allclose(np.diag(pairs[0]), 0)
        np.testing.assert_allclose(pairs[0], pairs[0].T, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(model.predict(X_test), total[:, 0] * y.std() + y.mean(), rtol=1e-9)
    assert sum(model.candidates_["share"]) == pytest.approx(1)


def test_collapsed_readouts_equal_kernel_ridge_of_all_encoders(diabetes):
    """Oracle: KernelRidge with the mean kernel of the encoders, all weight on one readout."""
    X, _, y, _ = diabetes
    X, targets = 10 * X, ((y - y.mean()) / y.std())[:, None]
    folds = assign_folds(len(X), 2, None, 0)
    settings = CrossFittedOPURegressor(**SMALL)
    weights = ones(len(X))
    models = train_fold_models(
        [Scaling("standard", 0, X)], targets, weights, folds, STRENGTHS, 5, settings, seed=0
    )
    selector = Selector([X], models, targets, targets, weights, folds, 2, 0)
    group, alpha, shares = ((0, 0), (0, 3)), 1e-4, np.array([1.0])
    readouts = {group: GroupReadouts(selector.codes, group, targets, weights, folds, 0)}
    chosen = [Candidate("ridge", group, alpha, None)]
    encoders, form, bias = selector._combine(chosen, shares, readouts)
    assert encoders.tolist() == [[0, 0, 0], [0, 0, 3], [1, 0, 0], [1, 0, 3]]
    codes = [selector.codes.of(f, net) + 0.5 for f in range(2) for net in group]
    K = np.mean([form_kernel(p, p) for p in codes], axis=0)
    H = np.eye(len(X)) - 1 / len(X)
    K = H @ K @ H
    expected = KernelRidge(alpha=alpha * np.trace(K), kernel="precomputed").fit(K, targets)
    found = bias + sum(QuadraticForm(*part).mean(p) for p, part in zip(codes, zip(*form)))
    np.testing.assert_allclose(found, expected.predict(K), atol=1e-3)  # in single precision


def test_search_tries_alphas_while_they_get_better():
    """Oracle: the errors of all alphas."""

    class Told(GroupReadouts):
        def left_out(self, alpha):
            return errors[alpha]

    def search(*values):
        errors.update(zip(ALPHAS, values))
        return sorted(Told(None, (), Y, WEIGHTS, np.zeros(60, int), 0).search(float), reverse=True)

    errors = {}
    assert search(5, 1, 2, 3, 4) == [1, 1e-3, 1e-6]
    assert search(5, 4, 3, 2, 1) == [1e-3, 1e-6, 1e-9, 1e-12]
    assert search(5, 4, 2, 3, 1) == [1e-3, 1e-6, 1e-9]


def test_bad_strengths_are_given_up(diabetes):
    """Oracle: models of the strengths that are left, trained without the others from the start;
    those that go have the larger errors on rows held out."""
    X, _, y, _ = diabetes
    targets = ((y - y.mean()) / y.std())[:, None]
    folds, weights = assign_folds(len(X), 2, None, 0), ones(len(X))
    settings = CrossFittedOPURegressor(**SMALL)
    few, every = (
        train_fold_models(
            [Scaling("standard", 0, 10 * X)], targets, weights, folds, STRENGTHS, n, settings, 0
        )
        for n in (3, 5)
    )
    assert few.strengths.shape == (1, 3)
    kept = few.strengths[0]
    np.testing.assert_allclose(few.coef, every.coef[:, :, kept], atol=1e-4)
    np.testing.assert_allclose(few.pairs, every.pairs[:, :, kept], atol=1e-4)


def fold_models(targets, folds):
    settings = CrossFittedOPURegressor(n_bits=3, max_iter=5)
    scalings = [Scaling("standard", 0, P)]
    return train_fold_models(scalings, targets, WEIGHTS, folds, STRENGTHS[:1], 1, settings, seed=0)


def test_encoders_do_not_see_the_rows_held_out():
    """Oracle: other targets for the rows of a fold change the models of every fold but it."""
    folds = np.arange(len(P)) % 3
    before, after = (fold_models(targets, folds) for targets in (Y, Y + 5 * (folds == 1)[:, None]))
    changed = [not np.array_equal(before.coef[fold], after.coef[fold]) for fold in range(3)]
    assert changed == [True, False, True]


def test_readouts_do_not_see_the_rows_held_out():
    """Oracle: other targets for the rows of a fold leave the predictions of its rows alone."""
    folds = np.arange(len(P)) % 3
    models = fold_models(Y, folds)
    found = []
    for targets in (Y, Y + 5 * (folds == 1)[:, None]):
        readouts = GroupReadouts(Codes([P], models), [(0, 0)], targets, WEIGHTS, folds, 0)
        found.append(readouts.left_out(1e-3))
    same = np.isclose(*found).all(axis=1)
    np.testing.assert_array_equal(same, folds == 1)


def test_few_directions_of_many_targets():
    """Oracle: targets that are combinations of three are spanned; classes are cut in halves."""
    rng = np.random.default_rng(0)
    few = few_directions(rng.standard_normal((50, 3)) @ rng.standard_normal((3, 20)), ones(50), 0)
    assert np.linalg.matrix_rank(few, tol=1e-9) == 3
    labels = np.where(rng.integers(0, 12, 90)[:, None] == np.arange(12), 1.0, -1.0)
    halves = few_directions(labels, ones(90), 0)
    assert [len(np.unique(column.round(9))) for column in halves.T] == [2] * 8
    np.testing.assert_allclose(halves.std(0), 1, rtol=0.1)
    assert few_directions(Y, WEIGHTS, 0) is Y


def test_held_out_error_is_that_of_unseen_rows(diabetes):
    """Oracle: rows never given. With noise for a target nothing can be learned, so an error
    below that of the mean would come from rows that were seen. 300 rows: the mean of squares
    of a fixed sample has a relative sd of .08; the tolerance of .15 below 1 fails by chance
    in 3 of 100 samples, and the sample is fixed."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((300, 4)), rng.standard_normal(300)
    model = CrossFittedOPURegressor(**SMALL).fit(X, y)
    assert model.validation_error_ > 0.85


def test_ensemble_beats_one_exact_model():
    """Oracle: the single model of the package on the same noisy rows and budget."""
    X, y = make_friedman1(200, noise=3, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
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
    assert {"net", "ridge"} <= set(table.kind) <= {"net", "ridge", *KINDS}
    assert table.error.min() >= model.validation_error_ - 1e-12
    ConvergenceDisplay.from_estimator(model)


def test_interrupted_training_goes_on_to_the_readouts(diabetes, monkeypatch):
    """Oracle: the iterations done, and a model that predicts."""
    from skopu.cross_fitted import training as folds

    X, _, y, _ = diabetes
    surrogate, calls = folds._Training.surrogate, []

    def cut(self, *inputs):
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return surrogate(self, *inputs)

    monkeypatch.setattr(folds._Training, "surrogate", cut)
    with pytest.warns(InterruptedFitWarning, match="interrupted at iteration 21 of 60"):
        model = CrossFittedOPURegressor(**SMALL).fit(X, y)
    assert model.score(X, y) > 0.2


def test_not_fitted():
    with pytest.raises(NotFittedError):
        CrossFittedOPURegressor().bit_probabilities(np.zeros((2, 3)))


class TestTrees:
    """Splits and leaves among the candidates."""

    def data(self, n_rows=240):
        rng = np.random.default_rng(0)
        X = rng.uniform(-1, 1, size=(n_rows, 5))
        jumps = np.sign(X[:, 0] - 0.31) * np.sign(X[:, 1] + 0.27) + (X[:, 2] > 0.63)
        return X, jumps + 0.1 * rng.standard_normal(n_rows)

    def test_trees_have_not_seen_what_they_are_judged_on(self):
        """Oracle: the bits of other targets there."""
        X, y = self.data()
        folds = np.arange(len(y)) % 3
        grown = grow(X, y[:, None], ones(len(y)), folds, KINDS, 0)
        other = grow(X, np.where(folds == 1, 9 - y, y)[:, None], ones(len(y)), folds, KINDS, 0)
        for kind in KINDS:
            for fold in range(3):
                same = np.array_equal(grown[kind][fold].dense(X), other[kind][fold].dense(X))
                assert same == (fold == 1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_parts_are_the_readouts(self, kind):
        """Oracle: kernels with the rows times the dual coefficients."""
        X, y = self.data(80)
        folds = np.arange(80) % 2
        codes = TreeCodes(X, kind, grow(X, y[:, None], ones(80), folds, KINDS, 0)[kind])
        readouts = TreeReadouts(codes, (), y[:, None], ones(80), folds, 0)
        found = readouts.search(lambda predictions: np.mean((predictions[:, 0] - y) ** 2))
        alphas = list(found)[:2]
        candidates = [Candidate(kind, (), alpha, found[alpha]) for alpha in alphas]
        parts, bias, fold_bias = tree_parts(candidates, np.array([0.3, 0.2]), {kind: readouts})
        dual, _, _ = readouts.solve(alphas, (0.3, 0.2))
        expected = bias + readouts._kernel(range(2), "float64").between(*[np.arange(80)] * 2) @ dual
        whole = bias + sum(predict_part(p.kind, p.bits, p.whole, X) for p in parts)
        np.testing.assert_allclose(whole, expected, atol=1e-6)
        own = np.stack([predict_part(p.kind, p.bits, p.own, X) for p in parts])
        own += fold_bias[:, None]
        mixed = 0.3 * found[alphas[0]] + 0.2 * found[alphas[1]]
        np.testing.assert_allclose(own[folds, np.arange(80)], mixed, atol=1e-4)

    def test_targets_that_jump(self):
        """Oracle: the ensemble without them."""
        X, y = self.data(400)
        small = CrossFittedOPURegressor(8, cv=3, max_iter=100, random_state=0)
        plain, trees = (
            clone(small).set_params(trees=which).fit(X[:280], y[:280]) for which in (False, "auto")
        )
        errors = [np.mean((m.predict(X[280:]) - y[280:]) ** 2) for m in (plain, trees)]
        assert errors[1] < 0.5 * errors[0]
        assert set(plain.candidates_["kind"]) == {"net", "ridge"}
        shares = pd.DataFrame(trees.candidates_).groupby("kind").share.sum()
        assert shares["splits"] > 0.3
        assert shares["net"] + shares["ridge"] > 0
        low, high = trees.predict_interval(X[280:], 0.9).T
        assert 0.8 < ((low <= y[280:]) & (y[280:] <= high)).mean() <= 1

    def test_models_of_folds_have_theirs(self):
        """Oracle: the predictions of rows left out."""
        X, y = self.data()
        model = CrossFittedOPURegressor(8, cv=3, max_iter=40, random_state=0).fit(X, y)
        assert model._trees_
        kept = merge_repeated_rows(X, y[:, None], ones(240)).kept
        folds, target = model._residuals_.folds, (y[kept] - y.mean()) / y.std()
        own = model._outputs_of_folds(X[kept])[folds, np.arange(240), 0]
        np.testing.assert_allclose(abs(target - own), model._residuals_.scores[:, 0], atol=2e-3)

    def test_an_encoder_takes_part_in_any_case(self):
        """Oracle: its share, where trees alone would be averaged."""
        X = np.random.default_rng(0).integers(0, 2, size=(240, 3)) * 1.0
        y = X[:, 0] * 3 + X[:, 1] * X[:, 2]
        model = CrossFittedOPURegressor(2, cv=2, max_iter=1, trees=True, random_state=0).fit(X, y)
        table = pd.DataFrame(model.candidates_)
        assert table.share.sum() == pytest.approx(1)
        assert table[table.kind.isin(["net", "ridge"])].share.sum() >= 1 / 25 - 1e-9
        assert np.isfinite(model.predict(X)).all()

    def test_sparse_rows_have_none(self):
        X, y = self.data()
        X = sparse.csr_array(np.where(X > 0, X, 0))
        model = CrossFittedOPURegressor(4, cv=2, max_iter=5, random_state=0)
        assert not clone(model).fit(X, y)._trees_
        with pytest.raises(ValueError, match="trees=True needs dense X"):
            model.set_params(trees=True).fit(X, y)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_encoders_outlive_a_choice_of_readouts_that_is_cut(error, monkeypatch):
    """Oracle: the fit that nothing disturbed, to the bit; no encoder is trained again."""
    X, y = make_friedman1(80, n_features=5, random_state=0)
    settings = {"cv": 2, "max_iter": 10, "random_state": 0, "warm_start": True}
    expected = CrossFittedOPURegressor(8, **settings).fit(X, y).predict(X)
    model = CrossFittedOPURegressor(8, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(GroupReadouts, "search", raising(error))
        with pytest.raises(error) as cut:
            model.fit(X, y)
    assert "warm_start=True" in cut.value.__notes__[0]
    with pytest.raises(NotFittedError):
        model.predict(X)
    with monkeypatch.context() as patch:
        patch.setattr("skopu.cross_fitted.training.train_fold_models", None)
        np.testing.assert_array_equal(model.fit(X, y).predict(X), expected)
    model.fit(X, y + 1)  # other rows: from the beginning
    assert "_unfinished" not in vars(model)


@pytest.mark.filterwarnings("ignore::skopu.exceptions.InterruptedFitWarning")
def test_encoders_that_ctrl_c_cut_short_are_not_gone_on_from(monkeypatch):
    """Oracle: the fit that nothing disturbed, to the bit."""
    X, y = make_friedman1(80, n_features=5, random_state=0)
    settings = {"cv": 2, "max_iter": 10, "random_state": 0, "warm_start": True}
    expected = CrossFittedOPURegressor(8, **settings).fit(X, y).predict(X)
    model = CrossFittedOPURegressor(8, **settings)
    with monkeypatch.context() as patch:
        patch.setattr("skopu.cross_fitted.training._Training.surrogate", raising(KeyboardInterrupt))
        patch.setattr(GroupReadouts, "search", raising(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt) as cut:
            model.fit(X, y)
    assert not hasattr(cut.value, "__notes__")
    np.testing.assert_array_equal(model.fit(X, y).predict(X), expected)


def test_the_choice_of_readouts_shows_how_far_it_is(capsys):
    """Oracle: the readouts that ``candidates_`` lists."""
    X, y = make_friedman1(80, n_features=5, random_state=0)
    settings = {"cv": 2, "max_iter": 10, "random_state": 0}
    model = CrossFittedOPURegressor(8, verbose=1, **settings).fit(X, y)
    tried = [kind for kind in model.candidates_["kind"] if kind != "net"]
    assert f"choosing readouts: {len(tried)}readout" in capsys.readouterr().err
    CrossFittedOPURegressor(8, **settings).fit(X, y)
    assert not capsys.readouterr().err


def raising(error):
    def cut(*_, **__):
        raise error

    return cut
