"""Gradients against enumeration of all codes.

Rows are independent, so a case is repeated by repeating its row: 40000 rows of one case give
40000 independent gradients. Their mean is compared with the exact gradient, entry by entry; the
largest of m |t| statistics exceeds the threshold used with probability 1e-6 if the estimator is
unbiased (the t statistics are normal at this many draws). Seeds are fixed, so a test that
passes once passes always.
"""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from oracles import BlackBox, all_codes, exact_objective
from scipy import stats

from skopu.devices import SimulatedOPU
from skopu.exceptions import IncompatiblePartsError
from skopu.forms.intensities import KnownIntensities
from skopu.forms.quadratic import QuadraticForm
from skopu.gradients import (
    ARM,
    GRADIENTS,
    REBAR,
    DisARM,
    Draws,
    GradientEstimator,
    GumbelSigmoid,
    LeaveOneOut,
    LocalExpectation,
    Quadratic,
    Reinforce,
    SigmoidSurrogate,
    resolve_gradient,
)
from skopu.gradients.relaxations import gumbel_sigmoid
from skopu.losses import CrossEntropy, SquaredError
from skopu.objectives import KAPPAS, Objective, mean_of_others, resolve_kappa
from skopu.training.needs import NEEDS, check_parts

N_REPEATS = 40_000
FALSE_ALARM = 1e-6
# A new estimator that is unbiased: add a line.
UNBIASED = [Reinforce(1), Reinforce(4), LeaveOneOut(2), LeaveOneOut(4), DisARM(2), DisARM(6)]
UNBIASED += [ARM(2), ARM(6), LocalExpectation(1), LocalExpectation(2), Quadratic(2), Quadratic(4)]
UNBIASED += [REBAR(1), REBAR(3, eta=0.7, temperature=0.2)]
STATES = {"start": 0.5, "middle": 2.0, "sharp": 5.0}  # spread of the logits


class Case:
    """One row with fixed logits, a device, a readout of 6-bit codes, and a target."""

    def __init__(self, loss, spread, n_outputs=1, n_bits=6, seed=0):
        rng = np.random.default_rng(seed)
        codes = all_codes(n_bits)
        weights = rng.standard_normal((20, n_outputs)) / np.sqrt(20) / n_bits
        answers = SimulatedOPU().project(codes, 20) @ weights
        self.answers = torch.from_numpy(answers - answers.mean(0)).double()
        self.logits = torch.from_numpy(spread * rng.standard_normal((1, n_bits)))
        targets = rng.standard_normal((1, n_outputs))
        if isinstance(loss, CrossEntropy):
            targets = np.eye(n_outputs)[[0]]
        self.targets, self.loss = torch.from_numpy(targets), loss
        self.places = 2 ** torch.arange(n_bits - 1, -1, -1)
        matrix = KnownIntensities(SimulatedOPU().matrix(n_bits, 20), self.logits)
        slope = torch.zeros(n_outputs, dtype=torch.float64)
        self.forms = matrix.forms(torch.from_numpy(weights))
        self.forms = self.forms.plus_popcount(slope, -torch.from_numpy(answers.mean(0)).double())

    def predictions(self, codes):
        """Answers of the device and readout to codes (..., k)."""
        return self.answers[(codes * self.places).sum(-1).long()]

    def exact_gradient(self, kappa):
        logits = self.logits.clone().requires_grad_()
        exact_objective(logits, self.answers, self.targets, self.loss, kappa).sum().backward()
        return logits.grad[0].numpy()

    def costs(self, gradient, draws, kappa, forms=None):
        """What the joint model hands to the estimator."""
        return Objective(self.loss, kappa).costs(
            self.predictions(draws.codes),
            self.targets.expand(draws.codes.shape[1], -1),
            probes=None if draws.probes is None else self.predictions(draws.probes),
            forms=forms or self.forms,
            learned=gradient.learned(draws.codes.shape[-1]),
        )

    def estimates(self, gradient, kappa, n_repeats=N_REPEATS, forms=None, change=None):
        """Independent gradients, one a row, shape (n_repeats, k)."""
        logits = self.logits.repeat(n_repeats, 1).requires_grad_()
        draws = gradient.draw(logits, torch.Generator().manual_seed(1))
        costs = self.costs(gradient, draws, kappa, forms)
        if change is not None:
            costs = change(costs, self.predictions(draws.codes))
        gradient.surrogate(logits, draws, costs).sum().backward()
        return logits.grad.numpy()


