"""One walk for the data: how often fits validate rows, put them in order, and make R.

Oracle: the calls themselves, seen by the interpreter's profiler. What the walks cost may fall and
must not grow: a second validation or matrix changes no prediction and so no other test sees it.
"""

import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.datasets import load_diabetes
from sklearn.pipeline import Pipeline
from sklearn.utils import validation

from skopu import (
    CrossFittedOPURegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    OPUKernelRidge,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu._core import rows
from skopu.devices import gaussian

X, y = load_diabetes(return_X_y=True)
X, y = X[:80], y[:80]
N_BITS, N_COMPONENTS = 6, 24


class Walk:
    """Counts, as a context: validations and orderings by skopu, and entries of R that are made."""

    def __enter__(self):
        self.counts = Counter()
        self._kinds = {
            validation.validate_data.__code__: "validations",
            validation.check_array.__code__: "validations",
            rows.distinct_rows.__code__: "orderings",
            gaussian.fill_block.__code__: "entries",
        }
        sys.setprofile(self._see)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)

    def _see(self, frame, event, argument):
        kind = self._kinds.get(frame.f_code) if event == "call" else None
        caller = frame.f_back.f_globals.get("__name__", "") if kind else ""
        if caller.startswith("skopu"):
            self.counts[kind] += frame.f_locals["block"].size if kind == "entries" else 1


def steps(**binarizer):
    return SupervisedBinarizer(N_BITS, n_components=N_COMPONENTS, max_iter=2, **binarizer)


PIPELINE = Pipeline(
    [("b", steps()), ("f", OPURandomFeatures(N_COMPONENTS)), ("r", OPUKernelRidge(alpha="loo"))]
)
# Each of the three estimators of a pipeline is told of the rows by the user, and binarizer and
# features open a device each. They were 15, 3, 3 (end to end) and 5, 2, 3 (pipeline).
WALKS = [
    (EndToEndOPURegressor(steps()), (1, 1, 1)),
    (EndToEndOPURegressor(steps(gradient="quadratic"), prediction="mean"), (1, 1, 1)),
    (EndToEndOPUClassifier(steps(), prediction="threshold"), (1, 1, 1)),
    (PIPELINE, (3, 2, 2)),
    (CrossFittedOPURegressor(N_BITS, max_iter=2), (1, 1, 0)),
]


@pytest.mark.parametrize(("model", "expected"), WALKS)
def test_fit(model, expected):
    targets = np.where(y > y.mean(), "high", "low") if is_classifier(model) else y
    with Walk() as seen:
        model.fit(X, targets)
    n_entries = 2 * N_BITS * (N_COMPONENTS - 1)
    found = seen.counts
    assert (found["validations"], found["orderings"], found["entries"] // n_entries) == expected


@pytest.mark.parametrize("model", [model for model, _ in WALKS[:3]])
def test_predict_validates_once(model):
    targets = np.where(y > y.mean(), "high", "low") if is_classifier(model) else y
    model.fit(X, targets)
    with Walk() as seen:
        model.predict(X)
    assert seen.counts["validations"] == 1
    assert seen.counts["orderings"] == 0
