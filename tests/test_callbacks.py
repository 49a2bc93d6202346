"""Scikit-learn's callbacks: what they are told of the fits of every estimator that trains.

Oracle: a callback that notes what it is told, and the same fit without it.
"""

import numpy as np
import pytest
from batteries import MODELS, check_same, data, fresh, outcome
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

from sklearn.callback import ScoringMonitor
from sklearn.callback._callback_context import get_context_path


class Notes:
    """Notes the task of every call, and asks to stop after a number of periods."""

    max_propagation_depth = 1

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.stop_after = [], [], stop_after
        self.n_set_up = self.n_torn_down = 0

    def setup(self, estimator, context):
        self.n_set_up += 1

    def teardown(self, estimator, context):
        self.n_torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(self._path(context))

    def on_fit_task_end(self, estimator, context):
        self.ended.append(self._path(context))
        n_periods = sum(path[-1] == "period" for path in self.ended)
        return self.stop_after is not None and n_periods >= self.stop_after

    def _path(self, context):
        return [c.task_name for c in get_context_path(context)]


# Of those that train in a loop; the names are those of the fault laboratory.
TRAINED = [name for name in MODELS if name not in ("OPURandomFeatures", "of a learned gamma")]
TRAINED = [name for name in TRAINED if hasattr(MODELS[name], "set_callbacks")]
LOOPLESS = {"HyperplaneBinarizer", "ThermometerBinarizer", "TreeBinarizer"}
LOOPLESS |= {"rbf", "of hyperplanes"}


@pytest.mark.parametrize("name", TRAINED)
def test_every_fit_reports_its_periods_and_learns_the_same(name):
    notes, plain = Notes(), fresh(MODELS[name])
    told = fresh(MODELS[name]).set_callbacks(notes)
    rows = data(plain)
    check_same(outcome(told.fit(*rows), rows[0]), outcome(plain.fit(*rows), rows[0]), name)
    assert notes.begun[0] == notes.ended[-1] == ["fit"]
    assert sorted(notes.begun) == sorted(notes.ended)
    assert notes.n_set_up == notes.n_torn_down == 1
    has_periods = any(path[-1] == "period" for path in notes.ended)
    assert has_periods != bool({name, type(plain).__name__} & LOOPLESS)
    assert not hasattr(told, "_callback_fit_ctx")


def test_a_callback_ends_training():
    """Oracle: the number of minibatches done."""
    model = fresh(MODELS["SupervisedBinarizer"]).set_params(max_iter=50)
    model.set_callbacks(Notes(stop_after=7)).fit(*data(model))
    assert model.n_iter_ == 7


def test_a_fit_that_fails_tears_down():
    notes, model = Notes(), fresh(MODELS["SupervisedBinarizer"]).set_callbacks(Notes())
    model.set_callbacks(notes)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(np.eye(4), np.zeros(3))
    assert notes.n_set_up == notes.n_torn_down == 1


def test_a_pipeline_passes_them_on():
    """Within a pipeline the step's own task stands below the pipeline's."""
    notes = Notes()
    model = make_pipeline(StandardScaler(), fresh(MODELS["BinaryMLPClassifier"]))
    model.set_callbacks(notes).fit(*data(MODELS["BinaryMLPClassifier"]))
    assert any(path[-1] == "period" and len(path) > 3 for path in notes.ended)


def test_the_fitted_model_is_scored():
    """Oracle: the model's own score."""
    monitor = ScoringMonitor(scoring="r2")
    model = fresh(MODELS["OPUKernelRidge"]).set_callbacks(monitor)
    rows = data(model)
    model.fit(*rows)
    scores = [row["r2"] for row in monitor.get_logs().data if "r2" in row]
    assert scores[-1] == pytest.approx(model.score(*rows))
