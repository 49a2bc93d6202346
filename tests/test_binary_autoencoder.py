"""Denoising autoencoder: layers, units, ratio, codes."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from skopu import BinaryAutoencoder, OPUKernelRidgeClassifier, OPURandomFeatures
from skopu.discrete.autoencoder import psnr
from skopu.discrete.autoencoder_network import Autoencoder
from skopu.discrete.autoencoder_training import corrupt
from skopu.exceptions import InterruptedFitWarning, NotBinaryError


def quick(**settings):
    model = BinaryAutoencoder(8, max_iter=20, batch_size=32, random_state=0)
    return model.set_params(**settings)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X.flags.writeable = False
    return X, y


def test_ratio_in_decibels(rng):
    """Oracle: by hand; an error of a tenth of the range is 20 dB."""
    X = rng.uniform(-1, 1, (50, 4))
    assert psnr(X, X + 0.2) == pytest.approx(20)
    assert psnr(X, X) == np.inf


def test_noise_of_training():
    """Oracle: mean and spread of the normal; 1e5 draws, six standard errors (1 in 10^9)."""
    X = torch.zeros(1000, 100)
    noise = corrupt(X, 0.1, torch.Generator().manual_seed(0))
    assert abs(noise.mean()) < 6 * 0.1 / np.sqrt(1e5)
    assert abs(noise.std() - 0.1) < 6 * 0.1 / np.sqrt(2e5)
    assert corrupt(X, 100.0, torch.Generator().manual_seed(0)).abs().max() == 1


@pytest.mark.parametrize("method", ["bop", "ste", "real"])
@pytest.mark.parametrize("activation", ["sign", "relu"])
def test_calibrated_layers(rng, method, activation):
    """Oracle: torch's own batch normalisation of the same rows."""
    generator = torch.Generator().manual_seed(0)
    model = Autoencoder((6, 5, 3, 5, 6), generator, method=method, activation=activation)
    for norm in model.norm:
        torch.nn.init.uniform_(norm.weight, generator=generator)
        torch.nn.init.uniform_(norm.bias, generator=generator)
    X = torch.tensor(rng.uniform(-1, 1, (40, 6)))
    expected = model.double()(X)
    if method != "real":
        assert all(part.weight.hard().abs().eq(1).all() for part in model.linear)
    H = X
    for number, (coef, scale, shift) in enumerate(model.calibrated(X, torch.ones(40).double())):
        H = (model.activation(H) if number else H) @ coef * scale + shift
    np.testing.assert_allclose(torch.tanh(H).detach(), expected.detach(), rtol=1e-6, atol=1e-9)


def test_layers_of_a_fit(rng):
    """Oracle: the sizes asked for, weights of -1 and 1, and numpy's forward pass by hand."""
    X = rng.uniform(0, 5, (60, 6))
    model = quick(hidden_layer_sizes=(7, 4)).fit(X)
    assert [c.shape for c in model.coefs_] == [(6, 7), (7, 4), (4, 8), (8, 4), (4, 7), (7, 6)]
    assert all(c.dtype == np.int8 and set(np.unique(c)) == {-1, 1} for c in model.coefs_)
    H = 2 * (X - X.min(0)) / np.ptp(X, axis=0) - 1
    for number in range(3):
        H = H if not number else 2.0 * (H >= 0) - 1
        H = H @ model.coefs_[number] * model.scales_[number] + model.intercepts_[number]
    np.testing.assert_array_equal(model.transform(X), H >= 0)


def test_restored_rows_have_the_units_of_the_columns(rng):
    """Oracle: the ranges of the columns; constant ones come back as they were."""
    X = np.column_stack([rng.uniform(10, 20, 50), rng.uniform(-1e6, 1e6, 50), np.full(50, 3.0)])
    model = quick().fit(X)
    restored = model.inverse_transform(model.transform(X))
    assert (restored >= X.min(0)).all()
    assert (restored <= X.max(0)).all()
    np.testing.assert_array_equal(restored[:, 2], 3)
    np.testing.assert_array_equal(
        model.transform(X + np.array([100, 1e9, 0])), model.transform(X.max(0)[None].repeat(50, 0))
    )


