"""Normal equations summed in parts, the Gram matrix in 7 bits, and errors of many alphas."""

import pickle
from copy import copy

import numpy as np
import pytest
from scipy import sparse

from skopu._core import integer_product
from skopu.ridge import normal_equations, quantized_gram
from skopu.ridge.leave_one_out import LeaveOneOut, leave_out
from skopu.ridge.normal_equations import GRAMS, NormalEquations
from skopu.ridge.solvers import solve
from skopu.ridge.systems import FeatureSystem, WideSystem


@pytest.fixture
def data(rng):
    n = 500
    Phi = rng.standard_exponential((n, 20)) + 3
    weights = np.where(np.arange(n) % 7 == 0, 0.0, rng.uniform(0.2, 2, size=n))
    return Phi, rng.standard_normal((n, 2)) + 5, weights


def in_parts(data, sizes, gram="float64", convert=np.asarray):
    """Equations from parts of these sizes, in this order."""
    equations = NormalEquations(gram)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        equations.add(convert(data[0][rows]), *(part[rows] for part in data[1:]))
        start += size
    return equations


def assert_same(first, second, rtol):
    for name in ("weight", "n_rows", "mean", "target_mean", "target_norm"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=rtol)
    for one, other in ((first.gram(), second.gram()), (first.cross, second.cross)):
        np.testing.assert_allclose(one, other, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_sums_are_those_of_all_rows(data, convert, fit_intercept):
    """Oracle: the definition, in one product."""
    Phi, Y, weights = data
    gram, cross, mean, y_mean = in_parts(data, [1, 99, 400], convert=convert).system(fit_intercept)
    if fit_intercept:
        np.testing.assert_allclose(mean, np.average(Phi, axis=0, weights=weights), rtol=1e-12)
        np.testing.assert_allclose(y_mean, np.average(Y, axis=0, weights=weights), rtol=1e-12)
    centred = Phi - mean
    np.testing.assert_allclose(gram, centred.T @ (weights[:, None] * centred), atol=1e-9)
    np.testing.assert_allclose(cross, centred.T @ (weights[:, None] * (Y - y_mean)), atol=1e-9)


@pytest.mark.parametrize("gram", GRAMS)
def test_parts_may_be_merged_in_any_grouping(data, gram):
    """Oracle: one after the other. Bit for bit in the number of rows only."""
    chain = in_parts(data, [100] * 5, gram)
    parts = [
        in_parts([part[i : i + 100] for part in data], [100], gram) for i in range(0, 500, 100)
    ]
    tree = NormalEquations(gram)
    tree.merge(parts[3].merge(parts[4])).merge(parts[0].merge(parts[1])).merge(parts[2])
    assert_same(tree, chain, 1e-6 if gram != "float64" else 1e-12)
    np.testing.assert_allclose(tree.excess, chain.excess)
    empty = NormalEquations(gram).merge(NormalEquations(gram))
    assert empty.n_rows == 0
    assert_same(pickle.loads(pickle.dumps(tree)), tree, 0)


def test_an_offset_costs_no_digits(data):
    """Oracle: the equations of the same features without it, though it is 1e8 times as large."""
    Phi, Y, weights = data
    moved = in_parts((Phi + 1e8, Y, weights), [100] * 5)
    # 1e8 itself leaves eight of sixteen digits to the features.
    np.testing.assert_allclose(moved.gram(), in_parts(data, [500]).gram(), atol=1e-5)


@pytest.mark.parametrize(
    ("step", "n_before"),
    [("_no_rows", 0), ("_product", 250), ("add_product", 250), ("np.hypot", 250)],
)
def test_an_interruption_leaves_the_sums_as_they_were(data, monkeypatch, step, n_before):
    """Wherever it comes: before the long product, after it, or while parts are put together."""
    equations = in_parts(data, [n_before])
    before = pickle.loads(pickle.dumps(equations))

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"skopu.ridge.normal_equations.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        equations.add(*data)
    assert equations.n_rows == before.n_rows
    if n_before:
        assert_same(equations, before, 0)
    monkeypatch.undo()
    assert_same(equations.add(*data), before.add(*data), 0)


def test_a_shallow_copy_goes_its_own_way(data):
    """Oracle: the sums before; nothing in them is changed in place."""
    equations = in_parts(data, [250])
    before = pickle.loads(pickle.dumps(equations))
    copy(equations).add(*data)
    assert_same(equations, before, 0)


@pytest.fixture
def rounded(monkeypatch):
    """Rounding to 7 bits, whatever the processor does well."""
    monkeypatch.setattr(normal_equations, "integers_win", lambda *job: True)


@pytest.mark.usefixtures("rounded")
class TestSevenBits:
    @pytest.mark.parametrize("shape", [(1, 1), (3, 7), (1500, 300)])
    @pytest.mark.parametrize("way", ["integer_product", "float_product"])
    def test_products_are_exact(self, rng, shape, way, monkeypatch):
        """Oracle: int64. Integers where they are exact, which depends on the processor."""
        if way == "integer_product" and not integer_product.integers_win("levels"):
            pytest.skip("this processor does not multiply bytes")
        product = getattr(integer_product, way)
        monkeypatch.setattr(quantized_gram, "choose_product", lambda *job: product)
        codes = rng.integers(0, 128, size=shape, dtype=np.int8)
        codes[:, 0] = 127
        expected = codes.T.astype(np.int64) @ codes
        for start, strip in quantized_gram.integer_gram(codes):
            np.testing.assert_array_equal(strip, expected[start : start + len(strip), start:])

    def test_nothing_is_rounded_where_nothing_is_gained(self, data, monkeypatch):
        """Oracle: float32, to the last bit."""
        monkeypatch.setattr(normal_equations, "integers_win", lambda *job: False)
        found, expected = (in_parts(data, [100] * 5, gram) for gram in ("int7", "float32"))
        assert_same(found, expected, 0)
        assert not found.excess.any()

    def test_gram_is_that_of_the_rounded_features(self, data):
        """Oracle: each column rounded to 128 levels between its extremes, in numpy."""
        Phi, Y, weights = data
        kept = weights > 0
        root = np.sqrt(weights[kept])[:, None]
        rows = root * (Phi[kept] - np.average(Phi, axis=0, weights=weights))
        step = np.ptp(rows, axis=0) / 127
        rounded = rows.min(0) + step * np.rint((rows - rows.min(0)) / step)
        found = in_parts(data, [500], "int7")
        # A value halfway between two levels may fall to either side in float32.
        np.testing.assert_allclose(found.gram(), rounded.T @ rounded, rtol=1e-3, atol=0.05)
        targets = root * (Y[kept] - np.average(Y, axis=0, weights=weights))
        np.testing.assert_allclose(found.cross, rounded.T @ targets, rtol=1e-3, atol=0.05)

    @pytest.mark.parametrize("weighted", [True, False])
    def test_excess_is_what_rounding_adds(self, rng, weighted):
        """Oracle: uniform rounding errors, step^2/12 each; 1250 of 20000 rows are looked at.

        The standard error of a column is 2.5 %, 12 % is allowed: false-alarm rate 2e-5.
        """
        Phi = rng.standard_normal((20_000, 12)).astype(np.float32)
        weights = np.full(20_000, 4.0) if weighted else np.ones(20_000)
        equations = NormalEquations("int7").add(Phi, np.zeros((20_000, 1)), weights)
        expected = weights.sum() * np.square(np.ptp(Phi, axis=0) / 127) / 12
        np.testing.assert_allclose(equations.excess, expected, rtol=0.12)

    def test_excess_is_taken_off_alpha(self, data):
        """Oracle: the system written out; down to zero, and not below."""
        sums = in_parts(data, [500], "int7")
        alpha = float(np.median(sums.excess))
        gram, cross, mean, y_mean = sums.system(True)
        gram[np.diag_indices(20)] += np.maximum(alpha - sums.excess, 0)
        expected = np.linalg.solve(gram, cross)
        found = solve(FeatureSystem(sums, True), alpha)
        np.testing.assert_allclose(found.coef, expected, rtol=1e-9)
        np.testing.assert_allclose(found.intercept, y_mean - mean @ expected, rtol=1e-9)

    def test_features_of_128_levels_are_exact(self, rng):
        """Oracle: the same rows in float64. Constant columns have one level."""
        Phi = rng.integers(0, 2, size=(300, 10)).astype(float)
        Phi[:, 3] = 0.7
        Y, weights = rng.standard_normal((300, 1)), np.ones(300)
        exact, found = (NormalEquations(kind).add(Phi, Y, weights) for kind in ("float64", "int7"))
        np.testing.assert_allclose(found.gram(), exact.gram(), atol=1e-3)
        assert found.excess.max() < 1e-6

    def test_too_many_rows_at_once(self):
        rows = np.zeros((140_000, 1), dtype=np.float32)
        with pytest.raises(ValueError, match="use chunks of at most 133144 rows"):
            quantized_gram.QuantizedGram(rows, np.zeros(1), rows, np.ones(len(rows)))


@pytest.mark.parametrize("fit_intercept", [True, False])
class TestLeaveOneOut:
    alphas = np.logspace(-2, 3, 7)

    def test_errors_add_up_over_chunks(self, data, fit_intercept):
        """Oracle: the leave-one-out errors of features in memory."""
        kept = data[2] > 0
        Phi, Y, weights = (part[kept] for part in data)
        expected, _ = leave_out(Phi, Y, weights, fit_intercept, self.alphas)
        scan = LeaveOneOut(FeatureSystem(in_parts(data, [500]), fit_intercept), self.alphas)
        sums = sum(scan.errors(Phi[i::3], Y[i::3], weights[i::3]) for i in range(3))
        found = scan.choose(sums)
        np.testing.assert_allclose(found.errors, expected.errors, rtol=1e-10)
        assert found.alpha == expected.alpha

    def test_generalised_cross_validation(self, data, fit_intercept):
        """Oracle: the hat matrix. Also by way of the kernel."""
        kept = data[2] > 0
        Phi, Y, weights = (part[kept] for part in data)
        root = np.sqrt(weights)[:, None]
        mean = np.average(Phi, axis=0, weights=weights) if fit_intercept else 0.0
        y_mean = np.average(Y, axis=0, weights=weights) if fit_intercept else 0.0
        P, T = root * (Phi - mean), root * (Y - y_mean)
        expected = []
        for alpha in self.alphas:
            hat = P @ np.linalg.solve(P.T @ P + alpha * np.eye(20), P.T)
            free = 1 - (np.trace(hat) + fit_intercept) / len(P)
            expected.append(np.square((T - hat @ T) / free).sum() / (2 * weights.sum()))
        scan = LeaveOneOut(FeatureSystem(in_parts(data, [500]), fit_intercept), self.alphas)
        np.testing.assert_allclose(scan.choose(scan.gcv()).errors, expected, rtol=1e-8)
        system = WideSystem(Phi, Y, weights, fit_intercept)
        scan = LeaveOneOut(system, self.alphas)
        by_kernel = scan.choose(scan.gcv())
        np.testing.assert_allclose(by_kernel.errors, expected, rtol=1e-8)
