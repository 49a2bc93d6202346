"""What supervised estimators share: decisions and probabilities of scores, and their fits."""

import inspect

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

import skopu
from skopu._core.classification import LabelFit, ProbabilisticClassifier
from skopu._core.regression import OutputRegressor, TargetFit
from skopu._core.temperature import fit_temperature

X = np.random.default_rng(0).standard_normal((12, 3))
PUBLIC = [getattr(skopu, name) for name in skopu.__all__]
ESTIMATORS = [cls for cls in PUBLIC if inspect.isclass(cls) and issubclass(cls, BaseEstimator)]
SCORES = np.random.default_rng(1).standard_normal((12, 3))


class Scored(LabelFit, ProbabilisticClassifier, BaseEstimator):
    """Says what it was made with, whatever the rows."""

    _parameter_constraints = {"scores": ["array-like", None]}

    def __init__(self, scores=None):
        self.scores = scores

    def _fit_codes(self, X, codes, weights):
        self.codes_, self.weights_ = codes, weights

    def _outputs(self, X):
        return self.scores[: len(X)]


class Doubled(TargetFit, OutputRegressor, BaseEstimator):
    """Twice the first columns."""

    _parameter_constraints = {}

    def _fit_targets(self, X, Y, weights):
        self.n_outputs_ = Y.shape[1]

    def _outputs(self, X):
        return X[:, : self.n_outputs_]

    def _units(self, outputs):
        return 2 * outputs


def test_several_classes_are_decided_by_the_largest_score():
    """Oracle: argmax and softmax."""
    y = np.array(["a", "b", "c"] * 4)
    model = Scored(SCORES).fit(X, y)
    np.testing.assert_array_equal(model.decision_function(X), SCORES)
    np.testing.assert_array_equal(model.predict(X), model.classes_[SCORES.argmax(axis=1)])
    np.testing.assert_allclose(model.predict_proba(X), softmax(SCORES, axis=1))


@pytest.mark.parametrize("n_columns", [1, 2])
def test_two_classes_have_one_score(n_columns):
    """Oracle: the softmax of two logits is the sigmoid of their difference."""
    scores = SCORES[:, :n_columns]
    model = Scored(scores).fit(X, np.arange(12) % 2)
    expected = scores[:, 0] if n_columns == 1 else scores[:, 1] - scores[:, 0]
    np.testing.assert_array_equal(model.decision_function(X), expected)
    np.testing.assert_array_equal(model.predict(X), expected > 0)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expit(expected))


def test_temperature_scales_scores_and_decides_nothing():
    model = Scored(SCORES).fit(X, np.arange(12) % 3)
    before = model.predict(X)
    model.temperature_ = 0.1
    np.testing.assert_allclose(model.predict_proba(X), softmax(0.1 * SCORES, axis=1))
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("n_columns", [1, 3])
def test_weights_count_rows_in_the_temperature(n_columns):
    """Oracle: rows written down as often as they weigh."""
    rng = np.random.default_rng(2)
    codes = np.arange(12) % max(n_columns, 2)
    right = codes[:, None] == (1 if n_columns == 1 else np.arange(3))
    scores, counts = rng.standard_normal((12, n_columns)) + right - 0.5, rng.integers(1, 9, 12)
    found = fit_temperature(scores, codes, counts.astype(float))
    repeated = np.repeat(np.arange(12), counts)
    assert found == pytest.approx(
        fit_temperature(scores[repeated], codes[repeated], np.ones(len(repeated))), rel=1e-4
    )
    assert found != pytest.approx(fit_temperature(scores, codes, np.ones(12)), rel=0.01)


def test_labels_become_numbers_of_the_classes_that_weigh_something():
    model = Scored().fit(X, np.array(list("zbabab" * 2)), sample_weight=[0, 1, 1, 1, 1, 1] * 2)
    assert model.classes_.tolist() == ["a", "b"]
    assert model.codes_[1:6].tolist() == [1, 0, 1, 0, 1]
    with pytest.raises(ValueError, match="one class only"):
        Scored().fit(X, np.zeros(12, dtype=int))


def test_predictions_have_as_many_axes_as_targets():
    flat, table = Doubled().fit(X, X[:, 0]), Doubled().fit(X, X[:, :2])
    np.testing.assert_array_equal(flat.predict(X), 2 * X[:, 0])
    np.testing.assert_array_equal(table.predict(X), 2 * X[:, :2])


def test_a_fit_that_fails_is_none():
    """Oracle: scikit-learn's error of a model that was never fitted."""

    class Fails(Doubled):
        def _fit_targets(self, X, Y, weights):
            self.n_outputs_ = 1
            raise MemoryError

        def _outputs(self, X):
            if not hasattr(self, "n_outputs_"):
                raise NotFittedError
            return X

    model = Fails()
    with pytest.raises(MemoryError):
        model.fit(X, X[:, 0])
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_constructors_only_store(cls):
    """Oracle: the very objects that were given, under their names and no others."""
    given = {parameter: object() for parameter in inspect.signature(cls).parameters}
    assert vars(cls(**given)) == given


@pytest.mark.parametrize(
    "binarizer",
    [
        skopu.HyperplaneBinarizer(16, random_state=0),
        skopu.ThermometerBinarizer(16),
        skopu.TreeBinarizer(16),
        skopu.TreeBinarizer(16, kind="leaves"),
        skopu.AutoencoderBinarizer(8, max_iter=5, random_state=0),
        skopu.BinaryAutoencoder(8, max_iter=5, random_state=0),
        skopu.DFABinarizer(8, n_components=16, max_iter=1, random_state=0),
        skopu.SupervisedBinarizer(
            8, n_components=16, max_iter=5, encoder_penalty=0, random_state=0
        ),
    ],
    ids=lambda binarizer: type(binarizer).__name__,
)
def test_codes_do_not_depend_on_the_chunks(binarizer, monkeypatch):
    """Oracle: the rows one by one."""
    y = X[:, 0]
    binarizer.fit(X, y)
    alone = np.concatenate([binarizer.transform(row[None]) for row in X])
    monkeypatch.setattr("skopu._core.chunks.CHUNK_ROWS", 5)
    np.testing.assert_array_equal(binarizer.transform(X), alone)
    assert alone.dtype == np.uint8
