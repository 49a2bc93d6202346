"""Binary quantizer penalties against their formulas."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from skopu.penalties import (
    BASES,
    BinaryQuantizer,
    elastic_net,
    foothill,
    resolve_penalty,
    scad,
    square,
    square_root,
)
from skopu.training.optimizers import cosine_decay

QUANTIZERS = [
    BinaryQuantizer(base, form=form, p=p)
    for base in [*BASES, partial(foothill, gamma=0.5, beta=10.0), torch.abs]
    for form, p in (("shifted", 1.0), ("difference", 1.0), ("difference", 1.5), ("difference", 2.0))
]


@pytest.fixture
def weights(rng):
    return torch.from_numpy(rng.standard_normal((9, 5)))


def name(quantizer):
    """Without the addresses of functions, which are others in each process."""
    return re.sub(r" at 0x\w+", "", str(quantizer))


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=name)
class TestContract:
    def test_minima_are_at_plus_and_minus_alpha(self, quantizer):
        """Oracle: a fine grid; the value at the minima is 0 and 0 is a local maximum."""
        alpha = torch.tensor(0.7, dtype=torch.float64)
        grid = torch.linspace(-2, 2, 401, dtype=torch.float64)
        values = torch.stack([quantizer.value(w, alpha) for w in grid])
        lowest = grid[values.argsort()[:2]].sort().values
        np.testing.assert_allclose(lowest, [-0.7, 0.7], atol=1e-9)
        assert values.min() == pytest.approx(0, abs=1e-9)
        assert values[200] > values[190]
        assert (values[271:].diff() > 0).all()

    def test_it_is_even_in_weights_and_in_the_scale(self, quantizer, weights):
        alpha = torch.tensor(0.4, dtype=torch.float64)
        value = quantizer.value(weights, alpha)
        assert value.shape == ()
        assert quantizer.value(-weights, alpha).item() == pytest.approx(value.item())
        assert quantizer.value(weights, -alpha).item() == pytest.approx(value.item())

    def test_layers_add_up(self, quantizer, weights):
        alpha = torch.tensor(0.4, dtype=torch.float64)
        parts = sum(quantizer.value(row, alpha) for row in weights)
        assert quantizer.value(weights, alpha).item() == pytest.approx(parts.item())

    def test_gradients_agree_with_finite_differences(self, quantizer, weights):
        """Oracle: central differences in every weight and in the scale."""
        alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        away = weights[(weights.abs() > 0.05) & ((weights.abs() - 0.4).abs() > 0.05)]
        assert torch.autograd.gradcheck(quantizer.value, (away.requires_grad_(), alpha))

    def test_gradients_are_finite_at_zero(self, quantizer):
        w = torch.zeros(3, requires_grad=True)
        quantizer.value(w, torch.tensor(0.4)).backward()
        assert torch.isfinite(w.grad).all()

    def test_it_clones(self, quantizer):
        assert repr(clone(quantizer)) == repr(quantizer)


def test_equations(weights):
    """Oracle: equations 6, 7 and 8 written out in numpy."""
    w, a = weights.numpy(), 0.3
    alpha = torch.tensor(a, dtype=torch.float64)
    moved = w - a * np.sign(w)
    expected = (0.5 * moved * np.tanh(50 * moved)).sum()
    found = BinaryQuantizer(partial(foothill, gamma=0.5, beta=100.0), form="shifted")
    assert found.value(weights, alpha).item() == pytest.approx(expected)
    for p in (1, 1.5, 2):
        expected = (np.abs(np.abs(w) - a) ** p).sum()
        assert BinaryQuantizer(p=p).value(weights, alpha).item() == pytest.approx(expected)


def test_bases_are_zero_at_zero():
    zero = torch.zeros(())
    assert [f(zero).item() for f in BASES.values()] == [0] * len(BASES)
    assert square_root(torch.tensor(4.0)).item() == pytest.approx(2, abs=2e-3)


def test_bases_of_the_paper(weights):
    """Oracles: equations 2 and 3 in numpy; for SCAD the slope of Fan and Li, by differences."""
    w = weights.numpy()
    np.testing.assert_allclose(square(weights), w**2)
    np.testing.assert_allclose(elastic_net(weights, 0.3), 0.3 * np.abs(w) + 0.7 * w**2)
    at = torch.linspace(0, 3, 301, dtype=torch.float64)[1:].requires_grad_()
    (slopes,) = torch.autograd.grad(scad(at, 0.6, 3.7).sum(), at)
    at = at.detach().numpy()
    expected = np.where(at <= 0.6, 0.6, np.maximum(3.7 * 0.6 - at, 0) / 2.7)
    np.testing.assert_allclose(slopes, expected, atol=1e-9)


@pytest.mark.parametrize(("p", "statistic"), [(1.0, np.median), (2.0, np.mean)])
def test_the_learned_scale_is_median_or_mean(rng, p, statistic):
    """Oracle: the scale nearest to |w| in absolute and in squared distance, to 1e-3."""
    w = torch.from_numpy(rng.gamma(2, size=2001) * rng.choice([-1, 1], 2001))
    quantizer = BinaryQuantizer(p=p)
    alpha = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    optimizer = Adam([alpha], lr=0.1)
    schedule = LambdaLR(optimizer, cosine_decay(400))
    for _ in range(400):
        optimizer.zero_grad()
        quantizer.value(w, alpha).backward()
        optimizer.step()
        schedule.step()
    assert alpha.item() == pytest.approx(statistic(np.abs(w.numpy())), abs=1e-3)


def test_the_inverse_image_would_miss_the_scale():
    """The guide says that equation 5 means f(alpha): with the inverse image of alpha under
    f = sqrt, alpha squared, the minimum for alpha = 0.7 would be at 0.7^4."""
    grid = torch.linspace(0, 2, 2001, dtype=torch.float64)
    by_inverse = (grid.sqrt() - 0.7**2).abs()
    assert grid[by_inverse.argmin()].item() == pytest.approx(0.7**4, abs=1e-3)


def test_the_strength_grows_with_the_logarithm():
    """Oracle: lambda log t / log T, and the strength itself without a ramp."""
    quantizer = BinaryQuantizer(strength=0.2)
    found = [quantizer.strength_at(t, 50) for t in range(1, 51)]
    np.testing.assert_allclose(found, 0.2 * np.log(np.arange(1, 51)) / math.log(50))
    assert quantizer.strength_at(1, 1) == 0.2
    assert BinaryQuantizer(strength=0.2, ramp=None).strength_at(1, 50) == 0.2


def test_the_scale_starts_at_the_mean_or_where_it_is_given(weights):
    assert BinaryQuantizer().start_scale(weights).item() == pytest.approx(weights.abs().mean())
    assert BinaryQuantizer(scale=1).start_scale(weights).item() == 1


def test_names_and_errors():
    assert resolve_penalty(None) is None
    assert resolve_penalty("absolute").get_params() == BinaryQuantizer().get_params()
    assert {name for name in BASES if resolve_penalty(name).form == "shifted"} == {
        "foothill",
        "scad",
    }
    assert [resolve_penalty(name).base for name in BASES] == list(BASES)
    with pytest.raises(ValueError, match="Did you mean 'foothill'"):
        resolve_penalty("foothil")
    with pytest.raises(ValueError, match="'p' parameter of BinaryQuantizer"):
        resolve_penalty(BinaryQuantizer(p=-1))
