"""Binarizers to compare with: thermometer, autoencoder, hyperplanes, feedback alignment.

Oracles: codes written by hand, sorting, ``numpy.quantile``, scikit-learn's KBinsDiscretizer,
finite differences of the published objective, rows restored to known accuracy.
"""

import inspect

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from skopu import (
    AutoencoderBinarizer,
    DFABinarizer,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    ThermometerBinarizer,
    TreeBinarizer,
)
from skopu._core.thresholds import share_out
from skopu.binarizers import tied_autoencoder
from skopu.binarizers.tied_autoencoder import TiedAutoencoder, restoration_error
from skopu.dfa.encoder import DeviceFeatures, soft_edged_step
from skopu.exceptions import NotBinaryError

BASELINES = [
    AutoencoderBinarizer(16, max_iter=100, random_state=0),
    DFABinarizer(16, n_components=64, max_iter=20, random_state=0),
    HyperplaneBinarizer(16, random_state=0),
    ThermometerBinarizer(16),
    TreeBinarizer(16, n_estimators=10),
    TreeBinarizer(16, kind="leaves", n_estimators=4, random_state=0),
]


def name(binarizer):
    return type(binarizer).__name__


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    X.flags.writeable = False
    return X, y


@pytest.mark.parametrize("binarizer", BASELINES, ids=name)
class TestAll:
    def test_chain(self, binarizer, diabetes):
        """Oracle: predicting the mean, R2 = 0; the training rows' majority class, 0.63."""
        X, y = diabetes
        chain = make_pipeline(clone(binarizer), OPURandomFeatures(256), OPUKernelRidge("loo"))
        assert chain.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.1
        assert chain[-1].kernel_ == "linear"
        X, y = load_breast_cancer(return_X_y=True)
        classifier = OPUKernelRidgeClassifier("loo")
        chain = make_pipeline(clone(binarizer), OPURandomFeatures(256), classifier)
        assert chain.fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.85

    def test_as_the_binarizer_of_a_ridge(self, binarizer, diabetes):
        X, y = diabetes
        model = OPUKernelRidge("loo", binarizer=clone(binarizer), n_components=64).fit(X, y)
        assert model.binarizer_.transform(X).dtype == np.uint8
        assert model.score(X, y) > 0.1

    def test_sparse_input(self, binarizer, diabetes):
        """Oracle: the same rows given dense, scaled by nobody."""
        X, y = diabetes
        X = np.where(np.random.default_rng(0).random(X.shape) < 0.5, 0.0, X)
        if "scaler" in binarizer.get_params():
            binarizer = clone(binarizer).set_params(scaler=None)
        dense = clone(binarizer).fit(X, y).transform(X)
        for make in (sparse.csr_array, sparse.csc_matrix):
            found = clone(binarizer).fit(make(X), y).transform(make(X))
            assert isinstance(found, np.ndarray)
            assert (found != dense).mean() < 1e-3  # ties in rounding

    def test_weights_are_repetitions(self, binarizer, diabetes):
        """Oracle: the rows given as often as their weights say."""
        X, y = diabetes
        counts = np.random.default_rng(0).integers(0, 3, size=len(y))
        weighted = clone(binarizer).fit(X, y, sample_weight=counts).transform(X)
        repeated = clone(binarizer).fit(X.repeat(counts, axis=0), y.repeat(counts))
        assert (repeated.transform(X) != weighted).mean() < 1e-3


