"""Codes from trees.

Oracles: scikit-learn's own ensembles grown with the same settings, bits computed from their names,
functions whose jumps are known.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skopu import (
    NeuralDNFClassifier,
    OPUKernelRidge,
    OPURandomFeatures,
    ThermometerBinarizer,
    TreeBinarizer,
)
from skopu.devices import SimulatedOPU


@pytest.fixture(scope="module")
def jumps():
    """Rows of two columns that matter, in steps, and one that does not."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.integers(20, 60, 400),
            "income": rng.uniform(1, 6, 400),
            "shoe": rng.uniform(36, 46, 400),
        }
    )
    return X, np.where((X.age <= 41) & (X.income > 3.2), 2.0, 0.5)


def truth_of_leaf(X, name):
    """Evaluate a name such as "tree 3: 30 < age <= 41 and income > 3.2"."""
    conditions = name.partition(": ")[2].split(" and ")
    return np.all([X.eval(condition).to_numpy() for condition in conditions], axis=0)


def test_splits_say_all_that_their_ensemble_says(jumps):
    """Oracle: the ensemble; a tree of depth two is a sum of products of two of its bits."""
    X, y = jumps
    y = y + np.sin(X.shoe)
    binarizer = TreeBinarizer(n_estimators=8).fit(X, y)
    ensemble = HistGradientBoostingRegressor(
        max_iter=8, max_depth=2, min_samples_leaf=5, early_stopping=False
    )
    expected = ensemble.fit(X, y).predict(X)
    products = PolynomialFeatures(2, interaction_only=True).fit_transform(binarizer.transform(X))
    coef = np.linalg.lstsq(products, expected)[0]
    np.testing.assert_allclose(products @ coef, expected, atol=1e-9)


@pytest.mark.parametrize("as_labels", [True, False])
def test_splits_are_at_the_jumps(jumps, as_labels):
    """Oracle: where the target jumps, and the truth of the names."""
    X, y = jumps
    binarizer = TreeBinarizer(2).fit(X, np.where(y > 1, "yes", "no") if as_labels else y)
    age, income = binarizer.get_feature_names_out()
    assert age == "age <= 41"
    assert binarizer.thresholds_[1] == pytest.approx(3.2, abs=0.06)  # of 255 cuts
    truths = np.column_stack([X.eval(age), X.eval(income)])
    np.testing.assert_array_equal(binarizer.transform(X), truths)
    assert binarizer.gains_.sum() == pytest.approx(1)


def test_splits_of_most_gain_are_kept(jumps):
    """Oracle: all of them, sorted."""
    X, y = jumps
    every, few = TreeBinarizer().fit(X, y), TreeBinarizer(3).fit(X, y)
    best = np.sort(np.argsort(-every.gains_)[:3])
    np.testing.assert_array_equal(few.thresholds_, every.thresholds_[best])
    np.testing.assert_array_equal(few.columns_, every.columns_[best])


def test_leaves_are_where_rows_fall(jumps):
    """Oracles: the forest's ``apply``, and the truth of the names."""
    X, y = jumps
    binarizer = TreeBinarizer(32, kind="leaves", n_estimators=4, random_state=0).fit(X, y)
    codes, leaves = binarizer.transform(X).astype(int), binarizer.forest_.apply(X.to_numpy())
    assert binarizer.n_bits_ == 32
    together = (leaves[:, None] == leaves).sum(axis=2)
    np.testing.assert_array_equal(codes @ codes.T, together)
    for code, name in zip(codes.T, binarizer.get_feature_names_out(), strict=True):
        np.testing.assert_array_equal(code, truth_of_leaf(X, name))


@pytest.mark.parametrize("kind", ["splits", "leaves"])
def test_sparse_output(jumps, kind):
    """Oracle: the dense codes, and what a device makes of them."""
    X, y = jumps
    binarizer = TreeBinarizer(64, kind=kind, n_estimators=8, random_state=0).fit(X, y)
    dense = binarizer.transform(X)
    codes = binarizer.set_params(sparse_output=True).transform(X)
    assert sparse.issparse(codes)
    assert codes.dtype == dense.dtype == np.uint8
    np.testing.assert_array_equal(codes.toarray(), dense)
    features = OPURandomFeatures(32, opu=SimulatedOPU(0, medium="structured"))
    np.testing.assert_array_equal(features.fit_transform(codes), features.fit_transform(dense))


def test_targets_of_any_kind():
    """Oracle: the same bits for numbers and for text; every output has bits of its own."""
    X, y = load_iris(return_X_y=True)
    for kind in ("splits", "leaves"):
        binarizer = TreeBinarizer(32, kind=kind, n_estimators=4, random_state=0)
        codes = binarizer.fit_transform(X, y)
        text = np.array(["setosa", "versicolor", "virginica"])[y]
        np.testing.assert_array_equal(codes, binarizer.fit_transform(X, text))
    both = TreeBinarizer(n_estimators=1, max_depth=1).fit(X, X[:, [0, 2]])
    assert set(both.columns_) == {0, 2}


def test_names_in_a_data_frame(jumps):
    """Oracle: the binarizer's; no name comes twice, which other frames than pandas' refuse."""
    X, y = jumps
    for kind in ("splits", "leaves"):
        binarizer = TreeBinarizer(64, kind=kind, n_estimators=8).set_output(transform="pandas")
        frame = binarizer.fit_transform(X, y)
        assert frame.columns.is_unique
        assert frame.columns.tolist() == binarizer.get_feature_names_out().tolist()


def test_rules_of_split_bits(jumps):
    """Oracle: the rule that made the labels."""
    X, y = jumps
    labels = np.where(y > 1, "yes", "no")
    bits = TreeBinarizer(4).set_output(transform="pandas")
    chain = make_pipeline(bits, NeuralDNFClassifier(2, max_iter=200, random_state=0))
    assert chain.fit(X, labels).score(X, labels) > 0.99
    assert "age <= 41 = 1" in chain[-1].export_text()


def test_better_than_quantiles_where_targets_jump():
    """Oracle: a thermometer of as many bits on as many columns, most of which do not matter."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(400, 20))
    y = np.sign(X[:, 0] - 0.31) * np.sign(X[:, 1] - 0.77) + (X[:, 2] > 0.13)
    scores = [
        make_pipeline(binarizer, OPURandomFeatures(512), OPUKernelRidge()).fit(X[:300], y[:300])
        for binarizer in (TreeBinarizer(40), ThermometerBinarizer(40))
    ]
    trees, quantiles = (chain.score(X[300:], y[300:]) for chain in scores)
    assert trees > 0.9 > quantiles + 0.2


@pytest.mark.parametrize("kind", ["splits", "leaves"])
def test_nothing_to_split(kind):
    """Targets that do not differ, or columns that do not."""
    binarizer = TreeBinarizer(kind=kind, random_state=0)
    rows = np.arange(40.0)[:, None]
    for X, y in ((np.ones((40, 2)), rows[:, 0]), (rows, np.ones(40))):
        with pytest.raises(ValueError, match="no split of X helps"):
            binarizer.fit(X, y)


def test_one_leaf_is_no_bit():
    with pytest.raises(ValueError, match="give at least 2 bits"):
        TreeBinarizer(1, kind="leaves").fit([[0.0], [1.0]], [0.0, 1.0])
