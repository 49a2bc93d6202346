"""A prediction depends on its row alone, for every public estimator and method.

``.ci/run`` repeats this file under the instructions of older processors: sums of float32 pass on
some of them and not on others.
"""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from batteries import METHODS, MODELS, data, fresh
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from skopu import HyperplaneBinarizer, OPUKernelRidge, OPURandomFeatures

ROWS = np.random.default_rng(0).normal(size=(131, 5))
OTHERS = {
    "of Fourier features": OPUKernelRidge(
        kernel="rbf", kernel_approximation="fourier", n_components=64
    ),
    "laplacian": OPUKernelRidge(kernel="laplacian"),
    "in integers": OPUKernelRidge(
        n_components=64, gram="int7", binarizer=HyperplaneBinarizer(20), alpha=1e-3
    ),
    "raw": OPURandomFeatures(64, form="raw"),
    "products of bits": OPURandomFeatures(form="exact"),
    "of one pass": clone(MODELS["EndToEndOPUClassifier"]).set_params(prediction="threshold"),
}


def check_same(found, expected):
    """Compare; numbers that are not counted may differ by what sums in float64 do."""
    if expected.dtype.kind == "f":
        # Kernel ridge of nearly dependent rows has coefficients a thousand times its predictions.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
def test_a_prediction_depends_on_its_row_alone(name):
    """Oracle: all rows at once. In other batches, another order, and by more threads."""
    model = fresh({**MODELS, **OTHERS}[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the fits are short, of few rows
        model.fit(*data(model))
    n_threads = torch.get_num_threads()
    for method in filter(partial(hasattr, model), METHODS):
        answer = getattr(model, method)
        expected = np.asarray(answer(ROWS))
        axis = expected.ndim - 2 if method == "bit_probabilities" else 0  # of several encoders
        for size in (1, 3, 64):
            parts = [np.asarray(answer(ROWS[n : n + size])) for n in range(0, len(ROWS), size)]
            check_same(np.concatenate(parts, axis), expected)
        check_same(np.flip(np.asarray(answer(ROWS[::-1])), axis), expected)
        torch.set_num_threads(3)
        try:
            with threadpool_limits(3):
                check_same(np.asarray(answer(ROWS)), expected)
        finally:
            torch.set_num_threads(n_threads)
