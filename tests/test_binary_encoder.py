"""Encoders of binary weights: their parts, and the binarizer that trains them."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skopu import (
    EndToEndOPUClassifier,
    HyperplaneBinarizer,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu.exceptions import IncompatiblePartsError
from skopu.losses import SquaredError
from skopu.optim import Bop
from skopu.penalties import BinaryQuantizer
from skopu.training.binary_exact import BinaryExactModel
from skopu.training.encoders import BinaryEncoder, LinearEncoder
from skopu.training.exact import ExactModels

METHODS = ("bop", "ste")


@pytest.fixture
def X(rng):
    return torch.from_numpy(rng.standard_normal((300, 7)) * np.arange(1, 8)).float()


def make(method, n_features=7, n_bits=5):
    return BinaryEncoder(n_features, n_bits, torch.Generator().manual_seed(0), method)


@pytest.mark.parametrize("method", METHODS)
class TestEncoder:
    def test_logits(self, X, method):
        """Oracle: s (B x) + b from the parts."""
        encoder = make(method)
        encoder.start(X, seed=0)
        expected = encoder.log_scale.exp() * (X @ encoder.signs.hard().T) + encoder.bias
        torch.testing.assert_close(encoder(X), expected)
        torch.testing.assert_close(X @ encoder.weight.T + encoder.bias, expected)

    def test_start(self, X, method):
        """Oracle: logits of standard deviation 2, a share of 10 to 90 % above zero."""
        encoder = make(method, n_bits=40)
        encoder.start(X, seed=0)
        logits = encoder(X).detach()
        np.testing.assert_allclose(logits.std(0, correction=0), 2, rtol=1e-4)
        shares = (logits > 0).double().mean(0)
        assert shares.min() > 0.09
        assert shares.max() < 0.91
        assert shares.std() > 0.15

    def test_start_on_constant_columns(self, method):
        encoder = make(method)
        encoder.start(torch.zeros(20, 7), seed=0)
        assert torch.equal(encoder.log_scale, torch.zeros(5))
        assert torch.isfinite(encoder(torch.zeros(2, 7))).all()

    def test_gradient_of_the_signs(self, X, method):
        """Oracle: s_j x_i, whatever the sign."""
        encoder = make(method)
        encoder.start(X, seed=0)
        encoder(X[:1]).sum().backward()
        expected = encoder.log_scale.detach().exp()[:, None] * X[:1]
        torch.testing.assert_close(encoder.signs.weight.grad, expected)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, random_state=0)


def binarizer(**settings):
    defaults = {"n_bits": 24, "n_components": 128, "encoder_penalty": 1e-3, "random_state": 0}
    return SupervisedBinarizer(**{**defaults, "weights": "binary", **settings})


@pytest.fixture(scope="module")
def fitted(digits):
    """One fit of each; do not change them."""
    X, _, y, _ = digits
    return {m: binarizer(weight_optimizer=m, max_iter=300).fit(X, y) for m in METHODS}


@pytest.mark.parametrize("method", METHODS)
class TestBinarizer:
    def test_codes_take_additions_only(self, fitted, digits, method):
        """Oracle: sums of inputs with and without a sign, compared with one number a bit."""
        model = fitted[method]
        scales = np.abs(model.coef_[:, 0])
        np.testing.assert_array_equal(np.abs(model.coef_), np.repeat(scales[:, None], 64, axis=1))
        assert (scales > 0).all()
        X = model.scaler_.transform(digits[1])
        plus = np.array([X[:, row > 0].sum(1) for row in model.coef_]).T
        minus = np.array([X[:, row < 0].sum(1) for row in model.coef_]).T
        expected = plus - minus > -model.intercept_ / scales
        assert (expected != model.transform(digits[1])).mean() < 1e-4  # ties in rounding

    def test_it_beats_random_codes(self, fitted, digits, method):
        """Oracle: as many random hyperplanes before the same readout."""
        X, X_test, y, y_test = digits
        readout = make_pipeline(OPURandomFeatures(256), OPUKernelRidgeClassifier(alpha="loo"))
        scores = []
        for codes in (fitted[method], HyperplaneBinarizer(24, random_state=0).fit(X)):
            readout.fit(codes.transform(X), y)
            scores.append(readout.score(codes.transform(X_test), y_test))
        assert scores[0] > scores[1] + 0.02

    def test_training_changes_the_signs(self, fitted, digits, method):
        """Oracle: the same fit stopped at once."""
        X, _, y, _ = digits
        start = binarizer(weight_optimizer=method, max_iter=1, bop_gamma=1e-6).fit(X, y)
        flipped = (np.sign(start.coef_) != np.sign(fitted[method].coef_)).mean()
        assert 0.02 < flipped < 0.6

    def test_pickle_and_seed(self, fitted, digits, method):
        X, X_test, y, _ = digits
        model = pickle.loads(pickle.dumps(fitted[method]))
        np.testing.assert_array_equal(model.transform(X_test), fitted[method].transform(X_test))
        one, two = (binarizer(weight_optimizer=method, max_iter=10).fit(X, y) for _ in range(2))
        np.testing.assert_array_equal(one.coef_, two.coef_)

    @pytest.mark.parametrize("gradient", ["loo", "reinforce", "disarm", "exact"])
    def test_every_gradient(self, digits, method, gradient):
        X, _, y, _ = digits
        model = binarizer(weight_optimizer=method, gradient=gradient, max_iter=5).fit(X, y)
        scales = np.abs(model.coef_)
        np.testing.assert_array_equal(scales, np.repeat(scales[:, :1], 64, axis=1))
        assert (model.n_passes_ == 0) == (gradient == "exact")


def test_bop_and_adam_share_the_model(digits, monkeypatch):
    """Oracle: one tensor of signs for Bop, at the gamma asked for; the readout not."""
    seen = []
    monkeypatch.setattr(Bop, "step", lambda self: seen.append(self.param_groups))
    binarizer(bop_gamma=0.02, max_iter=2).fit(digits[0], digits[2])
    (group,) = seen[0]
    assert group["gamma"] == 0.02
    assert [tuple(p.shape) for p in group["params"]] == [(24, 64)]


def test_end_to_end(digits):
    """Oracle: majority guessing reaches 0.1."""
    X, X_test, y, y_test = digits
    model = EndToEndOPUClassifier(binarizer(max_iter=100), random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.8
    assert len(np.unique(np.abs(model.binarizer_.coef_[0]))) == 1


@pytest.mark.parametrize("method", METHODS)
def test_exact_model_has_the_loss_of_real_weights(X, method):
    """Oracle: the exact model of a real encoder with the same weights, its loss and penalty."""
    binary, real = make(method), LinearEncoder(7, 5)
    loss, settings = SquaredError(), (0.3, 0.01, 0.02)
    source = torch.Generator().manual_seed(1)
    targets, weights = torch.randn(300, 2, generator=source), torch.rand(300, generator=source)
    model = BinaryExactModel(binary, loss, *settings)
    model.start(X, 2, seed=0)
    real.weight.data, real.bias.data = binary.weight.detach(), binary.bias.detach()
    other = ExactModels([real], 2, loss, *([value] for value in settings))
    model.models.readout.data.normal_(generator=source)
    other.readout.data.copy_(model.models.readout.data)
    expected = other.losses(X[None], targets, weights)
    loss, surrogate = model.step(X, targets, weights)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    surrogate.backward()
    other.differentiate(X[None], targets[None], weights[None])[1].backward()
    torch.testing.assert_close(model.models.readout.grad, other.readout.grad)
    torch.testing.assert_close(binary.bias.grad, other.encoder.grad[0, -5:])
    weight, bias = model.encoder_weights()
    assert torch.equal(weight, binary.weight)
    assert torch.equal(bias, binary.bias)


@pytest.mark.parametrize("gradient", ["loo", "exact"])
def test_quantizer_draws_latent_weights_to_two_values(digits, gradient):
    """Oracle: the spread of latent weights about their scale, with and without the penalty."""
    spreads = []
    for strength in (0.0, 1e-2):
        encoder = BinaryEncoder(
            7, 5, torch.Generator().manual_seed(0), "ste", BinaryQuantizer(strength=strength)
        )
        optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)
        for step in range(200):
            loss = encoder.quantizer_penalty(step / 199) + 0 * encoder.weight.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        spreads.append(encoder.signs.weight.abs().std().item())
    assert spreads[1] < 0.2 * spreads[0]
    model = binarizer(weight_optimizer="ste", penalty="absolute", gradient=gradient, max_iter=5)
    scales = np.abs(model.fit(digits[0], digits[2]).coef_)
    np.testing.assert_array_equal(scales, np.repeat(scales[:, :1], 64, axis=1))


def test_bop_has_no_latent_weights_to_penalise(digits):
    with pytest.raises(IncompatiblePartsError, match=r"penalty='absolute'.*weight_optimizer='ste'"):
        binarizer(penalty="absolute").fit(digits[0], digits[2])
    model = binarizer(weight_optimizer="ste").set_params(penalty__strength=0.5)
    assert model.penalty.strength == 0.5