def largest_t(estimates, exact):
    return np.abs((estimates.mean(0) - exact) / stats.sem(estimates, axis=0)).max()


def threshold(n_entries):
    return stats.norm.isf(FALSE_ALARM / 2 / n_entries)


# Only independent other draws can give the residual that kappa < 1 asks for.
PAIRS = [
    (g, kappa)
    for g in UNBIASED
    for kappa in (1.0, 0.0, 0.3)
    if kappa == 1 or (g.n_draws > 1 and not g.coupled_draws)
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("gradient", "kappa"), PAIRS, ids=repr)
def test_unbiased_for_squared_error(gradient, kappa, state):
    case = Case(SquaredError(), STATES[state])
    estimates = case.estimates(gradient, kappa)
    assert largest_t(estimates, case.exact_gradient(kappa)) < threshold(6)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("gradient", UNBIASED, ids=repr)
def test_unbiased_for_end_to_end_cross_entropy(gradient, state):
    case = Case(CrossEntropy(), STATES[state], n_outputs=3)
    estimates = case.estimates(gradient, 1.0)
    assert largest_t(estimates, case.exact_gradient(1.0)) < threshold(6)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_shared_residual_is_biased(n_outputs):
    """Equation 11 with the same draws in the residual and in the leave-one-out gradient.

    It is the gradient for kappa = 2/S, as the oracle says; against kappa = 0 the test above
    finds it out, so that test can fail.
    """
    n_draws = 4
    case = Case(SquaredError(), 1.0, n_outputs)

    def share(costs, predictions):
        slope = case.loss.slope(predictions.mean(0), costs.targets)
        return replace(
            costs,
            values=(slope * predictions).sum(-1),
            baselines=(slope * mean_of_others(predictions)).sum(-1),
        )

    estimates = case.estimates(LeaveOneOut(n_draws), 0.0, change=share)
    assert largest_t(estimates, case.exact_gradient(0.0)) > threshold(6)
    assert largest_t(estimates, case.exact_gradient(2 / n_draws)) < threshold(6)


def test_isolated_cross_entropy_has_a_bias_that_falls_with_the_draws():
    """Oracle: enumeration. The slope at the mean of S - 1 draws is off by the softmax's curvature.

    Bias is measured with a standard error of 0.02 of the gradient's norm at most.
    """
    case = Case(CrossEntropy(), 1.0, n_outputs=3)
    exact = case.exact_gradient(0.0)
    biases = []
    for n_draws in (2, 16):
        estimates = case.estimates(LeaveOneOut(n_draws), 0.0, n_repeats=100_000)
        biases.append(np.linalg.norm(estimates.mean(0) - exact) / np.linalg.norm(exact))
    assert biases[1] < 0.4 * biases[0]
    assert biases[1] < 0.1


@pytest.mark.parametrize("kappa", [1.0, 0.0, 0.3])
def test_gradient_of_the_readout_is_unbiased(kappa):
    """Oracle: the derivative of J with respect to a common shift of the answers, enumerated."""
    case = Case(SquaredError(), 1.0)
    shift = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    exact_objective(
        case.logits, case.answers * (1 + shift), case.targets, case.loss, kappa
    ).sum().backward()
    scale = torch.zeros(N_REPEATS, 1, dtype=torch.float64, requires_grad=True)
    draws = LeaveOneOut(3).draw(case.logits.repeat(N_REPEATS, 1), torch.Generator().manual_seed(2))
    predictions = case.predictions(draws.codes) * (1 + scale)
    targets = case.targets.repeat(N_REPEATS, 1)
    Objective(case.loss, kappa).costs(predictions, targets).values.mean(0).sum().backward()
    assert largest_t(scale.grad.numpy(), shift.grad.numpy()) < threshold(1)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("state", STATES)
