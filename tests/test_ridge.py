"""Ridge solvers and leave-one-out errors."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import Ridge

from skopu.exceptions import RidgeConditionWarning
from skopu.ridge.leave_one_out import ALPHA_GRID, LeaveOneOut, leave_out
from skopu.ridge.solvers import ShiftedSystem, solve, solve_path, solve_positive
from skopu.ridge.systems import (
    FeatureSystem,
    KernelSystem,
    WideSystem,
    sum_rows,
    system_of_features,
)

SHAPES = [(40, 8), (12, 30)]  # primal and dual


@pytest.fixture(params=SHAPES, ids=["tall", "wide"])
def data(request, rng):
    n, d = request.param
    Phi = rng.standard_normal((n, d)) + 3
    return Phi, rng.standard_normal((n, 2)), rng.uniform(0.2, 2, size=n)


def both_systems(Phi, Y, weights, fit_intercept):
    """The D x D and the n x n system of the same features."""
    yield FeatureSystem(sum_rows(Phi, Y, weights), fit_intercept)
    yield WideSystem(Phi, Y, weights, fit_intercept)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_solvers_equal_scikit_learn(data, fit_intercept, convert):
    """Oracle: sklearn.linear_model.Ridge, with weights and one penalty for each target."""
    Phi, Y, weights = data
    alpha = np.array([0.3, 2.0])
    expected = Ridge(alpha=alpha, fit_intercept=fit_intercept).fit(Phi, Y, weights)
    for system in both_systems(convert(Phi), Y, weights, fit_intercept):
        readout = solve(system, alpha)
        np.testing.assert_allclose(readout.coef.T, expected.coef_, atol=1e-9)
        np.testing.assert_allclose(readout.intercept, expected.intercept_, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_kernel_solution_predicts_the_same(data, fit_intercept):
    """Oracle: the primal solution, on rows that were not fitted."""
    Phi, Y, weights = data
    new = Phi[:5] + 0.1
    primal = solve(system_of_features(Phi, Y, weights, fit_intercept), 0.7)
    dual = solve(KernelSystem(Phi @ Phi.T, Y, weights, fit_intercept), 0.7)
    np.testing.assert_allclose(dual.predict(new @ Phi.T), primal.predict(new), atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_path_is_the_solutions_one_by_one(data, fit_intercept):
    """Oracle: a Cholesky solution for each alpha, of either system."""
    alphas = [0.1, 2.0, 30.0]
    paths = [solve_path(system, alphas) for system in both_systems(*data, fit_intercept)]
    for number, alpha in enumerate(alphas):
        for path, system in zip(paths, both_systems(*data, fit_intercept), strict=True):
            expected = solve(system, alpha)
            np.testing.assert_allclose(path[number].coef, expected.coef, atol=1e-9)
            np.testing.assert_allclose(path[number].intercept, expected.intercept, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7, 70])
def test_shifted_systems(size, rng):
    """Oracle: numpy's solver."""
    A = rng.standard_normal((size, size))
    A, B = A @ A.T, rng.standard_normal((size, 3))
    shifted = ShiftedSystem(A.copy(), B)
    for shift in (0.1, 30.0):
        expected = np.linalg.solve(A + shift * np.eye(size), B)
        np.testing.assert_allclose(shifted.solve(shift), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["features", "kernel"])
