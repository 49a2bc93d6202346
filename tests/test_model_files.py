"""Models as skops files. Oracle: what the model says before it is saved, to the bit.

But for exact kernels: scikit-learn's sum in an order that depends on where in memory a row begins,
and a model that is loaded lies elsewhere.
"""

from importlib import import_module

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import make_friedman1
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from test_common import ESTIMATORS, small_pipeline

from skopu import CrossFittedOPURegressor, OPUKernelRidge
from skopu.deploy import list_trusted, load_model, save_model

skops = pytest.importorskip("skops.io")

X, y = make_friedman1(60, n_features=5, random_state=0)
LABELS = np.where(y > 14, "high", "low")
METHODS = ("predict", "predict_proba", "decision_function", "transform")


def check_round_trip(model, rows, path):
    save_model(model, path)
    loaded = load_model(path)
    for method in filter(lambda name: hasattr(model, name), METHODS):
        found, expected = (np.asarray(getattr(m, method)(rows)) for m in (loaded, model))
        assert found.dtype == expected.dtype
        if hasattr(model, "X_fit_") and found.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=method)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=method)
    assert repr(loaded) == repr(model)


@pytest.mark.filterwarnings("ignore:binarize=0.0 makes .* the same in all rows:UserWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_every_estimator(estimator, tmp_path):
    """Of the battery of scikit-learn's checks, which every public estimator is in."""
    rows = X @ X.T if getattr(estimator, "kernel", None) == "precomputed" else X
    targets = LABELS if type(estimator).__name__.endswith("Classifier") else y
    check_round_trip(estimator.fit(rows, targets), rows, tmp_path / "model.skops")


def test_a_pipeline(tmp_path):
    check_round_trip(small_pipeline().fit(X, y), X, tmp_path / "model.skops")


@pytest.mark.parametrize("opu", [None, "simulated"])
def test_an_ensemble_with_trees(opu, tmp_path):
    """On a target with jumps leaves and splits are in use; a device sees splits alone."""
    model = CrossFittedOPURegressor(8, cv=2, max_iter=20, trees=True, opu=opu, random_state=0)
    model.fit(X, np.floor(y / 4))
    check_round_trip(model, X, tmp_path / "model.skops")


def test_types_that_are_trusted_exist():
    """Of parts that were renamed, the list would keep the old name."""
    for name in list_trusted():
        module, _, kind = name.rpartition(".")
        assert isinstance(getattr(import_module(module), kind), type), name
    assert len(set(list_trusted())) == len(list_trusted())


class Own(BaseEstimator):
    """A step of a stranger."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self


def test_types_of_strangers_are_named_and_may_be_allowed(tmp_path):
    path = tmp_path / "model.skops"
    save_model(make_pipeline(Own()).fit(X), path)
    name = f"{Own.__module__}.Own"
    with pytest.raises(ValueError, match=rf"does not vouch for: {name}\. If you"):
        load_model(path)
    assert load_model(path, trusted=[name])[0].fitted_


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        save_model(OPUKernelRidge(), tmp_path / "model.skops")