def test_quadratic_is_unbiased_whatever_its_model(state, n_outputs):
    """Oracle: enumeration; the forms are wrong on purpose, as on a device with noise."""
    loss = SquaredError() if n_outputs == 1 else CrossEntropy()
    case = Case(loss, STATES[state], n_outputs)
    generator = torch.Generator().manual_seed(5)
    wrong = []
    for part in case.forms:
        noise = torch.randn(part.shape, generator=generator, dtype=torch.float64)
        size = 0.5 * part.square().mean().sqrt()
        wrong.append(part + size * (noise + noise.mT if noise.ndim == 3 else noise))
    wrong[2].diagonal(dim1=-2, dim2=-1).zero_()
    forms = QuadraticForm(*wrong)
    estimates = case.estimates(Quadratic(2), 1.0, forms=forms)
    assert largest_t(estimates, case.exact_gradient(1.0)) < threshold(6)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_variances_are_ordered(n_outputs):
    """Oracle: sample variances of 40000 gradients, and the theory of each.

    DisARM averages ARM, a baseline takes the common level of the costs, summing over a bit takes
    the bit's own noise, and a true model of the device takes what is left.
    """
    case = Case(SquaredError() if n_outputs == 1 else CrossEntropy(), 1.0, n_outputs)
    case.targets = case.targets + (n_outputs == 1) * 3.0
    per_pass = {}
    for gradient in (Reinforce(4), LeaveOneOut(4), ARM(4), DisARM(4), Quadratic(4)):
        variance = case.estimates(gradient, 1.0).var(0).sum()
        per_pass[type(gradient).__name__] = variance * gradient.n_passes(6)
    assert per_pass["DisARM"] < per_pass["ARM"]
    assert per_pass["LeaveOneOut"] < 0.5 * per_pass["Reinforce"]
    assert per_pass["Quadratic"] < 0.01 * per_pass["LeaveOneOut"]
    local = case.estimates(LocalExpectation(1), 1.0).var(0).sum()
    assert local < 0.5 * per_pass["LeaveOneOut"]


@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("kappa", [1.0, 0.3])
def test_rebar_has_a_baseline(eta, kappa):
    """Oracle: leave-one-out of what the relaxed control variate leaves, plus its slope.

    For eta = 0 that is ``LeaveOneOut`` itself; without the baselines it would be as unbiased, and
    only vary more.
    """
    case, gradient = Case(SquaredError(), 1.0), REBAR(3, eta=eta, temperature=0.4)
    logits = case.logits.repeat(5, 1).requires_grad_()
    draws = gradient.draw(logits, torch.Generator().manual_seed(0))
    costs = case.costs(gradient, draws, kappa)
    (found,) = torch.autograd.grad(gradient.surrogate(logits, draws, costs).sum(), logits)

    (expected,) = torch.autograd.grad(
        LeaveOneOut(3).surrogate(logits, draws, costs).sum(), logits, retain_graph=True
    )
    if eta:
        first, fresh = draws.uniforms
        given = gradient._given(logits, draws.codes, fresh)
        relaxed, again = (
            case.forms.mean(gumbel_sigmoid(logits, u, gradient.temperature)) for u in (first, given)
        )
        control = replace(
            costs, values=costs.of(again), baselines=costs.baseline_of(again).detach()
        )
        left = LeaveOneOut(3).surrogate(logits, draws, control).sum()
        slope = (costs.of(relaxed) - costs.of(again)).mean(0).sum()
        (correction,) = torch.autograd.grad(slope - left, logits)
        expected = expected + eta * correction
    torch.testing.assert_close(found, expected)


