"""What a type checker makes of the public surface; mypy reads this file, nothing calls it."""

from typing import assert_type

import numpy as np
from sklearn.pipeline import Pipeline

import skopu
from skopu.devices import SimulatedOPU


def use(X: np.ndarray, y: np.ndarray) -> None:
    """Every line says a type that mypy must find."""
    ridge = skopu.OPUKernelRidge(alpha="loo", random_state=0)
    assert_type(ridge.fit(X, y), skopu.OPUKernelRidge)
    assert_type(skopu.DFARegressor().fit(X, y).predict(X), np.ndarray)

    ensemble = skopu.CrossFittedOPUClassifier(n_bits=8)
    assert_type(ensemble.fit(X, y), skopu.CrossFittedOPUClassifier)
    assert_type(ensemble.predict_proba(X), np.ndarray)

    assert_type(skopu.EndToEndOPURegressor().fit(X, y).to_pipeline(), Pipeline)
    assert_type(skopu.SupervisedBinarizer().fit(X, y).sample(X, 3), np.ndarray)
    assert_type(SimulatedOPU().project(X, 10), np.ndarray)
