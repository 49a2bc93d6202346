"""Canonical order of rows, and seeded thresholds."""

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from skopu._core.random import dither, double_dither, draw_seeds
from skopu._core.rows import distinct_rows, merge_repeated_rows
from skopu._core.scaling import fit_scaler


@pytest.fixture
def rows(rng):
    X = rng.integers(-1, 3, size=(200, 3)).astype(float)  # 64 distinct rows: many repetitions
    return X, rng.integers(0, 2, size=(200, 1)).astype(float), rng.integers(0, 3, size=200) * 1.0


def test_weights_are_added(rows):
    """Oracle: a dictionary."""
    X, Y, weights = rows
    expected = {}
    for x, y, weight in zip(X, Y, weights):
        if weight:
            key = (*x, *y)
            expected[key] = expected.get(key, 0) + weight
    X2, Y2, merged, kept = merge_repeated_rows(X, Y, weights)
    assert {(*x, *y): w for x, y, w in zip(X2, Y2, merged)} == expected
    np.testing.assert_array_equal(X[kept], X2)


def test_order_depends_on_the_set_of_rows_only(rows, rng):
    X, Y, weights = rows
    order = rng.permutation(200)
    for first, second in zip(
        merge_repeated_rows(X, Y, weights)[:3],
        merge_repeated_rows(X[order], Y[order], weights[order])[:3],
    ):
        np.testing.assert_array_equal(first, second)


def test_sparse_rows_are_the_dense_ones(rows):
    X, Y, weights = rows
    X2, Y2, merged, _ = merge_repeated_rows(X, Y, weights)
    S2, T2, sparse_merged, _ = merge_repeated_rows(sparse.csr_array(X), Y, weights)
    np.testing.assert_array_equal(S2.toarray(), X2)
    np.testing.assert_array_equal(T2, Y2)
    np.testing.assert_array_equal(sparse_merged, merged)


def test_zeros_of_either_sign_and_precisions_are_equal():
    X = np.array([[0.0, 1.0], [-0.0, 1.0]])
    assert len(merge_repeated_rows(X, np.zeros((2, 1)), np.ones(2))[0]) == 1
    single = merge_repeated_rows(X.astype(np.float32), np.zeros((2, 1)), np.ones(2))
    assert len(single[0]) == 1


def test_distinct_rows_are_the_merged_ones(rows):
    X, Y, weights = rows
    kept, merged = distinct_rows(X, Y, weights)
    expected = merge_repeated_rows(X, Y, weights)
    np.testing.assert_array_equal(kept, expected[3])
    np.testing.assert_array_equal(merged, expected[2])


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_scaler_sums_in_chunks(rng, convert, monkeypatch):
    """Oracle: StandardScaler on all rows at once."""
    X, weights = rng.standard_normal((50, 3)) + 7, rng.uniform(1, 2, size=50)
    monkeypatch.setattr("skopu._core.scaling._CHUNK_VALUES", 30)
    found = fit_scaler("standard", convert(X), weights, seed=0)
    expected = StandardScaler(with_mean=convert is np.asarray).fit(convert(X), None, weights)
    np.testing.assert_allclose(found.scale_, expected.scale_, rtol=1e-12)
    np.testing.assert_allclose(found.mean_, expected.mean_, rtol=1e-12)


def test_seeds_descend_from_one():
    assert draw_seeds(3, 4) == draw_seeds(3, 4)
    assert len(set(draw_seeds(3, 4))) == 4


class TestDither:
    def test_each_stratum_is_met_once(self):
        thresholds = dither(10, 7, seed=0)
        assert thresholds.shape == (10, 7)
        strata = np.sort(np.floor(10 * thresholds), axis=0)
        np.testing.assert_array_equal(strata, np.tile(np.arange(10)[:, None], 7))

    def test_each_draw_is_uniform_and_bits_are_independent(self):
        """Oracles: the uniform law (Kolmogorov-Smirnov) and zero correlation, 20000 seeds.

        False-alarm rate 1e-4 each; seeds are fixed.
        """
        first = np.array([dither(4, 2, seed)[0] for seed in range(20_000)])
        assert stats.kstest(first[:, 0], "uniform").pvalue > 1e-4
        assert abs(np.corrcoef(first.T)[0, 1]) < 3.9 / np.sqrt(20_000)

    def test_average_code_is_within_one_draw_of_the_probability(self, rng):
        p = rng.uniform(size=50)
        codes = dither(10, 50, seed=1) < p
        assert np.abs(codes.mean(0) - p).max() <= 0.1

    def test_doubled_they_meet_each_stratum_of_twice_as_many(self):
        """Oracle: the strata; by themselves the new ones meet each of the old."""
        old = dither(5, 70, seed=0)
        new = double_dither(old, seed=1)
        for thresholds in (new, np.concatenate([old, new])):
            n = len(thresholds)
            strata = np.sort(np.floor(n * thresholds), axis=0)
            np.testing.assert_array_equal(strata, np.tile(np.arange(n)[:, None], 70))
        # In an order of their own: of 70 columns 14 are expected to have the same first stratum.
        same = np.floor(5 * new[0]) == np.floor(5 * old[0])
        assert 3 <= same.sum() <= 30

    def test_doubled_ones_are_uniform(self):
        """Oracle: the uniform law (Kolmogorov-Smirnov), 20000 seeds; false-alarm rate 1e-4."""
        first = [double_dither(dither(4, 1, seed), [seed, 4])[0, 0] for seed in range(20_000)]
        assert stats.kstest(first, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("n_copies", [1, 20])  # few rows of 64 columns are bisected together
@pytest.mark.parametrize("n_rows", [1, 7, 64, 65, 300])
def test_normal_quantiles_are_those_of_scikit_learn(n_rows, n_copies):
    """Oracle: QuantileTransformer, clipped; with ties, constant columns, and values outside."""
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.standard_normal(200), rng.integers(0, 4, 200), np.full(200, 3.0), rng.random(200) ** 9]
    )
    new = np.vstack([X[: n_rows // 2], 1.5 * rng.standard_normal((n_rows - n_rows // 2, 4))])
    X, new = np.tile(X, n_copies), np.tile(new, n_copies)
    found = fit_scaler("quantile", X, np.ones(200), seed=0).transform(new)
    theirs = QuantileTransformer(n_quantiles=200, output_distribution="normal").fit(X)
    expected = theirs.transform(new).clip(-3, 3)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("n_columns", [5, 70])
def test_quantiles_of_a_row_are_its_own(n_columns):
    """Oracle: the same row alone, to the last bit; few rows are looked up in another way."""
    X = np.random.default_rng(0).standard_normal((300, n_columns))
    scaler = fit_scaler("quantile", X[:200], np.ones(200), seed=0)
    alone = np.vstack([scaler.transform(X[i : i + 1]) for i in range(300)])
    np.testing.assert_array_equal(scaler.transform(X), alone)