def test_rebar_survives_bits_that_are_all_but_settled():
    """Oracle: a relaxed code lies on its code's side of one half, and has a slope.

    A bit of probability 1 - 1e-7 that came out 0 leaves its uniform between p and 1, which float32
    rounds to 1: noise without end, whose slope was not a number.
    """
    logits = torch.full((1, 1), 16.0, requires_grad=True)
    uniforms = REBAR._given(logits, torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.9))
    assert uniforms.item() == 1
    relaxed = gumbel_sigmoid(logits, uniforms, 0.5)
    (slope,) = torch.autograd.grad(relaxed.sum(), logits)
    assert 0 <= relaxed.item() < 0.5
    assert slope.isfinite().all()


def test_one_draw_by_hand():
    """Oracle: equation 7 written out: cost times z - p."""
    logits = torch.tensor([[0.3, -1.0]], dtype=torch.float64, requires_grad=True)
    codes = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    costs = Objective(SquaredError(), 1.0).costs(
        torch.tensor([[[2.0]]], dtype=torch.float64), torch.tensor([[0.5]], dtype=torch.float64)
    )
    Reinforce(1).surrogate(logits, Draws(codes), costs).sum().backward()
    expected = (0.5 - 2.0) ** 2 * (codes[0] - torch.sigmoid(logits.detach()))
    torch.testing.assert_close(logits.grad, expected)


def test_costs_are_not_to_be_changed():
    costs = Objective(SquaredError(), 1.0).costs(torch.zeros(2, 3, 1), torch.zeros(3, 1))
    with pytest.raises(FrozenInstanceError):
        costs.forms = None


def test_value_of_the_objective():
    """Oracle: (y - m)^2 + kappa V for the draws taken as the whole distribution."""
    predictions = torch.tensor([[[1.0]], [[2.0]], [[6.0]]], dtype=torch.float64)
    targets = torch.tensor([[0.5]], dtype=torch.float64)
    for kappa in (0.0, 0.4, 1.0):
        value = Objective(SquaredError(), kappa).value(predictions, targets)
        m, v = predictions.mean(), predictions.var(correction=0)
        torch.testing.assert_close(value[0], (targets[0, 0] - m) ** 2 + kappa * v)


