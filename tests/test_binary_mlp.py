"""Networks of binary weights: training, recalibration, prediction from plain arrays."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skopu import BinaryMLPClassifier, ConvergenceDisplay
from skopu.discrete import training as binary_network
from skopu.discrete.training import BinaryNetwork
from skopu.exceptions import InterruptedFitWarning
from skopu.penalties import BinaryQuantizer

OPTIMIZERS = ("bop", "ste", "binaryconnect", "sigmoid", "gumbel", "real")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X.setflags(write=False)
    return X[:1200], y[:1200], X[1200:], y[1200:]


@pytest.fixture(scope="module")
def fitted(digits):
    """One short fit of each kind; do not change them."""
    X, y, *_ = digits
    kinds = [(name, norm) for name in OPTIMIZERS for norm in ("batch", "layer")]
    return {
        (name, norm): BinaryMLPClassifier(
            (32, 16), weight_optimizer=name, normalization=norm, max_iter=3, random_state=0
        ).fit(X, y)
        for name, norm in kinds
    }


def is_plain(value):
    """Whether no torch object is inside."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return not type(value).__module__.startswith("torch")


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("name", OPTIMIZERS)
class TestFitted:
    def test_weights_are_binary(self, fitted, name, norm):
        model = fitted[name, norm]
        assert [coef.shape for coef in model.coefs_] == [(64, 32), (32, 16), (16, 10)]
        assert all(coef.dtype == np.int8 and set(coef.flat) == {-1, 1} for coef in model.coefs_)

    def test_pickle_and_clone(self, fitted, digits, name, norm):
        model = fitted[name, norm]
        assert is_plain(vars(model))
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(
            again.predict_proba(digits[2]), model.predict_proba(digits[2])
        )
        assert not hasattr(clone(model), "coefs_")

    def test_prediction_is_that_of_the_torch_network(self, fitted, digits, name, norm):
        """Oracle: a torch network of torch's own layers, with the fitted arrays put in."""
        model, X = fitted[name, norm], digits[2]
        H = torch.from_numpy(model.scaler_.transform(X))
        for number, coef in enumerate(model.coefs_):
            if number:
                H = torch.where(H >= 0, 1.0, -1.0).double()
            H = torch.nn.functional.linear(H, torch.from_numpy(coef.T.astype(float)))
            if norm == "layer":
                H = torch.nn.functional.layer_norm(H, H.shape[1:])
            H = H * torch.from_numpy(model.scales_[number])
            H = H + torch.from_numpy(model.intercepts_[number])
        expected = torch.softmax(H, 1).numpy()
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-10)
        np.testing.assert_array_equal(model.predict(X), expected.argmax(1))


@pytest.mark.parametrize("kind", ["coefs_", "latent_coefs_"])
def test_statistics_are_those_of_the_weights_that_predict(fitted, digits, kind):
    """Oracle: over the training rows each normalised neuron has the mean and the deviation
    that the learned shift and scale give it, the same for binary and latent weights."""
    model = fitted["ste", "batch"]
    prefix = kind.removesuffix("coefs_")
    H = model.scaler_.transform(digits[0]) @ getattr(model, kind)[0]
    H = H * getattr(model, f"{prefix}scales_")[0] + getattr(model, f"{prefix}intercepts_")[0]
    other = model.scaler_.transform(digits[0]) @ model.coefs_[0]
    other = other * model.scales_[0] + model.intercepts_[0]
    np.testing.assert_allclose(H.mean(0), other.mean(0), atol=1e-6)
    np.testing.assert_allclose(H.std(0), other.std(0), rtol=1e-3)


@pytest.mark.parametrize("penalty", [None, "absolute"])
@pytest.mark.parametrize(
    ("name", "kind"), [("real", "binary"), ("real", "latent"), ("ste", "binary")]
)
def test_without_recalibration_running_statistics_are_kept(
    digits, monkeypatch, name, kind, penalty
):
    """Oracle: the trained torch network in evaluation mode; signs of real weights times the
    scale, which is mean |w| where none was learned."""
    X, y, X_test, _ = digits
    kept = []
    run = binary_network._BinaryTraining.run
    monkeypatch.setattr(
        binary_network._BinaryTraining, "run", lambda r: kept.append(r.network) or run(r)
    )
    settings = {"weight_optimizer": name, "recalibrate": False, "weights": kind}
    model = BinaryMLPClassifier(
        (16, 8), max_iter=2, penalty=penalty, random_state=0, **settings
    ).fit(X, y)
    (network,) = kept
    network.double()
    for number, part in enumerate(network.linear):
        w = part.weight.weight.data
        alpha = w.abs().mean() if penalty is None else model.alphas_[number]
        if name == "real":
            used = w.sign() * alpha if kind == "binary" else w
            part.weight.hard = lambda used=used: used
    with torch.no_grad():
        logits = network(torch.from_numpy(model.scaler_.transform(X_test)))
    expected = torch.softmax(logits, 1).numpy()
    np.testing.assert_allclose(model.predict_proba(X_test), expected, atol=1e-6)


