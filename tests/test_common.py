"""The contract of scikit-learn, for every public estimator.

Oracle: scikit-learn's own battery. No check is expected to fail. The one that is skipped,
``check_array_api_input``, runs only where the environment sets ``SCIPY_ARRAY_API=1`` before
scipy is imported; the test command of the README sets it.
"""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

import skopu
from skopu.devices import OffAxisHolography, SimulatedOPU

# The battery fits each estimator some sixty times: a short training is enough for it.
BINARIZER = skopu.SupervisedBinarizer(n_bits=16, n_components=128, max_iter=50)
ESTIMATORS = [
    skopu.SupervisedBinarizer(n_bits=8, n_components=32, max_iter=5),
    skopu.SupervisedBinarizer(n_bits=8, n_components=32, max_iter=5, scaler="quantile"),
    skopu.SupervisedBinarizer(n_bits=8, n_components=32, max_iter=5, scaler="relevance"),
    skopu.SupervisedBinarizer(
        n_bits=8,
        n_components=32,
        max_iter=5,
        start="mixed",
        objective="isolated",
        early_stopping=True,
    ),
    skopu.SupervisedBinarizer(n_bits=8, n_components=32, max_iter=5, weights="binary"),
    skopu.BinaryMLPClassifier((32,), max_iter=10),
    skopu.BinaryMLPClassifier(
        (64,), max_iter=20, weight_optimizer="ste", normalization="layer", early_stopping=True
    ),
    skopu.BinaryMLPClassifier((32,), max_iter=10, weight_optimizer="real", penalty="absolute"),
    skopu.BinaryAutoencoder(4, max_iter=5),
    skopu.DFABinarizer(8, n_components=32, max_iter=5),
    skopu.DFAClassifier((32,), max_iter=30, learning_rate_init=0.01),
    skopu.DFAClassifier(
        (16, 16),
        max_iter=100,
        learning_rate_init=0.02,
        error_encoding="ternary",
        early_stopping=True,
    ),
    skopu.DFARegressor((32,), max_iter=100, learning_rate_init=0.02),
    skopu.DFARegressor(
        (16,),
        max_iter=40,
        learning_rate_init=0.05,
        projector=OffAxisHolography(),
        error_encoding="sign",
    ),
    skopu.NeuralDNFClassifier(5, max_iter=40),
    skopu.NeuralDNFClassifier(5, max_iter=60, weight_optimizer="ste", learning_rate=0.05),
    skopu.OPURandomFeatures(n_components=32),
    skopu.OPURandomFeatures(n_components=32, form="raw"),
    skopu.HyperplaneBinarizer(64),
    skopu.AutoencoderBinarizer(8, max_iter=5),
    skopu.ThermometerBinarizer(8),
    skopu.ThermometerBinarizer(strategy="uniform"),
    skopu.TreeBinarizer(n_estimators=5),
    skopu.TreeBinarizer(8, kind="leaves", n_estimators=3),
    skopu.OPUKernelRidge(n_components=256, binarizer=BINARIZER),
    skopu.OPUKernelRidge(alpha="loo", n_components=256, binarizer=skopu.HyperplaneBinarizer(64)),
    skopu.OPUKernelRidge(kernel="linear"),
    skopu.OPUKernelRidge(kernel="rbf", kernel_approximation="fourier", n_components=256),
    skopu.OPUKernelRidge(kernel="laplacian"),
    skopu.OPUKernelRidge(kernel="rbf", compute_std=True),
    skopu.OPUKernelRidge(kernel="precomputed"),
    skopu.OPUKernelRidgeClassifier(n_components=256, binarizer=BINARIZER),
    skopu.OPUKernelRidgeClassifier(kernel="linear"),
    skopu.OPUKernelRidgeClassifier(kernel="rbf"),
    skopu.CrossFittedOPURegressor(8, cv=2, max_iter=20),
    skopu.CrossFittedOPUClassifier(8, cv=2, max_iter=20),
    skopu.CrossFittedOPURegressor(8, cv=2, max_iter=20, scaler="relevance"),
    skopu.CrossFittedOPURegressor(
        8, cv=2, max_iter=20, prediction="draws", n_components=64, n_codes=2, n_draws=2
    ),
    skopu.CrossFittedOPUClassifier(
        8, cv=2, max_iter=20, prediction="threshold", n_components=64, n_codes=3
    ),
    skopu.EndToEndOPURegressor(BINARIZER, n_draws=3),
    skopu.EndToEndOPURegressor(BINARIZER, prediction="mean"),
    skopu.EndToEndOPUClassifier(BINARIZER, n_draws="auto"),
    skopu.EndToEndOPUClassifier(BINARIZER, prediction="threshold"),
]