def test_mean_of_others():
    values = torch.tensor([[1.0], [2.0], [6.0]])
    torch.testing.assert_close(mean_of_others(values), torch.tensor([[4.0], [3.5], [1.5]]))
    assert not mean_of_others(values[:1]).any()


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
def test_slope_of_the_loss(loss):
    """Oracle: automatic differentiation of the value."""
    predictions = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    predictions.requires_grad_()
    targets = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 1]]
    loss.value(predictions, targets).sum().backward()
    torch.testing.assert_close(loss.slope(predictions.detach(), targets), predictions.grad)


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
def test_price_of_the_variance_is_tight(loss):
    """Oracle: two opposite predictions about the steepest point of the loss, in closed form.

    E[L] - L(E f) comes to ``curvature`` times the variance there, so that no smaller number
    bounds it. The error of the expansion is of the order of the squared distance, 1e-4.
    """
    step = torch.tensor([[0.01, -0.01]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    risk = (loss.value(step, target) + loss.value(-step, target)) / 2
    rise = risk - loss.value(torch.zeros_like(step), target)
    share = (rise / step.square().sum()).item()
    assert (1 - 1e-3) * loss.curvature < share <= (1 + 1e-9) * loss.curvature


@pytest.mark.parametrize("name", [name for name in GRADIENTS if GRADIENTS[name].uses_device])
def test_draws_follow_the_probabilities(name):
    """Oracle: p, with 10^5 draws and 5.5 standard errors (rate 2e-7 for the five bits)."""
    logits = torch.tensor([[-2.0, -0.5, 0.0, 1.0, 3.0]])
    gradient = resolve_gradient(name).set_params(n_draws=100_000)
    codes = gradient.draw(logits, torch.Generator().manual_seed(0)).codes
    p = torch.sigmoid(logits[0])
    assert codes.shape == (100_000, 1, 5)
    assert codes.unique().tolist() == [0, 1]
    error = (codes.double().mean((0, 1)) - p).abs()
    assert (error < 5.5 * (p * (1 - p) / 100_000).sqrt()).all()


class TestPairing:
    def test_unknown_name_gives_the_nearest(self):
        with pytest.raises(ValueError, match=r"'rienforce' is not known.*'reinforce'\?"):
            resolve_gradient("rienforce")
        with pytest.raises(
            ValueError, match="Accepted names: 'loo', 'reinforce', 'arm', 'disarm', 'local_exp"
        ):
            resolve_gradient("nothing like it")

    @pytest.mark.parametrize("n_draws", [1, 0, 2.5, True, None])
    def test_leave_one_out_needs_two_draws(self, n_draws):
        with pytest.raises(ValueError, match="LeaveOneOut needs n_draws to be an int of at least"):
            check_parts(LeaveOneOut(n_draws), Objective(SquaredError(), 1.0), BlackBox())

    def test_isolated_needs_two_draws(self):
        with pytest.raises(IncompatiblePartsError, match=r"Reinforce\(n_draws=1\).*kappa=0"):
            check_parts(Reinforce(1), Objective(SquaredError(), 0.0), BlackBox())

    def test_pairs_need_an_even_number_and_end_to_end(self):
        with pytest.raises(ValueError, match="n_draws must be even, got 3: use 4"):
            check_parts(DisARM(3), Objective(SquaredError(), 1.0), BlackBox())
        with pytest.raises(IncompatiblePartsError, match=r"DisARM couples its draws.*kappa=0"):
            check_parts(DisARM(4), Objective(SquaredError(), 0.0), BlackBox())

    @pytest.mark.parametrize("name", ["rebar", "ste", "adaptive_noise", "gumbel", "surrogate"])
    def test_known_matrix_is_asked_for(self, name):
        gradient, objective = resolve_gradient(name), Objective(SquaredError(), 1.0)
        check_parts(gradient, objective, SimulatedOPU())
        with pytest.raises(IncompatiblePartsError, match=r"needs the matrix.*BlackBox.*quadratic"):
            check_parts(gradient, objective, BlackBox())

    @pytest.mark.parametrize(
        ("gradient", "name"),
        [
            (GumbelSigmoid(temperature=0), "temperature > 0, got 0"),
            (SigmoidSurrogate(final_temperature=-1.0), "final_temperature > 0, got -1.0"),
            (REBAR(temperature=0.0), "temperature > 0, got 0.0"),
            (Quadratic(fit_penalty=0), "fit_penalty > 0, got 0"),
        ],
    )
    def test_parameters_must_be_positive(self, gradient, name):
        with pytest.raises(ValueError, match=f"{type(gradient).__name__} needs {name}"):
            check_parts(gradient, Objective(SquaredError(), 1.0), SimulatedOPU())

    def test_every_need_is_an_attribute_of_both(self):
        """Oracle: the classes; a need that nobody declares would never be checked."""
        parts = {"objective": Objective(SquaredError(), 1.0), "device": BlackBox()}
        for need in NEEDS:
            if need.asker != "readout":
                assert hasattr(parts.get(need.asker, LeaveOneOut()), need.asks)
            assert hasattr(parts.get(need.giver, LeaveOneOut()), need.has)

    def test_exact_is_a_way_of_training_without_draws(self):
        """Oracle: the loss that it trains on needs no draws; it has none of their methods."""
        exact = resolve_gradient("exact")
        assert not hasattr(exact, "draw")
        assert not hasattr(exact, "surrogate")
        for kappa in (0.0, 1.0):
            check_parts(exact, Objective(SquaredError(), kappa), BlackBox())

    def test_names_of_kappa(self):
        assert {name: resolve_kappa(name) for name in KAPPAS} == KAPPAS
        assert resolve_kappa(0.25) == 0.25

    def test_surrogate_must_be_written(self):
        with pytest.raises(NotImplementedError, match="GradientEstimator must implement"):
            GradientEstimator().surrogate(None, None, None)