def test_scales_of_neurons_are_kept_with_the_statistics_of_training():
    """Oracle: the network in eval mode, whose weights are signs times scales."""
    network = BinaryNetwork([5, 4, 3], generator(), normalization="batch", method="xnor")
    X = torch.randn(50, 5, generator=generator())
    with torch.no_grad():
        network(X)  # running statistics
        expected = network.eval().double()(X.double())
    rows = SimpleNamespace(rows=lambda chosen: (X, None, torch.ones(50)))
    H = X.double().numpy()
    for number, layer in enumerate(binary_network._layers(network, rows, "hard", False)):
        H = np.where(H >= 0, 1.0, -1.0) if number else H
        assert set(layer.coef.flat) == {-1, 1}
        H = H @ layer.coef * layer.scale + layer.intercept
    np.testing.assert_allclose(H, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "latent"])
def test_rectifiers_predict_as_the_network_does(digits, monkeypatch, kind):
    """Oracle: the trained network in eval mode; the statistics are those of training."""
    X, y, X_test, _ = digits
    kept, run = [], binary_network._BinaryTraining.run
    monkeypatch.setattr(
        binary_network._BinaryTraining, "run", lambda r: kept.append(r.network) or run(r)
    )
    settings = {"activation": "relu", "recalibrate": False, "weights": kind}
    model = BinaryMLPClassifier(
        (16, 8), weight_optimizer="ste", max_iter=2, random_state=0, **settings
    ).fit(X, y)
    network = kept[0].double()
    if kind == "latent":
        for part in network.linear:
            part.weight.hard = part.weight.soft
    with torch.no_grad():
        logits = network(torch.from_numpy(model.scaler_.transform(X_test)))
    expected = torch.softmax(logits, 1).numpy()
    np.testing.assert_allclose(model.predict_proba(X_test), expected, atol=1e-6)


def test_statistics_behind_rectifiers_are_theirs(digits):
    """Oracle: mean 0 and deviation 1 of each neuron before its learned scale and shift, over the
    training rows, which are fewer than are measured."""
    X, y, *_ = digits
    model = BinaryMLPClassifier(
        (16,), weight_optimizer="ste", activation="relu", learning_rate_init=1e-8, max_iter=1
    ).fit(X, y)
    H = model.scaler_.transform(X)
    for coef, scale, intercept in zip(model.coefs_, model.scales_, model.intercepts_):
        H = H @ coef * scale + intercept
        np.testing.assert_allclose(H.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(H.std(axis=0), 1, atol=1e-3)
        H = np.maximum(H, 0)


def test_recalibration_helps_latent_weights(digits):
    """Oracle: the running statistics, which belong to binary weights, larger by far."""
    X, y, X_test, y_test = digits
    model = BinaryMLPClassifier(
        (64,), weight_optimizer="ste", weights="latent", max_iter=10, random_state=0
    )
    model.set_params(learning_rate_init=1e-3)
    good = model.fit(X, y).score(X_test, y_test)
    stale = model.set_params(recalibrate=False).fit(X, y).score(X_test, y_test)
    assert stale < good - 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_optimizer": "bop"},
        {"weight_optimizer": "ste"},
        {"weight_optimizer": "xnor"},
        {"weight_optimizer": "binaryconnect", "activation": "relu", "learning_rate_init": 0.1},
    ],
)
def test_accuracy_on_digits(digits, settings):
    """Oracle: what full training reaches in ``benchmarks/reproductions/bop.py``, less 3 points."""
    X, y, X_test, y_test = digits
    model = BinaryMLPClassifier(**settings, max_iter=20, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.89  # the last third is harder than a random one


def test_weight_is_repetition(digits):
    """Oracle: rows given twice, in another order."""
    X, y, X_test, _ = digits
    X, y = X[:200], y[:200]
    weights = np.arange(200) % 3
    model = BinaryMLPClassifier((16,), max_iter=3, random_state=0)
    expected = clone(model).fit(X, y, sample_weight=weights).predict_proba(X_test)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(200), weights))
    repeated = clone(model).fit(X[order], y[order]).predict_proba(X_test)
    np.testing.assert_allclose(repeated, expected, atol=1e-6)


def test_sparse_rows(digits):
    """Oracle: the dense rows, unscaled."""
    X, y, X_test, _ = digits
    model = BinaryMLPClassifier((16,), max_iter=2, scaler=None, random_state=0)
    dense = clone(model).fit(X, y).predict_proba(X_test)
    sparsely = clone(model).fit(sparse.csr_array(X), y).predict_proba(sparse.csr_array(X_test))
    np.testing.assert_allclose(sparsely, dense, atol=1e-6)


def test_latent_weights_predict_on_demand(fitted, digits):
    """Oracle: the latent arrays, through the formula of the class."""
    model = clone(fitted["ste", "batch"]).set_params(**fitted["ste", "batch"].get_params())
    model.fit(digits[0], digits[1])
    binary = model.predict_proba(digits[2])
    latent = model.set_params(weights="latent").predict_proba(digits[2])
    assert np.abs(latent - binary).max() > 0.01
    H = model.scaler_.transform(digits[2])
    layers = zip(model.latent_coefs_, model.latent_scales_, model.latent_intercepts_)
    for number, (coef, scale, intercept) in enumerate(layers):
        H = (np.where(H >= 0, 1, -1) if number else H) @ coef * scale + intercept
    np.testing.assert_array_equal(model.predict(digits[2]), H.argmax(1))


