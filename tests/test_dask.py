"""Estimators on dask arrays, on a cluster of two processes. Oracle: the same rows in memory."""

import os
import warnings

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)

dask = pytest.importorskip("dask", reason="needs dask: pip install skopu[dask]")
distributed = pytest.importorskip("distributed", reason="needs dask: pip install skopu[dask]")
da = pytest.importorskip("dask.array")

N, K, D = 600, 12, 48
CHUNKS = ((150, 100, 250, 100), (K,))

pytestmark = [
    # What the cluster's own threads and processes leave behind is not ours to mend.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def client():
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        warnings.catch_warnings(action="ignore"),
        dask.config.set({"distributed.worker.memory.terminate": False}),
        distributed.LocalCluster(processes=True, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, size=(N, K)).astype(np.uint8)
    target = 1.0 * codes[:, 0] * codes[:, 1] - codes[:, 2] + 0.1 * rng.standard_normal(N)
    return codes, target, rng.uniform(0.5, 2, size=N)


def model(alpha=0.1, **parameters):
    return OPUKernelRidge(alpha, n_components=D, **parameters)


def spread(*arrays):
    """Dask arrays of these, cut in different places but for the first."""
    first = da.from_array(arrays[0], chunks=CHUNKS)
    return first, *(da.from_array(array, chunks=111) for array in arrays[1:])


class TestOnTwoWorkers:
    @pytest.mark.parametrize("alpha", [0.1, "loo", "gcv"])
    def test_fit_equals_the_local_one(self, client, rows, alpha):
        """To 1e-6; the local one has one chunk, in which repeated rows are not merged either."""
        assert len(client.scheduler_info()["workers"]) == 2
        alphas = None if alpha != "loo" else np.logspace(-3, 2, 6)
        local = model(alpha, alphas=alphas).fit_chunks([rows])
        found = model(alpha, alphas=alphas).fit(*spread(*rows))
        np.testing.assert_allclose(found.readout_coef_, local.readout_coef_, atol=1e-6)
        assert found.alpha_ == pytest.approx(local.alpha_)
        assert found.features_.opu_.n_passes == local.features_.opu_.n_passes

    def test_a_worker_sums_on_its_own_card(self, client, rows):
        """Torch on the workers' processors stands in for cards; what comes back is numpy's."""
        options = {"gram": "float64", "torch_device": "cpu:0"}
        found = model("loo", **options).fit(*spread(*rows))
        local = model("loo").fit_chunks([rows])
        np.testing.assert_allclose(found.readout_coef_, local.readout_coef_, atol=1e-6)
        assert isinstance(found._equations_._gram, np.ndarray)

    def test_predictions_are_lazy_and_the_same(self, client, rows):
        local = model().fit(*rows)
        X = spread(rows[0])[0]
        lazy = local.predict(X)
        assert isinstance(lazy, da.Array)
        assert lazy.chunks == (CHUNKS[0],)
        np.testing.assert_allclose(lazy.compute(), local.predict(rows[0]), atol=1e-10)

    def test_classifier(self, client, rows):
        X, y, _ = rows
        labels = np.array(["low", "middle", "top"])[np.digitize(y, [-0.5, 0.5])]
        settings = {"n_components": D, "class_weight": "balanced"}
        local = OPUKernelRidgeClassifier(0.1, **settings).fit(X, labels)
        blocks = spread(X, labels)
        found = OPUKernelRidgeClassifier(0.1, **settings).fit(*blocks)
        np.testing.assert_allclose(found.readout_coef_, local.readout_coef_, atol=1e-6)
        np.testing.assert_array_equal(found.predict(blocks[0]).compute(), local.predict(X))
        scores = found.decision_function(blocks[0])
        assert scores.shape == (N, 3)
        np.testing.assert_allclose(scores.compute(), local.decision_function(X), atol=1e-6)

    def test_grid_search(self, client, rows):
        """Oracle: the search in this process."""
        search = GridSearchCV(model(), {"alpha": [0.1, 10.0], "gamma": [0.8, 1.0]}, cv=2)
        expected = search.fit(*rows[:2]).cv_results_["mean_test_score"]
        with joblib.parallel_config(backend="dask"):
            found = search.fit(*rows[:2]).cv_results_["mean_test_score"]
        np.testing.assert_allclose(found, expected)

    def test_the_loss_of_a_worker_is_survived(self, client, rows, tmp_path):
        """One of the two processes ends itself during the fit; its sums are made again."""

        def die_once(block, marker):
            if len(block) == 250 and not os.path.exists(marker):
                open(marker, "w").close()
                os._exit(1)
            return block

        X, y, weights = spread(*rows)
        marker = str(tmp_path / "died")
        mortal = X.map_blocks(die_once, marker, dtype=X.dtype, meta=np.empty((0, 0), X.dtype))
        found = model().fit(mortal, y, weights)
        assert os.path.exists(marker)
        np.testing.assert_allclose(found.readout_coef_, model().fit(*rows).readout_coef_, atol=1e-6)


class TestWithoutACluster:
    """Dask's own threads; the graph is the same."""

    def test_transformers(self, rows):
        X, y, _ = rows
        real = np.random.default_rng(1).standard_normal((N, K))
        binarizer = SupervisedBinarizer(8, max_iter=2, random_state=0).fit(real[:50], y[:50])
        for transformer, data in (
            (OPURandomFeatures(D).fit(X), X),
            (OPURandomFeatures(form="exact").fit(X), X),
            (binarizer, real),
        ):
            lazy = transformer.transform(spread(data)[0])
            assert isinstance(lazy, da.Array)
            expected = transformer.transform(data)
            assert lazy.dtype == expected.dtype
            assert lazy.shape == expected.shape
            np.testing.assert_array_equal(lazy.compute(scheduler="threads"), expected)
            last = lazy[:, -1].compute(scheduler="threads")
            np.testing.assert_array_equal(last, expected[:, -1])

    def test_features_say_that_they_are_features(self, rows):
        X, y, _ = rows
        features = OPURandomFeatures(D).fit(X)
        blocks = spread(X, y)
        with dask.config.set(scheduler="threads"):
            found = OPUKernelRidge(0.1).fit(features.transform(blocks[0]), blocks[1])
        assert found.kernel_ == "linear"
        expected = OPUKernelRidge(0.1).fit(features.transform(X), y)
        np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-8)

    def test_first_block_trains_the_binarizer(self, rows):
        y = rows[1]
        X = np.random.default_rng(1).standard_normal((N, K))
        settings = {"binarizer": HyperplaneBinarizer(8, random_state=0)}
        with dask.config.set(scheduler="threads"):
            found = model(**settings).fit(*spread(X, y))
        cuts = [(X[:150], y[:150]), (X[150:], y[150:])]
        expected = model(**settings).fit_chunks(cuts)
        np.testing.assert_allclose(found.readout_coef_, expected.readout_coef_, atol=1e-8)

    @pytest.mark.parametrize("weights", [None, 2.0, "array"])
    def test_targets_and_weights_in_memory(self, rows, weights):
        X, y, given = rows
        weights = given if weights == "array" else weights
        Y = np.column_stack([y, -y])
        with dask.config.set(scheduler="threads"):
            found = model().fit(spread(X)[0], Y, weights)
        np.testing.assert_allclose(
            found.readout_coef_, model().fit(X, Y, weights).readout_coef_, atol=1e-8
        )
        assert found.predict(spread(X)[0]).shape == (N, 2)

    def test_blocks_of_unknown_size_and_empty_ones(self, rows):
        """Oracle: the rows that are kept."""
        X, y, _ = rows
        blocks = spread(X)[0], da.from_array(y, chunks=(CHUNKS[0],))
        kept = np.arange(N) >= 150
        chosen = [block[da.from_array(kept, chunks=(CHUNKS[0],))] for block in blocks]
        with dask.config.set(scheduler="threads"):
            found = model().fit(*chosen)
            predicted = found.predict(chosen[0]).compute()
            labels = np.where(y > 0, "yes", "no")
            classifier = OPUKernelRidgeClassifier(n_components=D).fit(X, labels)
            named = classifier.predict(chosen[0]).compute()
            scores = classifier.decision_function(chosen[0]).compute()
            with pytest.raises(ValueError, match="blocks of unknown size and different numbers"):
                model().fit(chosen[0], y[kept])
        expected = model().fit(X[kept], y[kept])
        np.testing.assert_allclose(found.readout_coef_, expected.readout_coef_, atol=1e-8)
        np.testing.assert_allclose(predicted, expected.predict(X[kept]), atol=1e-8)
        np.testing.assert_array_equal(named, classifier.predict(X[kept]))
        np.testing.assert_allclose(scores, classifier.decision_function(X[kept]), atol=1e-8)

    def test_weights_of_classes_and_blocks(self, rows):
        """Oracle: the same in memory. A block of weight zero is left out, and a class of it."""
        X, y, weights = rows
        labels = np.array(["low", "middle", "top"])[np.digitize(y, [-0.5, 0.5])]
        weights = np.where(np.arange(N) < 150, 0.0, weights) * (labels != "low")
        settings = {"n_components": D, "class_weight": "balanced"}
        expected = OPUKernelRidgeClassifier(0.1, **settings).fit(X, labels, weights)
        with dask.config.set(scheduler="threads"):
            for given in (spread(X, labels, weights), (spread(X)[0], labels, weights)):
                found = OPUKernelRidgeClassifier(0.1, **settings).fit(*given)
                assert list(found.classes_) == ["middle", "top"]
                np.testing.assert_allclose(found.readout_coef_, expected.readout_coef_, atol=1e-8)

    def test_bad_input(self, rows):
        X, y, _ = spread(*rows)
        with pytest.raises(ValueError, match="X has 600 rows and y has 599"):
            model().fit(X, y[1:])
        with pytest.raises(ValueError, match="kernel='precomputed' needs the kernel of all rows"):
            model(kernel="precomputed").fit(X, y)
        with pytest.raises(ValueError, match="use fit with arrays, or kernel_approximation='auto'"):
            model(kernel="rbf", kernel_approximation=None).fit(X, y)
