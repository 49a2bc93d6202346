"""The joint model, the exact models, and the choice of a penalty."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import BlackBox, all_codes, code_probabilities
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skopu import EndToEndOPURegressor, SupervisedBinarizer
from skopu._core.scaling import NormalQuantiles
from skopu.devices import SimulatedOPU
from skopu.exceptions import IncompatiblePartsError
from skopu.forms.moments import PackedForm
from skopu.forms.quadratic import QuadraticForm
from skopu.gradients import LeaveOneOut, Quadratic, resolve_gradient
from skopu.losses import CrossEntropy, SquaredError
from skopu.objectives import Objective
from skopu.training.choice import PENALTIES, _Candidates
from skopu.training.encoder_training import _resolve_max_iter
from skopu.training.encoders import LinearEncoder
from skopu.training.exact import ExactModels
from skopu.training.joint import JointModel
from skopu.training.readout import ReadoutLayer

TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def joint_model(device, n_outputs, learn_gamma=None, kappa=1.0, n_bits=6, gradient=None):
    model = JointModel(
        LinearEncoder(5, n_bits),
        device,
        gradient or LeaveOneOut(8),
        Objective(SquaredError(), kappa),
        n_components=40,
        encoder_penalty=0.01,
        readout_penalty=0.01,
        learn_gamma=learn_gamma,
        generator=torch.Generator().manual_seed(0),
    )
    rng = torch.Generator().manual_seed(1)
    X = torch.randn(100, 5, generator=rng)
    model.start(X, n_outputs, 0)
    with torch.no_grad():
        model.readout.weight.normal_(generator=rng)
    targets = torch.randn(100, n_outputs, generator=rng)
    return model, X, targets, torch.ones(100)


def told_rows(factor):
    """Five rows, scaled by a factor, as ``TrainingRows`` gives them."""
    rng = np.random.default_rng(1)
    X = torch.tensor(factor * rng.normal(size=(5, 3)), dtype=torch.float32)
    targets = torch.tensor(np.eye(2)[[0, 1, 1, 0, 1]], dtype=torch.float32)
    weights = torch.tensor([1.0, 2.0, 3.0, 1.0, 4.0])
    return SimpleNamespace(rows=lambda chosen: (X[chosen], targets[chosen], weights[chosen]))


class TestJointModel:
    @pytest.mark.parametrize("n_outputs", [1, 3])
    @pytest.mark.parametrize("learn_gamma", [None, "scalar", "feature"])
    @pytest.mark.parametrize("kappa", [1.0, 0.0])
    def test_collapsed_computation_gives_the_same_gradients(self, n_outputs, learn_gamma, kappa):
        """Oracle: the black-box path on the same matrix and draws, to float32 rounding."""
        gradients = []
        for device in (SimulatedOPU(), BlackBox()):
            model, X, targets, weights = joint_model(device, n_outputs, learn_gamma, kappa)
            assert model.answers._collapses(800, 6, n_outputs) == device.computable
            loss, surrogate = model.step(X, targets, weights)
            surrogate.backward()
            gradients.append([np.array(loss), *(p.grad.numpy() for p in model.parameters())])
        for collapsed, direct in zip(*gradients):
            scale = np.abs(direct).max()
            np.testing.assert_allclose(collapsed, direct, rtol=1e-4, atol=1e-4 * scale)

    def test_small_batches_are_projected(self):
        """Oracle: the count of multiplications; for few codes the form costs more."""
        model, *_ = joint_model(SimulatedOPU(), 1)
        assert not model.answers._collapses(2, 6, 1)

    def test_readout_starts_centred(self):
        """Oracle: mean 0 and total variance 1 of the scaled features of the starting codes."""
        model, X, *_ = joint_model(BlackBox(), 1)
        codes = model.gradient.draw(model.encoder(X), torch.Generator().manual_seed(0)).codes[0]
        intensities, popcounts = model.answers.intensities(codes), codes.sum(-1)
        model.start(X, 1, 0)
        readout = model.readout
        features = (intensities - popcounts[:, None] * readout.gain) / readout.scale
        assert features.mean(0).abs().max() < 0.5 * features.std(0).mean()
        assert float(features.var(0).sum()) == pytest.approx(1, rel=0.3)


def exact_models(loss, n_outputs, n_models=4):
    """Models with random encoders and readouts, and rows for two groups of them, in float64."""
    source = torch.Generator().manual_seed(0)
    encoders = [LinearEncoder(4, 5).double() for _ in range(n_models)]
    X = torch.randn(2, 9, 4, generator=source).double()
    for seed, encoder in enumerate(encoders):
        encoder.start(X[0], seed)
    kappas, penalties = [0.0, 0.4, 1.0, 0.1], [0.1, 0.2, 0.3, 0.4]
    strengths = kappas[:n_models], penalties[:n_models], penalties[-n_models:]
    models = ExactModels(encoders, n_outputs, loss, *strengths).double()
    with torch.no_grad():
        models.readout.normal_(generator=source)
        pairs = models.packed().pairs_each
        pairs += pairs.transpose(1, 3).clone()
        pairs.diagonal(dim1=1, dim2=3).zero_()
    targets = torch.softmax(torch.randn(2, 9, n_outputs, generator=source).double(), -1)
    return models, X, targets, torch.rand(2, 9, generator=source).double()


@pytest.mark.parametrize("learn_gamma", ["scalar", "feature"])
def test_features_are_multiplied_by_the_square_of_gamma(learn_gamma):
    """Oracle: equation 13 written out, b + sum_j w_j gamma_j^2 f_j, for features by hand."""
    generator = torch.Generator().manual_seed(0)
    intensities = torch.rand(50, 7, generator=generator, dtype=torch.float64) * 5
    popcounts = torch.randint(1, 9, (50,), generator=generator).double()
    layer = ReadoutLayer(intensities, popcounts, 2, learn_gamma).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    features = (intensities - popcounts[:, None] * layer.gain) / layer.scale
    last = (popcounts - popcounts.mean()) / popcounts.std(correction=0)
    features = torch.cat([features, last[:, None]], 1)
    gamma = torch.tensor(layer.gamma(), dtype=torch.float64)
    expected = layer.bias + (gamma**2 * features) @ layer.weight
    torch.testing.assert_close(layer(intensities.matmul, popcounts), expected)


class TestExactModels:
    @pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()], ids=["squares", "entropy"])
    @pytest.mark.parametrize("n_outputs", [1, 3])
    def test_gradient_of_the_penalised_loss(self, loss, n_outputs):
        """Oracle: automatic differentiation of the moments, and of penalties by hand."""
        models, X, targets, weights = exact_models(loss, n_outputs)
        losses, surrogate = models.differentiate(X, targets, weights)
        surrogate.backward()
        W, b = models.weight.detach().clone(), models.bias.detach().clone()
        bias, linear, pairs = (part.detach().clone() for part in models.forms())
        upper = pairs.triu(1)
        leaves = [part.requires_grad_() for part in (W, b, bias, linear, upper)]
        each = [part.repeat_interleave(2, 0) for part in (X, targets, weights)]
        form = QuadraticForm(bias, linear, upper.triu(1) + upper.triu(1).mT)
        mean, variance = form.moments(torch.sigmoid(each[0] @ W.mT + b))
        spread = loss.curvature * models.kappas[:, None] * variance.sum(-1)
        expected = (each[2] * (loss.value(mean, each[1]) + spread)).mean(1)
        strengths = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
        encoder = strengths * W.square().sum((1, 2)) / 5
        squares = linear.square().sum((1, 2)) + form.pairs.square().sum((1, 2, 3))
        (expected + encoder + strengths * squares).sum().backward()
        torch.testing.assert_close(losses, expected.detach(), **TIGHT)
        torch.testing.assert_close(losses, models.losses(*each).detach(), **TIGHT)
        found = PackedForm(models.readout.grad, 5, n_outputs).unpacked()
        slopes = models.encoder.grad[:, :20].unflatten(1, (5, 4)), models.encoder.grad[:, None, 20:]
        found = (*slopes, found.bias, found.linear, found.pairs.triu(1))
        for ours, theirs in zip(found, leaves):
            torch.testing.assert_close(ours, theirs.grad, **TIGHT)
        both_halves = PackedForm(models.readout.grad, 5, n_outputs).unpacked().pairs
        torch.testing.assert_close(both_halves, both_halves.mT, **TIGHT)

    def test_memory_of_another_size(self):
        """Oracle: the losses of the same rows in one minibatch and in two."""
        models, X, targets, weights = exact_models(SquaredError(), 2)
        whole = models.differentiate(X, targets, weights)[0]
        parts = [
            len(rows) * models.differentiate(X[:, rows], targets[:, rows], weights[:, rows])[0]
            for rows in (range(4), range(4, 9))
        ]
        torch.testing.assert_close(sum(parts) / 9, whole, **TIGHT)

    @pytest.mark.parametrize("spread", [0.5, 2.0])
    def test_cross_entropy_is_an_upper_bound(self, spread):
        """Oracle: the expected cross-entropy by enumeration of all codes."""
        generator = torch.Generator().manual_seed(0)
        pairs = torch.randn(1, 3, 6, 6, generator=generator).double().triu(1)
        linear = torch.randn(1, 3, 6, generator=generator).double()
        readout = QuadraticForm(linear[..., 0], linear, pairs + pairs.mT)
        logits = spread * torch.randn(40, 6, generator=generator).double()
        targets = torch.eye(3).double()[torch.arange(40) % 3]
        mean, variance = readout.moments(torch.sigmoid(logits)[None])
        loss = CrossEntropy()
        bound = loss.value(mean[0], targets) + loss.curvature * variance[0].sum(-1)
        z = torch.from_numpy(all_codes(6)).double() - 0.5
        forms = readout
        values = forms.bias[0] + z @ forms.linear[0].T
        values = values + torch.einsum("ck,qkl,cl->cq", z, forms.pairs[0], z)
        risk = loss.value(values[:, None].expand(-1, 40, -1), targets)
        assert (bound >= (code_probabilities(logits) * risk).sum(0) - 1e-10).all()


class TestExactGradient:
    X, y = make_friedman1(300, n_features=6, random_state=0)

    def test_needs_neither_draws_nor_passes(self):
        """Oracle: a device that must not be asked, and the loss that was recorded."""
        binarizer = SupervisedBinarizer(
            16, gradient="exact", opu=BlackBox(), max_iter=200, random_state=0
        ).fit(self.X, self.y)
        assert binarizer.n_passes_ == binarizer.opu_.n_passes == 0
        losses = binarizer.history_["loss"]
        assert losses[-1] < 0.4 * losses[0]
        assert not hasattr(binarizer.gradient_, "n_draws")

    @pytest.mark.parametrize(
        ("prediction", "kappa"), [("mean", 0.1), ("draws", 0.2), ("threshold", 1.0)]
    )
    def test_price_of_the_variance_follows_the_prediction(self, prediction, kappa):
        model = EndToEndOPURegressor(
            SupervisedBinarizer(8, gradient="exact", n_components=64, max_iter=5),
            prediction=prediction,
            n_draws=5,
        )
        model.fit(self.X, self.y)
        assert model.binarizer_.objective == kappa
        assert model.set_params(binarizer__objective=0.7).fit(self.X, self.y)
        assert model.binarizer_.objective == 0.7

    def test_codes_are_as_good_as_those_of_leave_one_out(self):
        """Oracle: End-to-End through the device, same budget; within a third of its error."""
        errors = []
        for gradient in ("exact", "loo"):
            model = EndToEndOPURegressor(
                SupervisedBinarizer(32, gradient=gradient, n_components=600, max_iter=500),
                random_state=0,
            )
            model.fit(self.X[:200], self.y[:200])
            errors.append(1 - model.score(self.X[200:], self.y[200:]))
        assert errors[0] < 1.33 * errors[1]

    def test_early_stopping_and_classes(self):
        labels = np.where(self.y > np.median(self.y), "high", "low")
        binarizer = SupervisedBinarizer(
            8,
            gradient="exact",
            early_stopping=True,
            n_iter_no_change=3,
            max_iter=1000,
            random_state=0,
        ).fit(self.X, labels)
        assert np.isfinite(binarizer.history_["validation_loss"]).all()
        assert binarizer.n_iter_ < 1000

    def test_there_is_no_gamma_to_learn(self):
        with pytest.raises(IncompatiblePartsError, match="Exact trains without features"):
            SupervisedBinarizer(8, gradient="exact", learn_gamma="scalar").fit(self.X, self.y)


class TestChoiceOfPenalty:
    """Oracle: how the targets were made."""

    @pytest.mark.parametrize(("noise", "strong"), [(0.0, False), (20.0, True)])
    def test_noise_asks_for_a_strong_penalty(self, noise, strong):
        X, y = make_friedman1(200, n_features=5, noise=noise, random_state=0)
        binarizer = SupervisedBinarizer(n_bits=32, n_components=32, max_iter=600, random_state=0)
        binarizer.fit(X, y)
        assert set(binarizer.penalty_errors_) == set(PENALTIES)
        best = min(binarizer.penalty_errors_, key=binarizer.penalty_errors_.get)
        assert binarizer.encoder_penalty_ == best
        assert (best >= 0.1) == strong

    @pytest.mark.parametrize("seed", [0, 1])
    def test_it_is_strong_enough_for_real_noise(self, seed):
        """Oracle: a line, which is as good as anything on these data."""
        X, y = load_diabetes(return_X_y=True)
        X, X_test, y, y_test = train_test_split(X, y, random_state=seed)
        binarizer = SupervisedBinarizer(gradient="exact", max_iter=1000)
        model = EndToEndOPURegressor(binarizer, prediction="mean", random_state=seed).fit(X, y)
        line = LinearRegression().fit(X, y).score(X_test, y_test)
        assert model.score(X_test, y_test) > line - 0.1

    @pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
    def test_what_candidates_are_judged_by(self, loss):
        """Oracle: loss of the mean plus a tenth of the variance at the loss's price, by hand."""
        rng = torch.Generator().manual_seed(0)
        folds = np.array([0, 1, 2]), np.array([3, 4])
        copies = [told_rows(factor) for factor in (1.0, 2.0)]
        start = torch.randn(8, 3, generator=rng)
        encoders = [LinearEncoder(3, 4) for _ in range(8)]  # two folds, scalings and penalties
        for number, encoder in enumerate(encoders):
            encoder.start(start, number)
        strengths = {"kappas": [1.0] * 8, "encoder_penalties": [0.0] * 8}
        models = ExactModels(encoders, 2, loss, **strengths, readout_penalties=[0.0] * 8)
        with torch.no_grad():
            models.readout.normal_(generator=rng)
        candidates = _Candidates(models, copies, folds, loss, margin=0.9)
        candidates._judge()
        expected = np.zeros((2, 2))
        for number, fold in enumerate(folds):
            for scaling, copy in enumerate(copies):
                X, targets, weights = copy.rows(fold)
                mean, variance = models.moments(X.expand(8, *X.shape))
                losses = loss.value(mean, targets) + 0.1 * loss.curvature * variance.sum(-1)
                sums = (weights * losses).sum(1).detach().numpy()
                first = 4 * number + 2 * scaling
                expected[scaling] += sums[first : first + 2] / 11
        np.testing.assert_allclose(candidates.errors, expected, rtol=1e-5)

    def test_the_scaling_is_chosen_on_training_rows(self):
        """Oracle: columns with tails so heavy that standard scores are all but constant."""
        rng = np.random.default_rng(0)
        hidden = rng.normal(size=(150, 3))
        y = np.sin(2 * hidden[:, 0]) + hidden[:, 1]
        binarizer = SupervisedBinarizer(8, n_components=16, max_iter=100, random_state=0)
        heavy = clone(binarizer).fit(np.sinh(4 * hidden), y)
        plain = clone(binarizer).fit(hidden, y)
        assert isinstance(heavy.scaler_, NormalQuantiles)
        assert isinstance(plain.scaler_, StandardScaler)
        sparse = clone(binarizer).fit(csr_array(np.sinh(4 * hidden)), y)
        assert isinstance(sparse.scaler_, StandardScaler)
        again = clone(binarizer).set_params(scaler="quantile").fit(np.sinh(4 * hidden), y)
        np.testing.assert_array_equal(again.coef_, heavy.coef_)

    def test_given_penalty_is_used(self):
        X, y = make_friedman1(50, random_state=0)
        binarizer = SupervisedBinarizer(4, encoder_penalty=0.5, n_components=8, max_iter=2)
        assert binarizer.fit(X, y).encoder_penalty_ == 0.5
        assert binarizer.penalty_errors_ == {}

    def test_choosing_costs_no_pass(self):
        X, y = make_friedman1(50, random_state=0)
        binarizer = SupervisedBinarizer(4, n_components=8, max_iter=10, opu=BlackBox()).fit(X, y)
        assert binarizer.n_passes_ == binarizer.opu_.n_passes == 50 + 10 * 4 * 50

    def test_too_few_rows_take_the_weakest(self):
        X, y = make_friedman1(5, random_state=0)
        binarizer = SupervisedBinarizer(4, n_components=8, max_iter=2).fit(X, y)
        assert binarizer.encoder_penalty_ == PENALTIES[0]


