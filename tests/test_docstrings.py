"""Public docstrings, against the signatures and attributes they describe.

Oracle: numpydoc's parser and ``inspect.signature``. Examples run as doctests.
"""

import inspect

import numpy as np
import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc
from sklearn.base import BaseEstimator, clone, is_classifier

import skopu
from skopu import datasets, devices, exceptions, gradients, optim, penalties

MODULES = (skopu, datasets, devices, gradients, optim, penalties)
PUBLIC = [getattr(module, name) for module in MODULES for name in module.__all__]
CLASSES = sorted({c for c in PUBLIC if inspect.isclass(c)}, key=lambda c: c.__name__)
FUNCTIONS = sorted({f for f in PUBLIC if inspect.isfunction(f)}, key=lambda f: f.__name__)
ESTIMATORS = [c for c in CLASSES if hasattr(c, "fit")]


def names(section):
    return [name.strip("*") for entry in section for name in entry.name.split(", ")]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_constructor_parameters_are_described(cls):
    described = names(ClassDoc(cls)["Parameters"])
    taken = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
    taken = [name for name in taken if name not in ("args", "kwargs")]
    assert described == taken


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_methods_are_described(cls):
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if name.startswith("_") or not method.__module__.startswith("skopu"):
            continue
        doc = FunctionDoc(method)
        assert doc["Summary"], f"{cls.__name__}.{name}"
        taken = [p for p in inspect.signature(method).parameters if p != "self"]
        if doc["Parameters"]:
            assert names(doc["Parameters"]) == taken, f"{cls.__name__}.{name}"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_are_described(function):
    doc = FunctionDoc(function)
    assert doc["Summary"]
    if doc["Parameters"]:
        assert names(doc["Parameters"]) == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda c: c.__name__)
def test_fitted_attributes_are_described(cls, rng):
    """Oracle: the public attributes that fitting leaves behind."""
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    model = clone(cls())
    for name in ("binarizer__max_iter", "max_iter"):
        owner = name.split("__")[0]
        if owner in model.get_params():
            model.set_params(**{name: 2})
    model.fit(X, (y > 0).astype(int) if is_classifier(model) else y)
    described = set(names(ClassDoc(cls)["Attributes"]))
    left = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    assert left <= described, left - described
    of_some = {"feature_names_in_", "loo_error_", "dual_coef_", "X_fit_", "forest_", "coef_"}
    of_some |= {"readout_coef_", "feature_importances_"}
    unseen = described - left - of_some
    assert not unseen, unseen


@pytest.mark.parametrize("cls", [c for c in CLASSES if c not in (devices.OPUDevice,)])
def test_classes_have_examples(cls):
    abstract = cls is gradients.GradientEstimator
    assert abstract or ClassDoc(cls)["Examples"]


def test_exceptions_say_what_they_are():
    found = [value for value in vars(exceptions).values() if inspect.isclass(value)]
    assert found
    assert all(value.__doc__ for value in found)


def test_defaults_are_plain_values():
    for cls in CLASSES:
        if not issubclass(cls, BaseEstimator):
            continue
        for parameter in inspect.signature(cls).parameters.values():
            plain = (int, float, str, bool, tuple, type(None))
            assert isinstance(parameter.default, plain) or parameter.default is parameter.empty
            assert not isinstance(parameter.default, np.ndarray)