class TestThermometer:
    def test_quantiles(self):
        """Oracle: numpy's quantiles of many different values, to the distance of two values."""
        X = np.random.default_rng(0).standard_normal((2001, 1))
        binarizer = ThermometerBinarizer(9).fit(X)
        expected = np.quantile(X, np.arange(1, 10) / 10)
        ranks = np.searchsorted(np.sort(X[:, 0]), [binarizer.thresholds_, expected])
        assert np.abs(ranks[0] - ranks[1]).max() <= 1
        assert np.abs(np.diff(binarizer.transform(X).mean(axis=0)) + 0.1).max() < 2e-3

    def test_uniform(self):
        """Oracle: scikit-learn's bins of equal width."""
        X = np.random.default_rng(0).exponential(size=(500, 2))
        binarizer = ThermometerBinarizer(10, strategy="uniform").fit(X)
        bins = KBinsDiscretizer(6, encode="ordinal", strategy="uniform").fit(X)
        np.testing.assert_allclose(
            binarizer.thresholds_, np.concatenate([e[1:-1] for e in bins.bin_edges_])
        )
        codes = binarizer.transform(X)
        counts = np.column_stack([codes[:, binarizer.columns_ == c].sum(axis=1) for c in (0, 1)])
        np.testing.assert_array_equal(counts, bins.transform(X))

    @pytest.mark.parametrize("strategy", ["quantile", "uniform"])
    def test_few_values_are_all_told_apart(self, strategy):
        """Oracle: the rows themselves come back."""
        rng = np.random.default_rng(0)
        X = np.column_stack(
            [rng.choice([0, 1, 100.0], 80), np.full(80, 7.5), rng.choice([-1e-3, 2e5], 80)]
        )
        binarizer = ThermometerBinarizer(64, strategy=strategy).fit(X)
        assert binarizer.n_bits_ == 3
        assert binarizer.columns_.tolist() == [0, 0, 2]
        codes = binarizer.transform(X)
        np.testing.assert_allclose(binarizer.inverse_transform(codes), X, rtol=1e-12)
        assert binarizer.get_feature_names_out().shape == (3,)

    def test_frequent_values_take_one_threshold_each(self):
        """Oracle: all bits differ on the training rows, although 90 % of the values are 0."""
        rng = np.random.default_rng(0)
        X = np.where(rng.random((1000, 1)) < 0.9, 0.0, rng.random((1000, 1)))
        codes = ThermometerBinarizer(20).fit(X).transform(X)
        shares = codes.mean(axis=0)
        assert (np.diff(shares) < 0).all()
        assert shares[0] < 1
        assert shares[-1] > 0

    def test_codes_are_thermometers(self, diabetes):
        """Oracle: within a column no 0 before a 1, and more ones for larger values."""
        X, _ = diabetes
        binarizer = ThermometerBinarizer(33).fit(X)
        codes = binarizer.transform(X).astype(int)
        for column in range(X.shape[1]):
            bits = codes[:, binarizer.columns_ == column]
            assert (np.diff(bits, axis=1) <= 0).all()
            assert (np.diff(bits.sum(axis=1)[np.argsort(X[:, column])]) >= 0).all()

    def test_increasing_functions_of_columns_change_nothing(self, diabetes):
        X, _ = diabetes
        codes = ThermometerBinarizer().fit_transform(X)
        np.testing.assert_array_equal(ThermometerBinarizer().fit_transform(np.exp(9 * X)), codes)

    def test_neighbouring_floats_are_told_apart(self):
        X = np.array([[1.0], [np.nextafter(1.0, 2)]])
        assert ThermometerBinarizer().fit_transform(X).tolist() == [[0], [1]]

    def test_inverse_is_the_mean_of_the_level(self, diabetes):
        """Oracle: means taken group by group; no row of training is at the empty level."""
        X, _ = diabetes
        binarizer = ThermometerBinarizer(20).fit(X)
        codes = binarizer.transform(X)
        restored = binarizer.inverse_transform(codes)
        for level in np.unique(restored[:, 2]):
            chosen = restored[:, 2] == level
            np.testing.assert_allclose(level, X[chosen, 2].mean())
        skewed = ThermometerBinarizer(3, strategy="uniform").fit([[0.0], [0.1], [0.2], [0.3], [8]])
        assert skewed.inverse_transform([[1, 0, 0]]) == 3.0
        with pytest.raises(NotBinaryError):
            binarizer.inverse_transform(codes + 1)
        with pytest.raises(ValueError, match="X has 2 columns, but codes of this Thermometer"):
            binarizer.inverse_transform(codes[:, :2])

    def test_constant_rows_are_refused(self):
        with pytest.raises(ValueError, match=r"all 2 column\(s\) of X are constant"):
            ThermometerBinarizer().fit(np.ones((5, 2)))
        with pytest.raises(ValueError, match=r"constant over the 1 row\(s\)"):
            ThermometerBinarizer().fit(np.arange(5.0)[:, None], sample_weight=[0, 0, 1, 0, 0])

    @pytest.mark.parametrize(
        ("n_bits", "capacities", "expected"),
        [
            (6, [9, 9, 9], [2, 2, 2]),
            (7, [9, 9, 9], [3, 2, 2]),
            (2, [3, 9, 9], [0, 1, 1]),
            (10, [1, 0, 20], [1, 0, 9]),
            (10, [1, 3, 20, 20], [1, 3, 3, 3]),
            (99, [1, 2, 3], [1, 2, 3]),
            (4, [0, 0], [0, 0]),
        ],
    )
    def test_shares(self, n_bits, capacities, expected):
        assert share_out(n_bits, capacities).tolist() == expected