def test_leave_one_out_is_exact(data, fit_intercept, kind):
    """Oracle: n fits, each without one row."""
    Phi, Y, weights = data
    alphas = [0.1, 1.0, 10.0]
    if kind == "features":
        choice, predictions = leave_out(Phi, Y, weights, fit_intercept, alphas)
    else:
        scan = LeaveOneOut(KernelSystem(Phi @ Phi.T, Y, weights, fit_intercept), alphas)
        choice = scan.choose(scan.errors())
        predictions = scan.predictions(choice.alpha, Y, weights)
    errors = []
    for alpha in alphas:
        left_out = np.empty_like(Y)
        for i in range(len(Y)):
            kept = np.arange(len(Y)) != i
            model = Ridge(alpha=alpha, fit_intercept=fit_intercept)
            left_out[i] = model.fit(Phi[kept], Y[kept], weights[kept]).predict(Phi[[i]])[0]
        errors.append(np.average((Y - left_out) ** 2, axis=0, weights=weights).mean())
        if alpha == choice.alpha:
            np.testing.assert_allclose(predictions, left_out, atol=1e-8)
    np.testing.assert_allclose(choice.errors, errors, rtol=1e-8)
    assert choice.alpha == alphas[int(np.argmin(errors))]


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_readout_of_the_chosen_penalty(data, fit_intercept):
    """Oracle: the Cholesky solution at that penalty."""
    Phi, Y, weights = data
    choice, _ = leave_out(Phi, Y, weights, fit_intercept)
    expected = solve(FeatureSystem(sum_rows(Phi, Y, weights), fit_intercept), choice.alpha)
    np.testing.assert_allclose(choice.readout.coef, expected.coef, atol=1e-7)
    np.testing.assert_allclose(choice.readout.intercept, expected.intercept, atol=1e-6)
    assert len(choice.alphas) == len(ALPHA_GRID)


def test_generalised_cross_validation_of_rows_nearly_interpolated(rng):
    """Oracle: the residuals themselves, where the difference of norms has no digit left."""
    Phi, Y = rng.standard_normal((12, 30)), rng.standard_normal((12, 2))
    K = Phi @ Phi.T
    alpha = 1e-9 * np.trace(K) / 12
    inverse = np.linalg.inv(K + alpha * np.eye(12))
    expected = np.square(alpha * inverse @ Y / (alpha * np.trace(inverse) / 12)).mean()
    scan = LeaveOneOut(KernelSystem(K, Y, np.ones(12), False), [alpha])
    assert scan.choose(scan.gcv()).errors[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_penalty_leaves_missing_directions_alone(shape, rng):
    """Oracle: the least-squares solution of least norm."""
    Phi = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, shape[1]))
    Y = rng.standard_normal((shape[0], 1))
    choice, left_out = leave_out(Phi, Y, np.ones(len(Y)), False, [0.0])
    np.testing.assert_allclose(choice.readout.coef, np.linalg.pinv(Phi) @ Y, atol=1e-9)
    kept = np.arange(len(Y)) != 4
    expected = Phi[4] @ np.linalg.pinv(Phi[kept]) @ Y[kept]
    np.testing.assert_allclose(left_out[4], expected, atol=1e-8)


def test_float32_features_are_solved_in_float64(rng):
    """Oracle: the same features given as float64."""
    Phi = (rng.standard_normal((300, 40)) + 10).astype(np.float32)
    Y, weights = rng.standard_normal((300, 1)), np.ones(300)
    single, double = (
        solve(system_of_features(each, Y, weights, True), 1e-3)
        for each in (Phi, Phi.astype(np.float64))
    )
    np.testing.assert_allclose(single.coef, double.coef, rtol=1e-12)


@pytest.mark.parametrize("n_features", [3, 30])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_constant_features_give_the_mean(n_features, size, rng):
    """At the fitted rows and beside them, where a fit to what rounding leaves would show."""
    Y, weights = rng.standard_normal((9, 1)), rng.uniform(0.2, 2, 9)
    row = size * rng.random((1, n_features))
    choice, _ = leave_out(np.repeat(row, 9, axis=0), Y, weights, True)
    expected = np.average(Y, axis=0, weights=weights)
    for new in (row, 2 * row):
        np.testing.assert_allclose(choice.readout.predict(new)[0], expected, atol=1e-3)


