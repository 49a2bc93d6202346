"""Direct feedback alignment: updates, encodings, devices, going on, and the encoder."""

import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

from skopu import DFABinarizer, DFAClassifier, DFARegressor
from skopu.dfa.feedback import (
    DeviceFeedback,
    MatrixFeedback,
    encode_errors,
    feedback_surrogate,
)
from skopu.dfa.network import FeedbackNetwork, affine
from skopu.exceptions import IncompatiblePartsError, InterruptedFitWarning

rng = np.random.default_rng(0)


class Fields(BaseEstimator):
    """A projector with a known Gaussian matrix, which keeps the codes it was shown.

    ``fails_at``: the call that raises, counted from 1.
    """

    def __init__(self, seed=0, fails_at=None):
        self.seed, self.fails_at = seed, fails_at

    def matrix(self, n_bits, n_components):
        parts = np.random.default_rng(self.seed).standard_normal((2, n_components, n_bits))
        return (parts[0] + 1j * parts[1]) / np.sqrt(2)

    def project(self, codes, n_components):
        assert codes.dtype == np.uint8
        self.shown = [*getattr(self, "shown", []), codes]
        if len(self.shown) == self.fails_at:
            raise OSError("no light")
        return codes @ self.matrix(codes.shape[1], n_components).T


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


def small(**params):
    settings = {"max_iter": 4, "batch_size": 50, "learning_rate_init": 0.01, "random_state": 0}
    return DFAClassifier((16, 12), **{**settings, **params})


def random_network(sizes, activation="tanh"):
    """Weights, biases and the network of them, in double precision."""
    coefs = [rng.standard_normal(pair) / 2 for pair in pairwise(sizes)]
    intercepts = [rng.standard_normal(size) for size in sizes[1:]]
    layers = [affine(*pair) for pair in zip(coefs, intercepts)]
    return coefs, intercepts, FeedbackNetwork(layers, activation).double()


def gradients(network, surrogate):
    """Gradient in the weights (n_out, n_in) of each layer."""
    weights = [layer.weight for layer in network.linear]
    return [g.numpy() for g in torch.autograd.grad(surrogate, weights, retain_graph=True)]


def dfa_gradients(network, X, Y, feedbacks):
    hidden, outputs = network.activations(torch.tensor(X), local=True)
    errors = (torch.softmax(outputs, -1) - torch.tensor(Y)).detach()
    projected = [errors @ torch.tensor(B).T for B in feedbacks]
    return gradients(network, feedback_surrogate(hidden, outputs, errors, projected))


def test_update_equals_the_formula_of_the_paper():
    """Oracle: equation 3, with W' for W in equation 2, worked out in numpy for two layers."""
    coefs, intercepts, network = random_network([3, 4, 5, 2])
    coefs = [np.float32(c).astype(float) for c in coefs]
    intercepts = [np.float32(b).astype(float) for b in intercepts]
    X, Y = rng.standard_normal((6, 3)), np.eye(2)[rng.integers(2, size=6)]
    feedbacks = [rng.standard_normal((4, 2)), rng.standard_normal((5, 2))]
    h1 = np.tanh(X @ coefs[0] + intercepts[0])
    h2 = np.tanh(h1 @ coefs[1] + intercepts[1])
    logits = np.exp(h2 @ coefs[2] + intercepts[2])
    e = logits / logits.sum(axis=1, keepdims=True) - Y
    expected = [
        ((e @ feedbacks[0].T) * (1 - h1**2)).T @ X,
        ((e @ feedbacks[1].T) * (1 - h2**2)).T @ h1,
        e.T @ h2,
    ]
    for found, formula in zip(dfa_gradients(network, X, Y, feedbacks), expected):
        np.testing.assert_allclose(found, formula, rtol=1e-10, atol=1e-12)


def test_hand_computed_update():
    """One input x = 2, one neuron with w = 1/2, b = 0, relu: a = 1; e = 3, B = -1, so dW = -6."""
    network = FeedbackNetwork(
        [affine(np.array([[0.5]]), np.zeros(1)), affine(np.array([[7.0]]), np.zeros(1))], "relu"
    )
    hidden, outputs = network.activations(torch.tensor([[2.0]]), local=True)
    surrogate = feedback_surrogate(hidden, outputs, torch.tensor([[3.0]]), [torch.tensor([[-3.0]])])
    hidden_gradient, output_gradient = gradients(network, surrogate)
    assert hidden_gradient.item() == -6
    assert output_gradient.item() == 3


