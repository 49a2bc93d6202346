"""A fit that fails at any of its inner calls: the old model to the bit, or none.

Oracle: the same estimator before the fit that failed. The calls are drawn by function, from all
that a fit makes; ``python benchmarks/faults.py`` draws many more of them.
"""

import warnings
from functools import partial

import numpy as np
import pytest
from laboratory import InnerCalls, choose_calls
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import NotFittedError

import skopu
from skopu import (
    AutoencoderBinarizer,
    BinaryAutoencoder,
    BinaryMLPClassifier,
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    DFABinarizer,
    DFAClassifier,
    DFARegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    NeuralDNFClassifier,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
    ThermometerBinarizer,
)

X, y = make_friedman1(48, n_features=5, random_state=0)
X -= 0.5
# Of other sizes, values and classes: what a mixture of both fits would show.
X2, y2 = 3 * X[:40, :4] + 0.1, 1000 * y[:40] + 5
BINARIZER = SupervisedBinarizer(6, n_components=32, max_iter=3, encoder_penalty=1e-3)
MODELS = {
    "SupervisedBinarizer": BINARIZER,
    "of a chosen penalty": SupervisedBinarizer(6, n_components=32, max_iter=3),
    "stopped early": clone(BINARIZER).set_params(early_stopping=True, gradient="quadratic"),
    "exact": clone(BINARIZER).set_params(gradient="exact"),
    "BinaryMLPClassifier": BinaryMLPClassifier((8,), max_iter=2),
    "BinaryAutoencoder": BinaryAutoencoder(4, max_iter=2),
    "DFABinarizer": DFABinarizer(6, n_components=32, max_iter=2),
    "DFAClassifier": DFAClassifier((8,), max_iter=2),
    "DFARegressor": DFARegressor((8,), max_iter=2),
    "NeuralDNFClassifier": NeuralDNFClassifier(3, max_iter=3),
    "OPURandomFeatures": OPURandomFeatures(32),
    "of a learned gamma": OPURandomFeatures(32, gamma="learn"),
    "HyperplaneBinarizer": HyperplaneBinarizer(8),
    "ThermometerBinarizer": ThermometerBinarizer(4),
    "AutoencoderBinarizer": AutoencoderBinarizer(6, max_iter=2),
    "OPUKernelRidge": OPUKernelRidge(n_components=32, binarizer=BINARIZER),
    "of hyperplanes": OPUKernelRidge(
        alpha="loo", n_components=32, binarizer=HyperplaneBinarizer(8)
    ),
    "rbf": OPUKernelRidge(kernel="rbf"),
    "OPUKernelRidgeClassifier": OPUKernelRidgeClassifier(n_components=32, binarizer=BINARIZER),
    "CrossFittedOPURegressor": CrossFittedOPURegressor(6, cv=2, max_iter=3),
    "CrossFittedOPUClassifier": CrossFittedOPUClassifier(6, cv=2, max_iter=3),
    "EndToEndOPURegressor": EndToEndOPURegressor(BINARIZER, n_draws=2),
    "of a mean": EndToEndOPURegressor(BINARIZER, prediction="mean"),
    "EndToEndOPUClassifier": EndToEndOPUClassifier(BINARIZER, n_draws=2),
}
METHODS = ("predict", "predict_proba", "decision_function", "transform", "bit_probabilities")
# Fits of data that small, with alpha as it comes, say so.
QUIET = pytest.mark.filterwarnings("ignore::UserWarning")


def fresh(name):
    model = clone(MODELS[name])
    seeds = [key for key in model.get_params() if key.endswith("random_state")]
    return model.set_params(**dict.fromkeys(seeds, 0))


def data(model, again=False):
    rows, targets = (X2, y2) if again else (X, y)
    if getattr(model, "_estimator_type", None) == "classifier" or "Classifier" in repr(model):
        names = ("c", "d") if again else ("b", "a")
        return rows, np.where(targets > np.median(targets), *names)
    return rows, targets


def outcome(model, rows):
    """All that a model has to say, by method; None for what a model without a fit says."""
    found = {}
    for method in filter(partial(hasattr, model), METHODS):
        try:
            found[method] = np.asarray(getattr(model, method)(rows))
        except NotFittedError:
            found[method] = None
    return found


def check_same(found, expected, where):
    assert found.keys() == expected.keys(), where
    for method in expected:
        np.testing.assert_array_equal(found[method], expected[method], err_msg=f"{where}: {method}")


def try_half_fits(name, n_calls, error, rng):
    """Make fits that fail at ``n_calls`` calls each, first fits and refits; return how many."""
    whole = fresh(name)
    whole.fit(*data(whole))
    before = outcome(whole, X)
    after = outcome(whole.fit(*data(whole, again=True)), X2)
    with InnerCalls() as calls:
        fresh(name).fit(*data(whole, again=True))
    numbers = choose_calls(calls.functions, n_calls, rng)
    for number in numbers:
        for refit in (False, True):
            model = fresh(name)
            if refit:
                model.fit(*data(model))
            where = f"{name}, {'refit' if refit else 'first fit'}, {calls.functions[number - 1]}"
            expected = before if refit else dict.fromkeys(before)
            check_one(model, InnerCalls(number, error), expected, after, where)
    return 2 * len(numbers)


def check_one(model, calls, before, after, where):
    with warnings.catch_warnings(record=True, action="always") as told:
        try:
            with calls:
                model.fit(*data(model, again=True))
        except calls.error:
            check_same(outcome(model, X), before, where)
            return
    # It ended well: whole, or cut short by Ctrl-C and telling so.
    if not any("interrupted" in str(warning.message) for warning in told):
        check_same(outcome(model, X2), after, where)


def test_every_public_estimator_is_here():
    public = {
        name
        for name in skopu.__all__
        if isinstance(value := getattr(skopu, name), type) and issubclass(value, BaseEstimator)
    }
    assert public == {type(model).__name__ for model in MODELS.values()}


@QUIET
@pytest.mark.parametrize("name", MODELS)
def test_no_memory(name):
    try_half_fits(name, 4, MemoryError, np.random.default_rng(0))


@QUIET
@pytest.mark.parametrize("name", MODELS)
def test_ctrl_c(name):
    try_half_fits(name, 2, KeyboardInterrupt, np.random.default_rng(1))
