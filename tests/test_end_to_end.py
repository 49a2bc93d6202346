"""The end-to-end estimators."""

import pickle

import numpy as np
import pytest
from oracles import BlackBox, Hardware
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, make_friedman1
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skopu import (
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu._core.random import dither
from skopu.devices import SimulatedOPU
from skopu.exceptions import IncompatiblePartsError

X, y = make_friedman1(300, n_features=6, random_state=0)
X.flags.writeable = False
TRAIN, TEST = slice(200), slice(200, None)
BINARIZER = SupervisedBinarizer(n_bits=16, n_components=128, max_iter=60)
MODEL = EndToEndOPURegressor(BINARIZER, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    """Do not change it: it is shared by the tests of this module."""
    return clone(MODEL).fit(X[TRAIN], y[TRAIN])


class TestPredictions:
    @pytest.mark.parametrize("prediction", ["draws", "threshold", "mean"])
    def test_modes_predict(self, prediction):
        model = clone(MODEL).set_params(prediction=prediction).fit(X[TRAIN], y[TRAIN])
        assert model.score(X[TEST], y[TEST]) > 0.6

    def test_draws_by_hand(self, fitted):
        """Oracle: the average of the features of the codes of each draw."""
        p = fitted.binarizer_.bit_probabilities(X)
        draws = [fitted.features_.transform((p > t).astype(int)) for t in fitted.thresholds_]
        expected = fitted.ridge_.predict(np.mean(draws, axis=0))
        np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-5)

    def test_many_draws_approach_the_mean(self, fitted):
        """Oracle: the closed form; the average of S draws is off by about 1 / sqrt(S)."""
        p = fitted.binarizer_.bit_probabilities(X[:50])
        mean = np.asarray(fitted.features_.expectation(p))
        errors = []
        for n_draws in (50, 800):
            model = clone(MODEL)
            model.binarizer_, model.features_ = fitted.binarizer_, fitted.features_
            model.thresholds_ = dither(n_draws, 16, 0)
            errors.append(np.abs(model._mean_features(p) - mean).mean() / np.abs(mean).mean())
        assert errors[1] < errors[0] / 2.5
        assert errors[1] < 0.05

    @pytest.mark.parametrize("fit_as", ["draws", "threshold"])
    def test_pipeline_predicts_the_threshold_prediction_exactly(self, fit_as):
        model = clone(MODEL).set_params(prediction=fit_as).fit(X[TRAIN], y[TRAIN])
        pipeline = model.to_pipeline()
        model.set_params(prediction="threshold")
        np.testing.assert_array_equal(pipeline.predict(X), model.predict(X))
        assert [name for name, _ in pipeline.steps] == ["binarizer", "features", "ridge"]

    def test_pipeline_of_a_classifier_gives_labels(self):
        X, y = load_iris(return_X_y=True)
        labels = np.array(["a", "b", "c"])[y]
        model = EndToEndOPUClassifier(BINARIZER, prediction="threshold", random_state=0)
        model.fit(X, labels)
        np.testing.assert_array_equal(model.to_pipeline().predict(X), model.predict(X))
        assert model.score(X, labels) > 0.85

    def test_data_frames_keep_their_names(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(X, columns=list("abcdef"))
        model = clone(MODEL).set_params(binarizer__max_iter=3).fit(frame, y)
        assert list(model.feature_names_in_) == list("abcdef")
        expected = clone(model).fit(frame, y).set_params(prediction="threshold").predict(frame)
        np.testing.assert_array_equal(model.to_pipeline().predict(frame), expected)

    def test_noise_is_not_blown_up(self):
        """Oracle: the spread of the targets; codes of pure noise may all be equal."""
        noise = np.random.default_rng(0).standard_normal(48)
        model = clone(MODEL).set_params(binarizer__encoder_penalty=10.0, prediction="threshold")
        assert np.abs(model.fit(X[:48], noise).predict(X)).max() < 10

    @pytest.mark.parametrize("scale", [1e-100, 1e-13, 1e100])
    def test_units_of_the_target_do_not_matter(self, scale, fitted):
        model = clone(MODEL).fit(X[TRAIN], scale * y[TRAIN])
        assert model.score(X[TEST], scale * y[TEST]) > 0.6

    def test_several_outputs(self):
        Y = np.column_stack([y, -2 * y])
        model = clone(MODEL).fit(X[TRAIN], Y[TRAIN])
        assert model.predict(X).shape == (300, 2)
        assert model.score(X[TEST], Y[TEST]) > 0.6

    def test_pickle(self, fitted):
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))

    def test_beats_random_hyperplanes(self):
        """Oracle: the same features and ridge behind random codes."""
        model = clone(MODEL).set_params(binarizer__max_iter=400).fit(X[TRAIN], y[TRAIN])
        codes = HyperplaneBinarizer(16, random_state=0).fit(X[TRAIN]).transform(X)
        features = OPURandomFeatures(128).fit_transform(codes)
        ridge = OPUKernelRidge("loo").fit(features[TRAIN], y[TRAIN])
        assert model.score(X[TEST], y[TEST]) > ridge.score(features[TEST], y[TEST]) + 0.1