@pytest.mark.parametrize("activation", ["tanh", "relu", "logistic", "identity"])
def test_transposed_weights_give_backpropagation(activation):
    """Oracle: autograd of the cross-entropy, for one hidden layer and B = W_2'."""
    _, _, network = random_network([5, 8, 3], activation)
    X, Y = rng.standard_normal((10, 5)), np.eye(3)[rng.integers(3, size=10)]
    loss = torch.nn.functional.cross_entropy(network(torch.tensor(X)), torch.tensor(Y))
    feedback = network.linear[1].weight.detach().numpy().T
    for found, exact in zip(
        dfa_gradients(network, X, Y, [feedback]), gradients(network, loss * len(X))
    ):
        np.testing.assert_allclose(found, exact, atol=1e-6)


def test_encodings():
    """Oracle: equation 4, whose thresholds themselves are taken for 0."""
    errors = torch.tensor([[0.3, -0.05, 0.1, -0.9, 0.0]], dtype=torch.float64)
    assert encode_errors(errors, "ternary", 0.1).tolist() == [[1, 0, 0, -1, 0]]
    assert encode_errors(errors, "sign", 0.1).tolist() == [[1, -1, 1, -1, 0]]
    assert encode_errors(errors, None, 0.1) is errors


def test_device_projects_ternary_errors_as_two_frames():
    """Oracle: the device's matrix times the errors; dark codes are not shown."""
    errors = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    projector = Fields()
    feedback = DeviceFeedback(projector, [4, 2])
    first, second = feedback.project(errors)
    R = np.sqrt(2) * projector.matrix(3, 6).real
    np.testing.assert_allclose(first, errors.numpy() @ R[:4].T / 2, atol=1e-6)
    np.testing.assert_allclose(second, errors.numpy() @ R[4:].T / np.sqrt(2), atol=1e-6)
    assert feedback.n_passes == 3  # two of the first row, none, one
    assert all(code.any() for code in projector.shown[0])


def test_zero_errors_skip_the_optics():
    projector = Fields(fails_at=1)
    feedback = DeviceFeedback(projector, [4])
    (projected,) = feedback.project(torch.zeros(5, 3))
    assert not projected.any()
    assert feedback.n_passes == 0


def test_layers_have_matrices_of_their_own():
    B1, B2 = rng.standard_normal((4, 3)), rng.standard_normal((6, 3))
    errors = torch.tensor(rng.standard_normal((5, 3)), dtype=torch.float32)
    first, second = MatrixFeedback([B1, B2]).project(errors)
    np.testing.assert_allclose(first, errors.numpy() @ B1.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, errors.numpy() @ B2.T, rtol=1e-4, atol=1e-5)
    feedbacks = small().fit(np.eye(8), np.arange(8) % 2).feedbacks_
    assert [B.shape for B in feedbacks] == [(16, 2), (12, 2)]


def test_optics_train_as_their_matrix_does(digits, monkeypatch):
    """Oracle: the same fit with the projector's matrix given as numbers."""
    optical = small(projector=Fields(), error_encoding="ternary").fit(*digits)
    R = np.sqrt(2) * Fields().matrix(10, 28).real
    matrices = [R[:16] / 4, R[16:] / np.sqrt(12)]
    monkeypatch.setattr("skopu.dfa.base.draw_feedbacks", lambda *args: matrices)
    digital = small(error_encoding="ternary").fit(*digits)
    assert optical.feedbacks_ is None
    np.testing.assert_allclose(
        optical.predict_proba(digits[0]), digital.predict_proba(digits[0]), atol=1e-3
    )
    for light, numbers in zip(optical.coefs_, digital.coefs_):
        np.testing.assert_allclose(light, numbers, atol=1e-3)


def test_frames_are_counted(digits):
    """Oracle: the codes that the projector kept, and its own counter where it has one."""
    X, y = digits
    model = small(projector=Fields(), error_encoding="ternary").fit(X, y)
    assert model.n_passes_ == sum(map(len, model.projector_.shown))
    assert model.n_passes_ <= 2 * 4 * len(X)
    assert model.history_["n_passes"][-1] == model.n_passes_
    signs = small(projector=Fields(), error_encoding="sign").fit(X, y)
    assert signs.n_passes_ == 2 * 4 * len(X)  # every row, both parts, each epoch
    assert small().fit(X, y).n_passes_ == 0


