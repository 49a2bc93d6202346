"""Float32 in, float32 out. Oracle: scikit-learn's Ridge, and the same model's float64 answers."""

import numpy as np
import pandas as pd
import pytest
from batteries import MODELS, data, fresh
from scipy import sparse
from sklearn.linear_model import Ridge

METHODS = ("predict", "decision_function", "predict_proba")
PREDICTING = [name for name, model in MODELS.items() if hasattr(model, "predict")]
CONTAINERS = [
    np.asarray,
    pd.DataFrame,
    pytest.param(sparse.csr_array, marks=pytest.mark.filterwarnings("ignore:.*sparse")),
]


@pytest.mark.parametrize("name", PREDICTING)
def test_predictions_have_the_precision_of_the_rows(name):
    model, (rows, targets) = fresh(MODELS[name]), data(MODELS[name])
    rows = rows.astype(np.float32)
    model.fit(rows, targets)
    for method in filter(lambda name: hasattr(model, name), METHODS):
        single = getattr(model, method)(rows)
        double = getattr(model, method)(rows.astype(np.float64))
        if double.dtype == np.float64:
            assert single.dtype == np.float32
            np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
def test_dtypes_are_those_of_ridge(container, dtype):
    model, (rows, targets) = fresh(MODELS["rbf"]), data(MODELS["rbf"])
    rows = container((10 * rows).astype(dtype))
    found = model.set_params(kernel="linear").fit(rows, targets).predict(rows)
    assert found.dtype == Ridge().fit(rows, targets).predict(rows).dtype