def test_feature_range(digits):
    """Oracle: the range given; a range upside down is refused."""
    X, _ = digits
    model = quick(feature_range=(0, 16)).fit(X[:100])
    assert (model.low_ == 0).all()
    assert (model.high_ == 16).all()
    assert model.n_iter_ == 20
    with pytest.raises(ValueError, match=r"feature_range=\(16, 0\) must be \(low, high\)"):
        quick(feature_range=(16, 0)).fit(X[:100])
    with pytest.raises(
        ValueError, match=r"hidden_layer_sizes=\(0,\) must hold whole numbers above 0"
    ):
        quick(hidden_layer_sizes=(0,)).fit(X[:100])


def test_score_is_the_ratio_of_the_restored_rows(digits):
    """Oracle: the formula, in the units of the pixels, whose range is 16."""
    X, _ = digits
    model = quick(feature_range=(0, 16)).fit(X[:200])
    error = np.mean((model.inverse_transform(model.transform(X)) - X) ** 2)
    assert model.score(X) == pytest.approx(10 * np.log10(16**2 / error))


def test_denoising_order(digits):
    """Oracle: the report's order, real above binary weights, and the ratio of column means."""
    X, _ = digits
    X, X_test = X[:1400], X[1400:]
    base = BinaryAutoencoder(feature_range=(0, 16), max_iter=400, random_state=0)
    kinds = {"weights": "real"}, {"weight_optimizer": "bop"}, {"weight_optimizer": "ste"}
    real, *binary = (clone(base).set_params(**kind).fit(X).score(X_test) for kind in kinds)
    means = 10 * np.log10(16**2 / np.mean((X_test - X.mean(0)) ** 2))
    assert real - 1 > max(binary) > min(binary) > means + 3


def test_sparse_is_dense(rng):
    """Oracle: the same rows dense."""
    X = rng.poisson(0.5, (60, 5)).astype(float)
    model, other = quick().fit(X), quick().fit(sparse.csr_array(X))
    np.testing.assert_array_equal(model.transform(X), other.transform(sparse.csc_array(X)))
    assert model.score(X) == other.score(sparse.csr_array(X))


def test_bad_codes_are_refused(rng):
    model = quick().fit(rng.standard_normal((40, 3)))
    with pytest.raises(NotBinaryError, match="0 and 1"):
        model.inverse_transform(np.full((2, 8), 0.5))
    with pytest.raises(ValueError, match=r"X has 5 columns, but codes .* have 8 bits"):
        model.inverse_transform(np.zeros((2, 5)))


def test_weights_are_repetitions_and_order_is_nothing(rng):
    """Oracle: rows given as often as their weight says, in another order."""
    X, weights = rng.standard_normal((60, 3)), rng.integers(0, 3, 60)
    repeated = X.repeat(weights, axis=0)
    other = quick().fit(repeated[rng.permutation(len(repeated))])
    model = quick().fit(X, sample_weight=weights)
    for a, b in zip(model.scales_ + model.coefs_, other.scales_ + other.coefs_):
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize("weights", ["binary", "real"])
def test_fitted_models_hold_plain_data(rng, weights):
    """Oracle: no module of torch is named in the pickle."""
    X = rng.standard_normal((50, 3))
    model = quick(weights=weights).fit(X)
    dumped = pickle.dumps(model)
    assert b"torch." not in dumped
    np.testing.assert_array_equal(pickle.loads(dumped).transform(X), model.transform(X))
    assert not hasattr(clone(model), "coefs_")


def test_codes_go_before_an_opu(digits):
    """Oracle: ten classes guessed, 10 %; the codes carry the digits."""
    X, y = digits
    chain = make_pipeline(
        quick(n_bits=64, max_iter=100), OPURandomFeatures(256), OPUKernelRidgeClassifier(10.0)
    )
    assert chain.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.8
    assert list(chain[0].get_feature_names_out()[:1]) == ["binaryautoencoder0"]


def test_interruption_keeps_the_best_state(rng, monkeypatch):
    """Oracle: the iteration that was interrupted, and a model that transforms."""

    def batches(n, size, seed):
        yield from [np.arange(n)] * 10
        raise KeyboardInterrupt

    monkeypatch.setattr("skopu.training.epochs.minibatches", batches)
    X = rng.standard_normal((50, 3))
    with pytest.warns(InterruptedFitWarning, match="iteration 11 of 20"):
        model = quick().fit(X)
    assert model.transform(X).shape == (50, 8)