def fails_for(estimator):
    """The check that scikit-learn 1.6 makes of estimators that refuse sparse rows, too."""
    if get_tags(estimator).input_tags.sparse or get_tags(estimator).input_tags.pairwise:
        return {}
    return {"check_sample_weight_equivalence_on_sparse_data": "sparse rows are refused"}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=fails_for)
# An alpha of 1 is next to nothing beside the kernels of scikit-learn's made-up data.
@pytest.mark.filterwarnings("ignore::skopu.exceptions.RidgeConditionWarning")
@pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix:UserWarning")
# Some of that data is positive in every column.
@pytest.mark.filterwarnings("ignore:binarize=0.0 makes .* the same in all rows:UserWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_parameter_validation(estimator):
    check_param_validation(type(estimator).__name__, estimator)


def test_every_public_estimator_is_checked():
    public = {
        value
        for name in skopu.__all__
        if inspect.isclass(value := getattr(skopu, name)) and issubclass(value, BaseEstimator)
    }
    assert public == {type(estimator) for estimator in ESTIMATORS}


def small_pipeline():
    """The three steps with budgets for tests."""
    return Pipeline(
        [
            ("binarizer", skopu.SupervisedBinarizer(n_bits=16, n_components=64, max_iter=30)),
            ("features", skopu.OPURandomFeatures(n_components=64)),
            ("ridge", skopu.OPUKernelRidge()),
        ]
    )


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    X.flags.writeable = False
    return X[:150], y[:150]


def test_literal_pipeline_with_defaults_does_not_project_twice(diabetes):
    """Oracle: the passes of the devices; the ridge must not have made features of its own."""
    X, y = diabetes
    steps = [
        ("b", skopu.SupervisedBinarizer()),
        ("f", skopu.OPURandomFeatures()),
        ("r", skopu.OPUKernelRidge()),
    ]
    pipeline = Pipeline(steps).fit(X, y)
    ridge = pipeline["r"]
    assert ridge.kernel_ == "linear"
    assert ridge.features_ is None
    assert ridge.binarizer_ is None
    assert ridge.n_features_in_ == 1024
    assert pipeline["f"].opu_.n_passes == len(X)
    assert pipeline.score(X, y) > 0.5


@pytest.mark.parametrize("container", ["pandas", "default"])
def test_pipeline_with_set_output(diabetes, container):
    """Oracle: a data frame between the steps changes nothing but the type."""
    X, y = diabetes
    frame = pd.DataFrame(X, columns=[f"column {i}" for i in range(X.shape[1])])
    plain = small_pipeline().set_params(binarizer__random_state=0).fit(X, y)
    other = small_pipeline().set_params(binarizer__random_state=0)
    other.set_output(transform=container).fit(frame, y)
    assert other["ridge"].kernel_ == "linear"
    np.testing.assert_allclose(other.predict(frame), plain.predict(X), rtol=1e-6)


def test_global_configuration_of_the_output(diabetes):
    """Oracle: the same fits under the default configuration."""
    X, y = diabetes
    binarizer = skopu.SupervisedBinarizer(n_bits=8, n_components=16, max_iter=3, random_state=0)
    models = [
        small_pipeline().set_params(binarizer__random_state=0),
        skopu.EndToEndOPURegressor(binarizer, random_state=0),
        skopu.OPUKernelRidge(binarizer=binarizer, n_components=16),
        skopu.OPUKernelRidge(
            binarizer=skopu.HyperplaneBinarizer(8, random_state=0), n_components=16
        ),
    ]
    for model in models:
        expected = clone(model).fit(X, y).predict(X)
        with sklearn.config_context(transform_output="pandas"):
            np.testing.assert_allclose(clone(model).fit(X, y).predict(X), expected)


def test_pipeline_clones_and_pickles(diabetes):
    X, y = diabetes
    pipeline = small_pipeline().fit(X, y)
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(X), pipeline.predict(X))
    assert not hasattr(clone(pipeline)["ridge"], "coef_")