class TestParts:
    def test_features_follow_the_binarizer(self, fitted):
        assert fitted.features_.n_components == 128
        assert fitted.binarizer_.n_components == 127  # the last feature is the popcount

    def test_a_mean_has_components_for_every_form(self):
        """Oracle: k(k + 1)/2 forms of 16 bits are 136; 4096 at most, or what the device has."""
        model = clone(MODEL).set_params(prediction="mean", binarizer__max_iter=3).fit(X, y)
        assert model.features_.n_components == 136
        large = SupervisedBinarizer(200, n_components=64)
        free = clone(MODEL).set_params(prediction="mean", binarizer=large)
        assert free._part("features").n_components == 4096
        large.set_params(opu=SimulatedOPU(max_components=500))
        limited = clone(MODEL).set_params(prediction="mean", binarizer=large)
        assert limited._part("features").n_components == 500

    def test_binarizer_follows_the_features(self):
        features = OPURandomFeatures(32, opu=SimulatedOPU(5), form="raw")
        model = clone(MODEL).set_params(features=features, binarizer__max_iter=3).fit(X, y)
        assert model.binarizer_.n_components == 32
        assert model.binarizer_.opu_.random_state == 5
        assert model.features_.opu_.random_state == 5

    @pytest.mark.parametrize("form", ["centered", "raw"])
    @pytest.mark.parametrize(("gamma_per", "shape"), [("scalar", ()), ("feature", (32,))])
    def test_gamma_is_learned_jointly(self, form, gamma_per, shape):
        features = OPURandomFeatures(32, gamma="learn", gamma_per=gamma_per, form=form)
        model = clone(MODEL).set_params(features=features).fit(X, y)
        assert np.shape(model.features_.gamma_) == shape
        assert not np.allclose(model.features_.gamma_, 1)
        assert model.predict(X).shape == (300,)

    def test_wrong_parts_are_refused_before_training(self):
        machine = Hardware()
        features = OPURandomFeatures(32, opu=machine, gamma="lern")
        with pytest.raises(ValueError, match="The 'gamma' parameter of OPURandomFeatures must"):
            clone(MODEL).set_params(features=features).fit(X, y)
        with pytest.raises(ValueError, match="The 'ridge' parameter of EndToEndOPUClassifier"):
            EndToEndOPUClassifier(ridge=OPUKernelRidge()).fit(X, y > 10)
        assert machine.n_passes == 0

    def test_gamma_of_the_popcount_alone(self):
        features = OPURandomFeatures(1, gamma="learn", gamma_per="feature")
        model = clone(MODEL).set_params(features=features, binarizer__max_iter=3).fit(X, y)
        assert model.features_.gamma_.shape == (1,)

    def test_given_parts_are_not_fitted(self):
        binarizer, ridge = clone(BINARIZER), OPUKernelRidge(0.1)
        model = EndToEndOPURegressor(binarizer, ridge=ridge).set_params(binarizer__max_iter=3)
        model.fit(X, y)
        assert not hasattr(binarizer, "coef_")
        assert not hasattr(ridge, "coef_")
        assert model.ridge_.alpha_ == 0.1

    def test_passes_of_one_machine_are_counted_once(self):
        """Oracle: the machine's own count."""
        machine = Hardware()
        model = clone(MODEL).set_params(
            features=OPURandomFeatures(32, opu=machine), binarizer__max_iter=5, n_draws=3
        )
        model.fit(X, y)
        assert model.n_passes_ == machine.n_passes
        assert model.n_passes_ == 300 + 5 * 128 * 4 + 3 * 300

    def test_mean_needs_the_matrix_before_any_pass(self):
        machine = Hardware()
        model = clone(MODEL).set_params(
            features=OPURandomFeatures(32, opu=machine), prediction="mean"
        )
        with pytest.raises(IncompatiblePartsError, match="prediction='mean' needs the matrix"):
            model.fit(X, y)
        assert machine.n_passes == 0

    def test_black_box_trains_like_the_simulation(self):
        """Oracle: a device with the same matrix that is known. Only the rounding differs."""
        few = clone(MODEL).set_params(binarizer__max_iter=3)
        black = clone(few).set_params(features=OPURandomFeatures(128, opu=BlackBox())).fit(X, y)
        known = clone(few).set_params(features=OPURandomFeatures(128)).fit(X, y)
        assert black.n_passes_ == known.n_passes_
        np.testing.assert_allclose(
            black.binarizer_.coef_, known.binarizer_.coef_, rtol=1e-2, atol=1e-2
        )