class TestAutoencoder:
    def test_objective(self):
        """Oracle: the formulas of the paper in numpy, for more and for fewer bits than columns."""
        rng = np.random.default_rng(0)
        for n_bits in (9, 3):
            model = TiedAutoencoder(5, n_bits, seed=0)
            model.weight.data += 0.1 * torch.from_numpy(rng.standard_normal((n_bits, 5)))
            model.bias.data = torch.from_numpy(rng.standard_normal(5)).float()
            W, c = model.weight.detach().numpy().astype(float), model.bias.numpy(force=True)
            expected = np.square(W.T @ W - np.eye(5)).sum()
            np.testing.assert_allclose(model.correlation().item(), expected, rtol=1e-5)
            X, weights = rng.uniform(-1, 1, (20, 5)).astype("f"), rng.random(20)
            restored = np.tanh((W @ X.T > 0).T @ W + c)
            expected = (weights * np.square(X - restored).mean(axis=1)).mean()
            found = restoration_error(model, torch.from_numpy(X), torch.from_numpy(weights))
            np.testing.assert_allclose(found.item(), expected, rtol=1e-5)

    def test_what_is_minimised(self):
        """Oracle: the two terms of the class's docstring, in numpy, lambda by its half."""
        X = np.random.default_rng(0).uniform(-1, 1, (5, 4))
        settings = AutoencoderBinarizer(3, lambda_reg=0.7, batch_size=5)
        model = TiedAutoencoder(4, 3, seed=0)
        with torch.no_grad():
            model.weight.mul_(2)  # orthonormal rows would make the second term a constant
        W = model.weight.detach().numpy()
        training = tied_autoencoder._TiedTraining(model, X, np.ones(5), settings, seed=0)
        reported, minimised, _ = training.surrogate()
        restored = np.tanh((X @ W.T > 0) @ W)
        assert reported == pytest.approx(np.mean((X - restored) ** 2), rel=1e-5)
        correlation = np.square(W.T @ W - np.eye(4)).sum()
        assert minimised.item() == pytest.approx(reported + 0.35 * correlation, rel=1e-5)

    def test_start(self):
        """Oracle: no correlation of rows or of columns to remove."""
        assert TiedAutoencoder(5, 9, seed=0).correlation().item() < 1e-9
        np.testing.assert_allclose(TiedAutoencoder(9, 5, seed=0).correlation().item(), 4)

    def test_the_decoder_teaches_the_encoder(self):
        """Oracle: finite differences of the error with the codes held fixed."""
        model = TiedAutoencoder(4, 6, seed=0).double()
        source = torch.Generator().manual_seed(0)
        X = torch.rand(10, 4, generator=source, dtype=torch.float64) - 0.5
        codes, ones = model.codes(X), torch.ones(10, dtype=torch.float64)
        restoration_error(model, X, ones).backward()
        shift = torch.zeros_like(model.weight)
        shift[2, 1] = 1e-6
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                restored = torch.tanh(codes @ (model.weight + sign * shift) + model.bias)
                ends.append((restored - X).square().mean())
        slope = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(model.weight.grad[2, 1], slope, rtol=1e-5, atol=1e-9)

    def test_training_restores_better_and_the_penalty_decorrelates(self, diabetes):
        """Oracles: the start, one step; the same fit without the penalty."""
        X, _ = diabetes
        errors, correlations = [], []
        for settings in ({"max_iter": 1}, {"lambda_reg": 0.1}, {"lambda_reg": 0.0}):
            model = AutoencoderBinarizer(32, max_iter=300, random_state=0).set_params(**settings)
            restored = model.fit(X).inverse_transform(model.transform(X))
            errors.append(np.mean((restored - X) ** 2) / X.var())
            correlations.append(np.square(model.coef_.T @ model.coef_ - np.eye(10)).sum())
        assert errors[1] < 0.8 * errors[0]
        assert correlations[1] < 0.1 * correlations[2]

    def test_units(self, diabetes):
        """Oracles: the same fit in other units; tanh reaches three standard deviations."""
        X, _ = diabetes
        # All rows at once: the order of the minibatches depends on the values.
        model = AutoencoderBinarizer(24, max_iter=50, batch_size=500, random_state=0)
        codes = model.fit_transform(X)
        restored = model.inverse_transform(codes)
        assert np.abs(StandardScaler().fit(X).transform(restored)).max() < 3
        units = 2.0 ** np.arange(10)
        assert (model.fit_transform(X * units) != codes).mean() < 1e-2
        np.testing.assert_allclose(model.inverse_transform(codes) / units, restored, atol=1e-2)

    def test_scaler(self, diabetes):
        """Oracle: clipping, and the quantile scaler's own inverse, by hand."""
        X, _ = diabetes
        model = AutoencoderBinarizer(8, scaler=None, max_iter=20, batch_size=500, random_state=0)
        clipped = clone(model).fit((50 * X).clip(-1, 1))
        model.fit(50 * X)
        np.testing.assert_allclose(model.coef_, clipped.coef_, atol=1e-5)
        assert np.abs(model.inverse_transform(model.transform(X))).max() < 1
        model = AutoencoderBinarizer(8, scaler="quantile", max_iter=20, random_state=0).fit(X)
        restored = model.inverse_transform(model.transform(X))
        assert (restored >= X.min(axis=0) - 1e-12).all()
        assert (restored <= X.max(axis=0) + 1e-12).all()

    def test_codes_are_checked(self, diabetes):
        model = AutoencoderBinarizer(8, max_iter=2, random_state=0).fit(diabetes[0])
        with pytest.raises(ValueError, match="codes of this AutoencoderBinarizer have 8 bits"):
            model.inverse_transform(np.zeros((2, 9)))
        with pytest.raises(NotBinaryError):
            model.inverse_transform(np.full((2, 8), 0.5))


