"""A fit is whole or leaves the estimator as it was. Oracle: the attributes before."""

import pytest
from sklearn.base import BaseEstimator

from skopu._core.fitting import keep_despite, whole


class Model(BaseEstimator):
    _carried = ("_unfinished",)

    def __init__(self, fails=False, keeps=False, warm_start=False):
        self.fails = fails
        self.keeps = keeps
        self.warm_start = warm_start

    @whole
    def fit(self, value):
        self.seen_ = sorted(name for name in vars(self) if name.endswith("_"))
        self._unfinished = value
        self.value_ = value
        if self.fails:
            error = KeyboardInterrupt()
            raise keep_despite(error, self) if self.keeps else error
        return self

    @whole
    def partial_fit(self, value):
        self.value_ += value
        if self.fails:
            raise MemoryError
        return self


def test_returns_the_estimator_itself():
    model = Model()
    assert model.fit(1) is model
    assert model.value_ == 1


def test_a_failed_first_fit_leaves_nothing():
    model = Model(fails=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(1)
    assert not hasattr(model, "value_")
    assert model._unfinished == 1


def test_a_failed_refit_leaves_the_old_model():
    model = Model().fit(1).set_params(fails=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(2)
    assert model.value_ == 1
    assert model._unfinished == 2  # what the next fit goes on from
    with pytest.raises(MemoryError):
        model.partial_fit(5)
    assert model.value_ == 1


def test_a_fit_that_is_kept_despite_its_error():
    model = Model().fit(1).set_params(fails=True, keeps=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(2)
    assert model.value_ == 2


def test_a_new_fit_does_not_see_the_old_one_and_a_warm_start_does():
    model = Model().fit(1)
    assert model.fit(2).seen_ == []
    assert model.set_params(warm_start=True).fit(3).seen_ == ["seen_", "value_"]
    assert model.partial_fit(4).value_ == 7