class TestClassifier:
    def test_probabilities(self):
        """Oracle: those of a logistic regression are as informative, within 0.1 of log loss."""
        X, y = load_breast_cancer(return_X_y=True)
        model = EndToEndOPUClassifier(BINARIZER, random_state=0).fit(X[:400], y[:400])
        proba = model.predict_proba(X[400:])
        np.testing.assert_allclose(proba.sum(1), 1)
        assert (proba.argmax(1) == model.predict(X[400:])).all()
        mean, spread = X[:400].mean(0), X[:400].std(0)
        peer = LogisticRegression().fit((X[:400] - mean) / spread, y[:400])
        expected = log_loss(y[400:], peer.predict_proba((X[400:] - mean) / spread))
        assert log_loss(y[400:], proba) < expected + 0.1

    def test_three_classes(self):
        X, y = load_iris(return_X_y=True)
        model = EndToEndOPUClassifier(BINARIZER, random_state=0).fit(X[::2], y[::2])
        proba = model.predict_proba(X[1::2])
        assert proba.shape == (75, 3)
        assert (model.classes_[proba.argmax(1)] == model.predict(X[1::2])).all()
        assert model.score(X[1::2], y[1::2]) > 0.85

    def test_class_of_weight_zero(self):
        """Oracle: the rows of the other classes alone."""
        data, labels = load_iris(return_X_y=True)
        weights = (labels != 1).astype(float)
        model = EndToEndOPUClassifier(BINARIZER, random_state=0)
        model.fit(data, labels, sample_weight=weights)
        alone = clone(model).fit(data[labels != 1], labels[labels != 1])
        assert list(model.classes_) == [0, 2]
        np.testing.assert_allclose(model.predict_proba(data), alone.predict_proba(data))
        assert (model.classes_[model.predict_proba(data).argmax(1)] == model.predict(data)).all()

    def test_one_class(self):
        with pytest.raises(ValueError, match="y has one class only"):
            EndToEndOPUClassifier().fit(X, np.zeros(len(X), dtype=int))


def test_accuracy_on_real_data(load_real):
    """Oracle: the error of random hyperplanes on energy, as measured by benchmarks/uci/run.py.

    A quarter of the default training; the margin of the full one is a factor of ten.
    """
    X, y = load_real("energy")
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], (y[order] - y.mean()) / y.std()
    model = EndToEndOPURegressor(SupervisedBinarizer(max_iter=400), random_state=0)
    model.fit(X[:600], y[:600])
    assert np.mean((model.predict(X[600:]) - y[600:]) ** 2) < 0.03