def test_number_of_minibatches():
    """Oracle: the docstring of ``max_iter``, by hand."""
    binarizer = SupervisedBinarizer()
    exact, loo = resolve_gradient("exact"), resolve_gradient("loo")
    cases = [(loo, 10**6, 1500), (exact, 1000, 3000), (exact, 12_800, 10_000)]
    cases += [(exact, 6400, 5000), (exact, 10**6, 10_000)]
    for gradient, n_rows, expected in cases:
        assert _resolve_max_iter(binarizer, gradient, n_rows) == expected
    assert _resolve_max_iter(SupervisedBinarizer(max_iter=7), exact, 100) == 7


def test_a_control_variate_has_not_seen_the_draws_it_corrects(monkeypatch):
    """Oracle: the codes that the forms in use were fitted to, against those of the step.

    Codes of 16 bits seldom come twice; had it seen its draws, all would be among those fitted to.
    The forms are fitted anew while it is watched: when the number of answers has doubled.
    """
    model, X, targets, weights = joint_model(BlackBox(), 1, n_bits=16, gradient=Quadratic(4))
    surrogate, n_fitted = Quadratic.surrogate, []

    def watched(self, logits, draws, costs):
        seen = set(map(bytes, (model.answers.fitted._fitted_codes > 0).numpy()))
        new = set(map(bytes, (draws.codes.flatten(0, 1) > 0).numpy()))
        assert len(new & seen) < 0.5 * len(new)
        expected = [part.clone() for part in model._wanted_forms()]
        torch.testing.assert_close(list(costs.forms), expected)
        n_fitted.append(len(model.answers.fitted._fitted_codes))
        return surrogate(self, logits, draws, costs)

    monkeypatch.setattr(Quadratic, "surrogate", watched)
    for _ in range(4):
        model.step(X[:15], targets[:15], weights[:15])
        model.mark()
    assert n_fitted == [100, 100, 220, 272]


def test_a_minibatch_cut_short_leaves_the_fitted_forms_as_they_were():
    """Oracle: the same steps, of which the second was not cut short and done again by another."""
    forms = []
    for is_cut in (False, True):
        model, X, *batch = joint_model(BlackBox(), 1, n_bits=16, gradient=Quadratic(4))
        for number in range(3):
            if is_cut and number == 1:
                model.step(X, *batch)
                tensors, state = model.state_dict(), model.state()
                model = joint_model(BlackBox(), 1, n_bits=16, gradient=Quadratic(4))[0]
                model.resume(X, 1, 0, tensors, state)
            model.step(X, *batch)
            model.mark()
        forms.append(model.answers.fitted.state())
    torch.testing.assert_close(forms[0], forms[1], rtol=0, atol=0)