def test_the_penalty_gathers_the_weights(digits):
    """Oracle: no penalty. Spread is the mean distance of |w| from the scale, in scales; the
    learned scale is then the median of |w|."""
    X, y, *_ = digits
    spreads = []
    for strength in (0.0, 0.1):
        model = BinaryMLPClassifier(
            (32,),
            weight_optimizer="real",
            penalty=BinaryQuantizer(strength=strength),
            max_iter=20,
            random_state=0,
        ).fit(X, y)
        size = np.abs(model.latent_coefs_[0])
        spreads.append(np.abs(size / np.median(size) - 1).mean())
    assert spreads[1] < 0.01 < 0.3 < spreads[0]
    assert model.alphas_[0] == pytest.approx(np.median(size), abs=1e-3)


def test_schedules():
    """Oracle: the rates that optimizers of a one-epoch run were given."""
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = (X[:, 0] > 0).astype(int)
    seen = {"constant": [], "cosine": []}

    class Spy(binary_network._BinaryTraining):
        def count(self, loss, n_passes):
            super().count(loss, n_passes)
            seen[name].append([group["lr"] for group in self.optimizer.param_groups])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary_network, "_BinaryTraining", Spy)
        for name in ("constant", "cosine"):
            BinaryMLPClassifier((4,), learning_rate=name, max_iter=10, random_state=0).fit(X, y)
    assert seen["constant"] == [[0.01, 1.0, 1.0]] * 10
    factors = np.array(seen["cosine"]) / [0.01, 1.0, 1.0]
    expected = 0.5 * (1 + np.cos(np.pi * np.arange(10) / 10))
    np.testing.assert_allclose(factors, np.column_stack([expected] * 3))


def test_early_stopping_keeps_the_best_state(digits):
    """Oracle: the record itself."""
    X, y, *_ = digits
    model = BinaryMLPClassifier(
        (8,), early_stopping=True, n_iter_no_change=3, max_iter=100, random_state=0
    ).fit(X, y)
    held_out = model.history_["validation_loss"]
    assert model.n_iter_ < 100
    assert np.argmin(held_out) == len(held_out) - 4
    assert len(model.loss_curve_) == model.n_iter_


def test_interruption_keeps_a_working_model(digits, monkeypatch):
    X, y, X_test, y_test = digits
    penalty, calls = BinaryNetwork.penalty, []

    def interrupting(self, epoch, n_epochs):
        calls.append(epoch)
        if len(calls) == 150:
            raise KeyboardInterrupt
        return penalty(self, epoch, n_epochs)

    monkeypatch.setattr(BinaryNetwork, "penalty", interrupting)
    model = BinaryMLPClassifier((32,), max_iter=10, random_state=0)
    with pytest.warns(InterruptedFitWarning, match="iteration 150 of 180"):
        model.fit(X, y)
    assert model.score(X_test, y_test) > 0.6
    assert model.n_iter_ == 9


def test_penalties_are_searched(digits):
    X, y, *_ = digits
    model = BinaryMLPClassifier((8,), weight_optimizer="real", penalty="absolute", max_iter=2)
    grid = {"penalty__strength": [1e-4, 1e-2], "penalty__p": [1.0, 2.0]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X[:300], y[:300])
    assert len(search.cv_results_["params"]) == 4
    assert model.penalty == "absolute"


def test_history_is_drawn(fitted):
    pytest.importorskip("matplotlib").use("Agg")
    display = ConvergenceDisplay.from_estimator(fitted["bop", "batch"])
    assert display.ax_.get_xlabel() == "minibatches"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "latent"}, "weights='latent' needs latent weights"),
        ({"penalty": "absolute"}, "penalty='absolute' acts on latent weights"),
        (
            {"weight_optimizer": "sigmoid", "adaptive_noise": True},
            "adaptive_noise=True moves weights that are binary",
        ),
        ({"weight_optimizer": "ste", "penalty": "abs"}, "penalty='abs' is not known"),
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes=\(8, 0\) must hold whole numbers"),
        ({"hidden_layer_sizes": (8, 2.5)}, "must hold whole numbers above 0"),
        ({"weight_optimizer": "xnor", "normalization": "layer"}, "use normalization='batch'"),
        ({"batch_size": 1}, "normalization='batch' needs minibatches of at least 2 rows"),
    ],
)
def test_refusals(digits, settings, message):
    with pytest.raises(ValueError, match=message):
        BinaryMLPClassifier(**settings).fit(digits[0][:50], digits[1][:50])


def test_no_hidden_layer_and_an_integer(digits):
    X, y, *_ = digits
    assert len(BinaryMLPClassifier((), max_iter=1).fit(X, y).coefs_) == 1
    assert BinaryMLPClassifier(8, max_iter=1).fit(X, y).n_layers_ == 3