def test_projector_needs_encoded_errors(digits):
    with pytest.raises(IncompatiblePartsError, match=r"projector=.*error_encoding='ternary'"):
        small(projector=Fields()).fit(*digits)
    with pytest.raises(IncompatiblePartsError, match="error_encoding"):
        DFABinarizer(4, projector=Fields()).fit(*digits)


def test_alignment():
    """Oracles: 1 for backpropagation; above 0 in the end for feedback that trains."""
    X, y = load_digits(return_X_y=True)
    X = scale(X)
    exact = small(algorithm="backprop", compute_alignment=True).fit(X, y)
    np.testing.assert_allclose(exact.alignment_, 1, atol=1e-5)
    dfa = small(max_iter=15, compute_alignment=True).fit(X, y)
    assert dfa.alignment_.shape == (15, 2)
    assert (np.abs(dfa.alignment_[0]) < dfa.alignment_[-1] + 0.5).all()
    assert (dfa.alignment_[-1] > 0.2).all()
    assert small().fit(X, y).alignment_ is None
    dark = small(error_encoding="ternary", threshold=1.0, compute_alignment=True).fit(X, y)
    assert np.isnan(dark.alignment_).all()


def test_frozen_layers_stay(digits):
    model = small(algorithm="frozen", warm_start=True, max_iter=1).fit(*digits)
    before = [coef.copy() for coef in model.coefs_]
    model.fit(*digits)
    np.testing.assert_array_equal(model.coefs_[0], before[0])
    np.testing.assert_array_equal(model.coefs_[1], before[1])
    assert (model.coefs_[2] != before[2]).any()
    assert model.feedbacks_ is None


def test_backprop_is_as_good_as_the_peer(digits):
    """Oracle: scikit-learn's MLPClassifier of the same sizes and budget, to 5 points."""
    X, y = digits
    ours = small(algorithm="backprop", max_iter=40).fit(X[:300], y[:300])
    peer = MLPClassifier(
        (16, 12), "tanh", batch_size=50, learning_rate_init=0.01, max_iter=40, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(X[:300], y[:300])
    assert ours.score(X[300:], y[300:]) > peer.score(X[300:], y[300:]) - 0.05


@pytest.mark.parametrize(("encoding", "least"), [(None, 0.96), ("ternary", 0.95), ("sign", 0.93)])
def test_defaults_suit_digits(encoding, least):
    """Oracle: MLPClassifier of the same size and epochs, which has 0.97 to 0.98 right.

    Its inputs are no more centred than these; ternary errors once got 0.24 to 0.39.
    """
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)
    model = DFAClassifier((128, 128), max_iter=40, error_encoding=encoding, random_state=0)
    assert model.fit(X, y).score(X_test, y_test) > least


def test_auto_settings():
    """Oracle: the sentences of the docstring."""

    def settled(n_rows, width, is_partial=False, **params):
        return DFAClassifier(**params)._settled(n_rows, width, is_partial)

    assert [settled(n, 10).batch_size for n in (100, 2000, 10**5)] == [32, 100, 200]
    assert [settled(100, width).learning_rate_init for width in (10, 100, 1000)] == [
        0.01,
        0.01,
        1e-3,
    ]
    assert [settled(n, 10).max_iter for n in (20, 640, 10**5)] == [10000, 500, 100]
    assert [settled(n, 10).early_stopping for n in (99, 100)] == [False, True]
    asked = settled(1000, 10, max_iter=7, batch_size=3, learning_rate_init=0.5)
    assert (asked.max_iter, asked.batch_size, asked.learning_rate_init) == (7, 3, 0.5)
    assert asked.early_stopping is False
    part = settled(1000, 10, is_partial=True, early_stopping=True)
    assert (part.max_iter, part.learning_rate, part.early_stopping) == (1, "constant", False)


def test_a_budget_without_a_number_stops_on_rows_held_out():
    """Oracle: the targets are noise, so that every epoch after the first few makes it worse."""
    X, y = rng.standard_normal((120, 5)), rng.standard_normal(120)
    model = DFARegressor((50,), random_state=0).fit(X, y)
    n_batches = 108 // 32
    assert model.n_iter_ < 0.5 * 10000 / n_batches
    assert np.isfinite(model.history_["validation_loss"]).all()
    assert np.mean((model.predict(X) - y) ** 2) > 0.3  # not learned by heart