class TestHyperplanes:
    def test_angles(self):
        """Oracle: two rows differ in a share angle/pi of the bits. 20000 bits, 4.5 sd: 7e-6."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((4, 6))
        model = HyperplaneBinarizer(20000, scaler=None, random_state=0).fit(X)
        codes = model.transform(X)
        cosine = X[0] @ X[1] / np.linalg.norm(X[0]) / np.linalg.norm(X[1])
        expected = np.arccos(cosine) / np.pi
        found = (codes[0] != codes[1]).mean()
        assert abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 20000)

    def test_scaler(self, diabetes):
        """Oracle: the quantile scaler ignores increasing functions of columns."""
        X, _ = diabetes
        model = HyperplaneBinarizer(32, scaler="quantile", random_state=0)
        codes, others = model.fit_transform(X), model.fit_transform(np.exp(9 * X))
        assert (codes != others).mean() < 1e-2


class TestFeedbackAlignment:
    def test_slope(self):
        """Oracle: the derivative of the sigmoid, by hand."""
        logits = torch.tensor([-1.0, 0.2, 3.0], dtype=torch.float64, requires_grad=True)
        codes = soft_edged_step(logits, temperature=0.5)
        assert codes.tolist() == [0, 1, 1]
        codes.sum().backward()
        shares = 1 / (1 + np.exp(-2 * logits.detach().numpy()))
        np.testing.assert_allclose(logits.grad, 2 * shares * (1 - shares))

    def test_scale_of_the_features(self):
        """Oracle: deviation 0.2/sqrt(D) and mean 0 over the rows of R, for half-full codes."""
        from skopu.devices import SimulatedOPU

        codes = torch.zeros(1, 64)
        codes[:, :32] = 1
        features = DeviceFeatures(SimulatedOPU(0), 20000)(codes) * np.sqrt(20000)
        # The intensity is 32 times an exponential variable: deviation 1 in units of the mean.
        assert abs(features.std() - 0.2) < 0.01
        assert abs(features.mean()) < 4.5 * 0.2 / np.sqrt(20000)

    def test_auto_budget(self, diabetes, monkeypatch):
        """Oracle: the least number of epochs, of 442 // 128 = 3 minibatches, with 40 of these."""
        monkeypatch.setattr("skopu.dfa.encoder._N_ITER", 40)
        model = DFABinarizer(2, n_components=4, random_state=0).fit(*diabetes)
        assert model.n_iter_ == 14
        assert model.n_passes_ == 14 * 3 * 128

    def test_it_beats_random_hyperplanes_by_far(self, load_real):
        """Oracle: as many random bits before the same readout, on a smooth function."""
        X, y = load_real("energy")
        order = np.random.default_rng(0).permutation(len(y))
        X, y = StandardScaler().fit_transform(X)[order], y[order] / y.std()
        errors = []
        for binarizer in (
            DFABinarizer(64, n_components=512, max_iter=100, random_state=0),
            HyperplaneBinarizer(64, random_state=0),
        ):
            chain = make_pipeline(binarizer, OPURandomFeatures(512), OPUKernelRidge("loo"))
            predictions = chain.fit(X[:600], y[:600]).predict(X[600:])
            errors.append(np.mean((predictions - y[600:]) ** 2))
        assert errors[0] < 0.3 * errors[1]
        assert errors[0] < 0.03


def test_every_baseline_has_an_example_of_its_own():
    for binarizer in BASELINES:
        assert f">>> from skopu import {name(binarizer)}" in inspect.getdoc(type(binarizer))
