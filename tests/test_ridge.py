"""Ridge solvers and leave-one-out errors."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from skopu.exceptions import RidgeConditionWarning
from skopu.ridge import solvers as ridge
from skopu.ridge.penalty_path import LOO_GRID

SHAPES = [(40, 8), (12, 30)]  # primal and dual


@pytest.fixture(params=SHAPES, ids=["tall", "wide"])
def data(request, rng):
    n, d = request.param
    Phi = rng.standard_normal((n, d)) + 3
    return Phi, rng.standard_normal((n, 2)), rng.uniform(0.2, 2, size=n)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_solvers_equal_scikit_learn(data, fit_intercept, convert):
    """Oracle: sklearn.linear_model.Ridge, with weights and one penalty for each target."""
    Phi, Y, weights = data
    alpha = np.array([0.3, 2.0])
    expected = Ridge(alpha=alpha, fit_intercept=fit_intercept).fit(Phi, Y, weights)
    for solve in (ridge.solve_primal, ridge.solve_dual):
        readout = solve(convert(Phi), Y, alpha, weights, fit_intercept)
        np.testing.assert_allclose(readout.coef.T, expected.coef_, atol=1e-9)
        np.testing.assert_allclose(readout.intercept, expected.intercept_, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_kernel_solution_predicts_the_same(data, fit_intercept):
    """Oracle: the primal solution, on rows that were not fitted."""
    Phi, Y, weights = data
    new = Phi[:5] + 0.1
    primal = ridge.solve_primal(Phi, Y, 0.7, weights, fit_intercept)
    dual = ridge.solve_kernel(Phi @ Phi.T, Y, 0.7, weights, fit_intercept)
    np.testing.assert_allclose(
        new @ Phi.T @ dual.coef + dual.intercept, new @ primal.coef + primal.intercept, atol=1e-9
    )


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["features", "kernel"])
def test_leave_one_out_is_exact(data, fit_intercept, kind):
    """Oracle: n fits, each without one row."""
    Phi, Y, weights = data
    alphas = [0.1, 1.0, 10.0]
    if kind == "features":
        choice = ridge.loo_features(Phi, Y, weights, fit_intercept, alphas)
    else:
        choice = ridge.loo_kernel(Phi @ Phi.T, Y, weights, fit_intercept, alphas)
    errors = []
    for alpha in alphas:
        left_out = np.empty_like(Y)
        for i in range(len(Y)):
            kept = np.arange(len(Y)) != i
            model = Ridge(alpha=alpha, fit_intercept=fit_intercept)
            left_out[i] = model.fit(Phi[kept], Y[kept], weights[kept]).predict(Phi[[i]])[0]
        errors.append(np.average((Y - left_out) ** 2, axis=0, weights=weights).mean())
        if alpha == choice.alpha:
            np.testing.assert_allclose(choice.predictions, left_out, atol=1e-8)
    np.testing.assert_allclose(choice.errors, errors, rtol=1e-8)
    assert choice.alpha == alphas[int(np.argmin(errors))]


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_readout_of_the_chosen_penalty(data, fit_intercept):
    """Oracle: the Cholesky solution at that penalty."""
    Phi, Y, weights = data
    choice = ridge.loo_features(Phi, Y, weights, fit_intercept)
    expected = ridge.solve_primal(Phi, Y, choice.alpha, weights, fit_intercept)
    np.testing.assert_allclose(choice.readout.coef, expected.coef, atol=1e-7)
    np.testing.assert_allclose(choice.readout.intercept, expected.intercept, atol=1e-6)
    assert len(choice.alphas) == len(LOO_GRID)


def test_float32_features_are_solved_in_float64(rng):
    """Oracle: the same features given as float64."""
    Phi = (rng.standard_normal((300, 40)) + 10).astype(np.float32)
    Y, weights = rng.standard_normal((300, 1)), np.ones(300)
    single = ridge.solve_primal(Phi, Y, 1e-3, weights, True)
    double = ridge.solve_primal(Phi.astype(np.float64), Y, 1e-3, weights, True)
    np.testing.assert_allclose(single.coef, double.coef, rtol=1e-12)


def test_constant_features_give_the_mean(rng):
    Y = rng.standard_normal((9, 1))
    choice = ridge.loo_features(np.ones((9, 3)), Y, np.ones(9), True)
    predictions = np.ones((1, 3)) @ choice.readout.coef + choice.readout.intercept
    np.testing.assert_allclose(predictions[0], Y.mean(0))


class TestIllConditioned:
    def test_singular_system_is_solved_with_a_named_jitter(self):
        """Oracle: any solution of the consistent system."""
        A = np.array([[1.0, 1.0], [1.0, 1.0]])
        with pytest.warns(RidgeConditionWarning, match=r"after adding 1\.0e-1\d to its diagonal"):
            X = ridge.solve_positive(A, np.array([[2.0], [2.0]]))
        np.testing.assert_allclose(A @ X, [[2.0], [2.0]], rtol=1e-5)

    def test_indefinite_system_falls_back_to_least_squares(self):
        A = np.diag([1.0, -2.0])
        with pytest.warns(RidgeConditionWarning, match="indefinite ridge system"):
            X = ridge.solve_positive(A, np.array([[1.0], [1.0]]))
        np.testing.assert_allclose(A @ X, [[1.0], [1.0]])

    def test_infinite_system_is_refused(self):
        with pytest.raises(ValueError, match="NaN or infinite values: the features"):
            ridge.solve_positive(np.array([[np.inf]]), np.ones((1, 1)))
