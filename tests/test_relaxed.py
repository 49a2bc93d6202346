"""Biased gradients, each against a closed form of what it does estimate."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from test_gradients import Case, largest_t, threshold

from skopu.gradients import (
    GRADIENTS,
    AdaptiveNoise,
    GumbelSigmoid,
    SigmoidSurrogate,
    StraightThrough,
    resolve_gradient,
)
from skopu.gradients.relaxations import gumbel_sigmoid, gumbel_softmax, perturb, straight_through
from skopu.losses import SquaredError


def test_which_are_biased():
    biased = {name for name in GRADIENTS if not resolve_gradient(name).unbiased}
    assert biased == {"ste", "adaptive_noise", "gumbel", "surrogate"}


def test_straight_through_misses_the_curvature():
    """Oracle: for squared error the bias is -(1 - 2 p_i) p_i (1 - p_i) E[s_i^2].

    s_i is what bit i changes of the prediction; its mean square is enumerated. 40000 gradients,
    false alarm 1e-6 (see ``test_gradients``).
    """
    case = Case(SquaredError(), 1.5)
    p = torch.sigmoid(case.logits)
    slopes = case.forms.slopes(p)[0, 0]
    # s_i is linear in the other bits: its variance is that of a weighted sum of them.
    pairs = case.forms.pairs[0]
    mean_square = slopes**2 + 4 * (pairs**2) @ (p * (1 - p))[0]
    bias = (-(1 - 2 * p) * p * (1 - p) * mean_square)[0].numpy()
    estimates = case.estimates(StraightThrough(2), 1.0)
    assert largest_t(estimates, case.exact_gradient(1.0) + bias) < threshold(6)
    assert largest_t(estimates, case.exact_gradient(1.0)) > threshold(6)


def test_straight_through_is_unbiased_for_isolated():
    """Oracle: enumeration. The cost is then linear in each bit, and so is its slope."""
    case = Case(SquaredError(), 1.5)
    estimates = case.estimates(StraightThrough(3), 0.0)
    assert largest_t(estimates, case.exact_gradient(0.0)) < threshold(6)


def test_surrogate_at_temperature_one_is_the_mean_prediction():
    """Oracle: the enumerated gradient of L(y, E f), exactly."""
    case = Case(SquaredError(), 1.5)
    estimates = case.estimates(SigmoidSurrogate(2), 1.0, n_repeats=3)
    np.testing.assert_allclose(estimates, np.tile(case.exact_gradient(0.0), (3, 1)), atol=1e-6)


def test_gumbel_differentiates_the_relaxed_cost():
    """Oracle: the integral of the relaxed cost over logistic noise, differentiated by steps."""
    case = Case(SquaredError(), 1.5, n_bits=1)
    temperature = 0.7

    def relaxed_cost(logit):
        def integrand(u):
            code = gumbel_sigmoid(torch.tensor([[logit]]), torch.tensor(u), temperature)
            cost = (case.forms.mean(code.double()) - case.targets).square().item()
            return cost

        return integrate.quad(integrand, 0, 1, epsabs=1e-7)[0]

    logit, step = case.logits.item(), 0.05
    slope = (relaxed_cost(logit + step) - relaxed_cost(logit - step)) / (2 * step)
    estimates = case.estimates(GumbelSigmoid(1, temperature, temperature), 1.0)
    assert abs(estimates.mean() / slope - 1) < 0.02


def test_gumbel_becomes_the_draw():
    """Oracle: the draw u < sigma(l) itself, as the temperature goes to 0."""
    generator = torch.Generator().manual_seed(0)
    logits, u = torch.randn(50, 6, generator=generator), torch.rand(50, 6, generator=generator)
    soft = gumbel_sigmoid(logits, u, 1e-4)
    # One in a thousand of these is undecided even at this temperature.
    assert ((soft > 0.5) == (u < torch.sigmoid(logits))).all()
    assert (soft - soft.round()).abs().mean() < 1e-3
    extremes = gumbel_sigmoid(torch.zeros(2), torch.tensor([0.0, 1 - 2**-24]), 0.1)
    assert extremes.tolist() == [1.0, 0.0]


def test_gumbel_softmax_is_the_formula_of_the_slides():
    """Oracle: exp((log w_k + g_k) / T) over its sum, in numpy, for weights of any sum."""
    rng = np.random.default_rng(0)
    w, u = rng.random((5, 4)) + 0.1, rng.random((5, 4))
    shares = np.exp((np.log(w) - np.log(-np.log(u))) / 0.7)
    found = gumbel_softmax(torch.from_numpy(w).log(), torch.from_numpy(u), 0.7)
    np.testing.assert_allclose(found, shares / shares.sum(1, keepdims=True))


def test_gumbel_softmax_becomes_a_draw_of_one_in_k():
    """Oracle: softmax probabilities, with 10^5 draws and 5 standard errors (rate 6e-7 a class); of
    two classes, the distribution of ``gumbel_sigmoid`` (Kolmogorov-Smirnov, rate 1e-6)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    u = torch.rand(100_000, 3, generator=generator, dtype=torch.float64)
    codes = gumbel_softmax(logits, u, 1e-4)
    assert ((codes < 1e-3) | (codes > 1 - 1e-3)).double().mean() > 0.999
    p = torch.softmax(logits, 0)
    error = (codes.mean(0) - p).abs() / (p * (1 - p) / len(u)).sqrt()
    assert error.max() < 5
    pairs = gumbel_softmax(torch.tensor([0.8, 0.0], dtype=torch.float64), u[:, :2], 0.6)
    single = gumbel_sigmoid(torch.tensor(0.8, dtype=torch.float64), u[:, 2], 0.6)
    assert stats.ks_2samp(pairs[:, 0].numpy(), single.numpy()).pvalue > 1e-6