def test_scaling_is_kept_while_going_on(digits):
    """Oracle: rows of other units go on from the units of the first."""
    X, y = digits
    model = small(warm_start=True).fit(X, y)
    mean = model.scaler_.mean_.copy()
    model.fit(X + 1, y)
    np.testing.assert_array_equal(model.scaler_.mean_, mean)
    assert small(scaler=None).fit(X, y).scaler_ is None


@pytest.mark.parametrize("encoding", [None, "ternary", "sign"])
def test_learns_with_each_encoding(digits, encoding):
    X, y = scale(digits[0]), digits[1]
    model = small(max_iter=40, error_encoding=encoding).set_params(hidden_layer_sizes=(64, 64))
    model.fit(X, y)
    assert model.score(X, y) > 0.95
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2


def test_probabilities_agree_with_labels_and_torch(digits):
    """Oracle: the network's own forward pass in torch."""
    X, y = digits
    model = small().fit(X, np.array(list("abcdefghij"))[y])
    network = FeedbackNetwork(
        [affine(*layer) for layer in zip(model.coefs_, model.intercepts_)], "tanh"
    )
    with torch.no_grad():
        logits = network(torch.tensor(model.scaler_.transform(X), dtype=torch.float32))
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities, torch.softmax(logits, -1), atol=1e-5)
    assert (model.predict(X) == model.classes_[probabilities.argmax(axis=1)]).all()


def test_the_loss_of_regression_is_half_the_squared_error():
    """Oracle: the squared error of the start, worked out from predictions in units of y."""
    X, y = load_diabetes(return_X_y=True)
    model = DFARegressor(
        (5,), max_iter=1, batch_size=442, learning_rate_init=1e-12, refit=False, random_state=0
    )
    errors = (model.fit(X, y).predict(X) - y) / y.std()
    assert model.loss_ == pytest.approx(np.mean(errors**2) / 2, rel=1e-5)


def test_errors_of_regression_are_the_differences():
    """Oracle: f - y in units of the targets' deviation, of the model as it starts.

    Where it exceeds the threshold, which tells it from twice itself, a frame is shown.
    """
    X, y = load_diabetes(return_X_y=True)
    settings = {"max_iter": 1, "batch_size": 442, "learning_rate_init": 1e-12, "refit": False}
    model = DFARegressor((5,), **settings, random_state=0, projector=Fields())
    model.set_params(error_encoding="ternary", threshold=0.7).fit(X, y)
    errors = (model.predict(X) - y) / y.std()
    assert model.n_passes_ == (np.abs(errors) > 0.7).sum()


def test_the_output_layer_of_regression_is_a_ridge_on_the_hidden_one():
    """Oracle: scikit-learn's Ridge at the same alpha on tanh(Wx + b); without refit it is not."""
    X, y = load_diabetes(return_X_y=True)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    model = DFARegressor((7,), max_iter=3, random_state=0).fit(X, y, weights)
    H = np.tanh(model.scaler_.transform(X) @ model.coefs_[0] + model.intercepts_[0])
    ridge = Ridge(model.alpha_).fit(H, y, weights)
    np.testing.assert_allclose(model.predict(X), ridge.predict(H), rtol=1e-6)
    plain = clone(model).set_params(refit=False).fit(X, y, weights)
    np.testing.assert_array_equal(plain.coefs_[0], model.coefs_[0])
    assert plain.alpha_ is None
    assert np.abs(plain.predict(X) / model.predict(X) - 1).max() > 0.01
    assert model.partial_fit(X, y).alpha_ is None


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_regression_does_not_depend_on_the_unit(factor):
    """Oracle: the fit in the first unit, times the factor; the threshold follows the unit."""
    X, y = load_diabetes(return_X_y=True)
    X = scale(X)
    model = DFARegressor((16,), error_encoding="ternary", max_iter=20, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    found = clone(model).fit(X, factor * y - 5).predict(X)
    np.testing.assert_allclose((found + 5) / factor, expected, rtol=1e-4)
    assert clone(model).fit(X, np.c_[y, -y]).predict(X).shape == (442, 2)


def test_large_threshold_silences_the_feedback():
    """No standardised error reaches 100 deviations, so the hidden layer stays."""
    X, y = load_diabetes(return_X_y=True)
    model = DFARegressor(
        8, error_encoding="ternary", threshold=100.0, alpha=0.0, max_iter=2, random_state=0
    )
    still = model.fit(scale(X), y).coefs_[0]
    frozen = clone(model).set_params(algorithm="frozen").fit(scale(X), y).coefs_[0]
    np.testing.assert_allclose(still, frozen, atol=1e-7)


def test_warm_start_goes_on_with_the_same_feedback(digits):
    model = small(warm_start=True).fit(*digits)
    feedback, loss = model.feedbacks_[0].copy(), model.loss_
    model.fit(*digits)
    np.testing.assert_array_equal(model.feedbacks_[0], feedback)
    assert model.loss_ < loss
    assert model.n_iter_ == len(model.loss_curve_) == 8
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        model.set_params(hidden_layer_sizes=(3,)).fit(*digits)
    with pytest.raises(ValueError, match="warm_start=True needs the classes"):
        model.fit(digits[0], digits[1] % 3)


def test_partial_fit_equals_a_fit_at_a_constant_rate():
    """Oracle: one epoch of a fit in one minibatch, then Adam going on as in two epochs."""
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    params = {"batch_size": len(X), "learning_rate": "constant", "max_iter": 3}
    whole = small(**params).fit(X, y)
    parts = small(**params)
    for _ in range(3):
        parts.partial_fit(X, y, classes=[0, 1])
    for found, expected in zip(parts.coefs_, whole.coefs_):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match="classes=None in the first call"):
        small().partial_fit(X, y)
    with pytest.raises(ValueError, match="not among the classes"):
        parts.partial_fit(X, y + 1)