def test_pipeline_on_sparse_input(diabetes):
    """Oracle: the same rows given dense to a pipeline that scales without centring."""
    X, y = diabetes
    model = skopu.EndToEndOPURegressor(
        skopu.SupervisedBinarizer(n_bits=16, n_components=64, max_iter=30, scaler=None),
        random_state=0,
    )
    dense = clone(model).fit(X, y).predict(X)
    np.testing.assert_allclose(clone(model).fit(sparse.csr_array(X), y).predict(X), dense)


def test_grid_search_over_the_pipeline_in_two_processes(diabetes):
    X, y = diabetes
    grid = {
        "binarizer__n_bits": [8, 16],
        "features__gamma": [0.5, 1.0],
        "ridge__alpha": [0.1, 1.0],
    }
    search = GridSearchCV(small_pipeline(), grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_grid_search_reaches_parts_that_are_defaults(diabetes):
    """``None`` and names stand for parts; setting a parameter of one makes it an object."""
    X, y = diabetes
    model = skopu.EndToEndOPURegressor().set_params(
        binarizer__max_iter=5, binarizer__gradient__n_draws=2, features__n_components=32
    )
    grid = {"binarizer__n_bits": [4, 8], "features__gamma": [0.5, 1.0], "ridge__alpha": [0.1, 1]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.binarizer_.gradient_.n_draws == 2
    assert search.best_estimator_.features_.n_components == 32


def test_set_params_of_a_named_part_leaves_the_defaults_alone():
    model = skopu.SupervisedBinarizer().set_params(opu__random_state=5, gradient__n_draws=8)
    assert model.opu.random_state == 5
    assert model.gradient.n_draws == 8
    assert skopu.SupervisedBinarizer().opu == "simulated"
    with pytest.raises(ValueError, match="Invalid parameter"):
        skopu.OPUKernelRidge().set_params(binarizer__no_such=1)


def test_device_is_grid_searched(diabetes):
    """Other seeds are other matrices, so predictions differ and each is reproducible."""
    X, y = diabetes
    codes = skopu.HyperplaneBinarizer(16, random_state=0).fit_transform(X)
    model = skopu.OPUKernelRidge(n_components=64)
    predictions = [
        clone(model).set_params(opu=SimulatedOPU(seed)).fit(codes, y).predict(codes)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(predictions[0], predictions[1])
    assert np.abs(predictions[0] - predictions[2]).max() > 1e-3


def test_sample_weight_is_routed_through_a_pipeline(diabetes):
    """Oracle: the same steps fitted by hand with the weights."""
    X, y = diabetes
    weights = np.linspace(0.1, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = small_pipeline().set_params(binarizer__random_state=0)
        pipeline["binarizer"].set_fit_request(sample_weight=True)
        pipeline["ridge"].set_fit_request(sample_weight=True)
        routed = pipeline.fit(X, y, sample_weight=weights).predict(X)
    steps = small_pipeline().set_params(binarizer__random_state=0)
    codes = steps["binarizer"].fit(X, y, sample_weight=weights).transform(X)
    features = steps["features"].fit_transform(codes)
    by_hand = steps["ridge"].fit(features, y, sample_weight=weights).predict(features)
    np.testing.assert_array_equal(routed, by_hand)


def test_classifier_labels_may_be_text():
    X, y = load_breast_cancer(return_X_y=True)
    y = np.array(["malignant", "benign"])[y]
    model = skopu.EndToEndOPUClassifier(BINARIZER, random_state=0).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.9
    assert list(model.classes_) == ["benign", "malignant"]
    assert model.to_pipeline().predict(X[300:]).dtype == y.dtype