def test_temperatures_fall_by_a_constant_factor():
    gradient = GumbelSigmoid(temperature=2.0, final_temperature=0.5)
    np.testing.assert_allclose([gradient.temperature_at(t) for t in (0, 0.5, 1)], [2, 1, 0.5])


def test_adaptive_noise():
    """Oracles: the definition by hand; without noise it is straight-through."""
    bits, uniforms = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    torch.testing.assert_close(perturb(bits, 0.4, uniforms), torch.tensor([0.8, 0.2]))

    class Silent(AdaptiveNoise):
        def learned(self, n_bits):
            return {"noise_scale": torch.zeros(n_bits)}

    case = Case(SquaredError(), 1.5)
    silent, plain = (case.estimates(g(2), 1.0, 50_000).mean(0) for g in (Silent, StraightThrough))
    scale = np.linalg.norm(plain)
    assert np.linalg.norm(silent - plain) < 0.05 * scale
    noisy = case.estimates(AdaptiveNoise(2), 1.0, 50_000).mean(0)
    assert np.linalg.norm(noisy - plain) > 0.05 * scale


def test_noise_scales_of_the_encoder_are_learned():
    """Oracle: finite differences of the cost of the perturbed codes, in float64."""
    case, gradient = Case(SquaredError(), 1.5), AdaptiveNoise(2)
    logits = case.logits.repeat(4, 1)
    draws = gradient.draw(logits, torch.Generator().manual_seed(0))

    def cost(scale):
        costs = replace(case.costs(gradient, draws, 0.6), learned={"noise_scale": scale})
        return gradient.surrogate(logits, draws, costs).sum()

    scale = torch.linspace(0.1, 0.4, 6, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(cost(scale), scale)
    for bit, step in enumerate(1e-5 * torch.eye(6, dtype=torch.float64)):
        slope = (cost(scale + step) - cost(scale - step)).item() / 2e-5
        assert found[bit].item() == pytest.approx(slope, rel=1e-6)


def test_straight_through_keeps_the_value():
    soft = torch.tensor([0.3], requires_grad=True)
    hard = straight_through(torch.tensor([1.0]), soft**2)
    hard.backward()
    assert (hard.item(), soft.grad.item()) == (1.0, torch.tensor(0.6).item())