def test_interruption_keeps_the_state(digits, monkeypatch):
    """Oracle: the network still predicts, and ``warm_start`` goes on from there."""
    calls = []

    def project(self, errors):
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return original(self, errors)

    original = MatrixFeedback.project
    monkeypatch.setattr(MatrixFeedback, "project", project)
    model = small(warm_start=True, max_iter=10)
    with pytest.warns(InterruptedFitWarning):
        model.fit(*digits)
    assert model.n_iter_ == 3
    loss = model.loss_
    assert loss < model.loss_curve_[0]
    assert model.fit(*digits).loss_ < loss


def test_device_fault_keeps_the_state(digits):
    projector = Fields(fails_at=12)
    model = small(projector=projector, error_encoding="ternary", warm_start=True)
    with pytest.raises(OSError, match="no light"):
        model.fit(*digits)
    assert model.n_iter_ == 2
    loss = model.loss_
    assert model.fit(*digits).loss_ < loss
    assert model.n_passes_ == sum(map(len, model.projector_.shown)) - len(
        model.projector_.shown[11]
    )


def test_pickles_without_torch(digits):
    for model in (small(projector=Fields(), error_encoding="sign"), small(early_stopping=True)):
        model.fit(*digits)
        blob = pickle.dumps(model)
        assert b"torch" not in blob.replace(b"torch_device", b"")
        again = pickle.loads(blob)
        np.testing.assert_array_equal(again.predict(digits[0]), model.predict(digits[0]))
        again.partial_fit(*digits)


def test_sizes_are_checked(digits):
    for sizes in ((0, 3), (2.5,), ()):
        with pytest.raises(ValueError, match="hidden_layer_sizes"):
            DFAClassifier(sizes).fit(*digits)


def test_binarizer_learns_more_than_its_start():
    """Oracle: a linear readout of the codes, trained and at the start."""
    X, y = load_digits(return_X_y=True)
    scores = []
    for rate in (1e-9, 0.01):
        model = DFABinarizer(
            24, n_components=256, max_iter=12, learning_rate_init=rate, random_state=0
        )
        codes = model.fit(X[:1200], y[:1200]).transform(X)
        readout = LogisticRegression(max_iter=300).fit(codes[:1200], y[:1200])
        scores.append(readout.score(codes[1200:], y[1200:]))
    assert scores[1] > scores[0] + 0.02


def test_binarizer_with_a_projector(digits):
    model = DFABinarizer(
        8, n_components=32, max_iter=2, projector=Fields(), error_encoding="ternary", random_state=0
    )
    codes = model.fit_transform(*digits)
    assert set(np.unique(codes)) <= {0, 1}
    assert model.n_frames_ == sum(map(len, model.projector_.shown)) > 0
    assert model.n_passes_ == 2 * 384  # minibatches of 128 of the 400 rows
    assert model.feedback_ is None
    pickle.loads(pickle.dumps(model))