def test_a_constant_kernel_gives_the_mean(rng):
    """Oracle: the mean. What distances of equal rows round to took coefficients of 1e13."""
    Y, weights = rng.standard_normal((9, 1)), rng.uniform(0.2, 2, 9)
    K = 1 - 1e-14 * rng.random((9, 9))
    scan = LeaveOneOut(KernelSystem((K + K.T) / 2, Y, weights, True))
    choice = scan.choose(scan.errors())
    assert np.abs(choice.readout.coef).max() == 0
    np.testing.assert_allclose(choice.readout.intercept, np.average(Y, axis=0, weights=weights))


@pytest.mark.filterwarnings("error::skopu.exceptions.RidgeConditionWarning")
def test_a_constant_kernel_gives_the_mean_without_a_penalty(rng):
    """Oracle: the mean; for kernels of which nothing but rounding is left when they are centred."""
    Y = rng.standard_normal((9, 1))
    for K in (np.full((9, 9), np.tanh(1.0)), 1 - 1e-15 * np.eye(9)):
        readout = solve(KernelSystem(K, Y, np.ones(9), True), 0.0)
        assert np.abs(readout.coef).max() == 0
        np.testing.assert_allclose(readout.intercept, Y.mean(0))
    # A kernel that varies is no constant, however little.
    assert np.abs(solve(KernelSystem(np.eye(9), Y, np.ones(9), True), 1e6).coef).min() > 0


class TestIllConditioned:
    def test_singular_system_is_solved_with_a_named_jitter(self):
        """Oracle: any solution of the consistent system."""
        A = np.array([[1.0, 1.0], [1.0, 1.0]])
        with pytest.warns(RidgeConditionWarning, match=r"after adding 1\.0e-1\d to its diagonal"):
            X = solve_positive(A, np.array([[2.0], [2.0]]))
        np.testing.assert_allclose(A @ X, [[2.0], [2.0]], rtol=1e-5)

    @pytest.mark.parametrize("dtype", ["numpy", "torch"])
    def test_equal_rows_of_different_targets_leave_no_noise(self, dtype):
        """Oracle: the pseudo-inverse. Their difference was divided by rounding: 6e14."""
        codes = np.array([[1.0, 0.3], [0.2, 1.0], [1.0, 0.3], [1.0, 0.3]])
        A, B = codes @ codes.T, np.array([[1.0], [-1.0], [-1.0], [-1.0]])
        given = (A, B) if dtype == "numpy" else map(torch.from_numpy, (A, B))
        with pytest.warns(RidgeConditionWarning, match="shortest least-squares solution"):
            X = solve_positive(*given)
        np.testing.assert_allclose(X, np.linalg.pinv(A, 1e-12) @ B, rtol=1e-9)

    def test_indefinite_system_falls_back_to_least_squares(self):
        A = np.diag([1.0, -2.0])
        with pytest.warns(RidgeConditionWarning, match="indefinite ridge system"):
            X = solve_positive(A, np.array([[1.0], [1.0]]))
        np.testing.assert_allclose(A @ X, [[1.0], [1.0]])

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("overwrite_A", [True, False])
    def test_a_failed_factor_leaves_nothing_behind(self, order, overwrite_A, rng):
        """Oracle: numpy's least squares, though the factor is tried in the matrix's place."""
        vectors = np.linalg.qr(rng.standard_normal((9, 9)))[0]
        A = (vectors * np.linspace(-1, 2, 9)) @ vectors.T
        A = np.array((A + A.T) / 2, order=order)
        kept, B = A.copy(), rng.standard_normal((9, 1))
        with pytest.warns(RidgeConditionWarning, match="indefinite ridge system"):
            X = solve_positive(A, B, overwrite_A)
        np.testing.assert_allclose(X, np.linalg.lstsq(kept, B)[0], rtol=1e-9)
        assert overwrite_A or (kept == A).all()

    def test_infinite_system_is_refused(self):
        with pytest.raises(ValueError, match="NaN or infinite values: the features"):
            solve_positive(np.array([[np.inf]]), np.ones((1, 1)))
