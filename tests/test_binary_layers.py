"""Binary weights, layers and sign activations against their definitions."""

import copy

import numpy as np
import pytest
import torch

from skopu.discrete.layers import BinaryLinear, ScaledSigns, sign
from skopu.gradients import relaxations
from skopu.optim import Bop
from skopu.training.binary_weight import (
    METHODS,
    BinaryWeight,
    binary_weights,
    set_temperature,
)
from skopu.training.optimizers import make_binary_optimizer

VALUES = [(-1, 1), (0, 1)]
NOISY = ("bop", "ste")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("method", METHODS)
class TestContract:
    def test_values_are_two(self, method, values):
        weight = BinaryWeight((40, 3), generator(), method=method, values=values)
        assert sorted(weight.hard().unique().tolist()) == list(values)
        assert torch.equal(weight.eval()(), weight.hard())

    def test_the_gradient_reaches_every_weight(self, method, values):
        weight = BinaryWeight((4, 3), generator(), method=method, values=values)
        slopes = torch.arange(1.0, 13).reshape(4, 3)
        (weight() * slopes).sum().backward()
        assert (weight.weight.grad > 0).all()

    def test_the_seed_decides(self, method, values):
        first, second, third = (
            BinaryWeight((30,), generator(seed), method=method, values=values)()
            for seed in (0, 0, 1)
        )
        assert torch.equal(first, second)
        assert not torch.equal(first, third)

    def test_states_are_plain_and_load(self, method, values):
        one = BinaryWeight((6,), generator(0), method=method, values=values)
        other = BinaryWeight((6,), generator(1), method=method, values=values)
        other.load_state_dict(copy.deepcopy(one.state_dict()))
        assert torch.equal(one.hard(), other.hard())

    def test_a_linear_loss_is_minimised(self, method, values):
        """Oracle: the minimum of g.w over two values is at the low value where g > 0."""
        weight = BinaryWeight((50,), generator(), method=method, values=values)
        g = torch.randn(50, generator=generator(1))
        optimizer = make_binary_optimizer(weight, learning_rate=0.1, gamma=0.1, tau=0.0)
        for _ in range(100):
            optimizer.zero_grad()
            (weight() * g).sum().backward()
            optimizer.step()
        expected = torch.where(g > 0, float(values[0]), float(values[1]))
        assert torch.equal(weight.hard(), expected)


@pytest.mark.parametrize("values", VALUES)
def test_straight_through_weights(values):
    """Oracle: the value is that of the sign, the gradient that of the value; latent weights
    outside [-1, 1] are clipped when used."""
    weight = BinaryWeight((4,), generator(), values=values)
    weight.weight.data = torch.tensor([-3.0, -0.2, 0.0, 0.7])
    used = weight()
    low, high = values
    assert used.tolist() == [low, low, high, high]
    (used * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert weight.weight.grad.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(weight.weight.detach(), [-1, -0.2, 0, 0.7])


@pytest.mark.parametrize("values", VALUES)
def test_drawn_signs(values):
    """Oracle: shares of 20,000 draws, (1 + l) / 2 of the high value, to 5 standard errors; the
    gradient is that of the value."""
    weight = BinaryWeight((3, 20_000), generator(), method="binaryconnect", values=values)
    latent = torch.tensor([-0.6, 0.0, 0.8])[:, None]
    weight.weight.data = latent.expand(3, 20_000).clone()
    used, high = weight(), values[1]
    assert sorted(used.unique().tolist()) == list(values)
    shares = (used == high).double().mean(1).detach()
    expected = (1 + latent[:, 0]) / 2
    errors = (expected * (1 - expected) / 20_000).sqrt()
    assert ((shares - expected).abs() < 5 * errors).all()
    used.sum().backward()
    assert (weight.weight.grad == 1).all()


def test_scaled_signs():
    """Oracle: the formulas of XNOR-Net by hand, w = (-2, .5, -.25, .25), alpha = .75, n = 4."""
    weight = ScaledSigns((1, 4), generator(), method="real")
    weight.weight.data = torch.tensor([[-2.0, 0.5, -0.25, 0.25]])
    used = weight()
    assert used.tolist() == [[-0.75, 0.75, -0.75, 0.75]]
    (used * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    # g (1/4 + 3/4), but for the first, beyond 1: g / 4
    np.testing.assert_allclose(weight.weight.grad, [[0.25, 2, 3, 4]])
    assert weight.eval()().tolist() == used.tolist()
    assert weight.hard().tolist() == [[-1, 1, -1, 1]]


def test_relaxed_weights_are_those_of_the_relaxations():
    """Oracle: the functions of ``skopu.gradients.relaxations`` on the same draws."""
    soft = BinaryWeight((7,), generator(3), method="sigmoid", values=(-1, 1))
    set_temperature(soft, 0.3)
    expected = 2 * relaxations.sigmoid_surrogate(soft.weight, 0.3) - 1
    torch.testing.assert_close(soft(), expected)
    drawn = BinaryWeight((7,), generator(3), method="gumbel", values=(0, 1))
    set_temperature(drawn, 0.3)
    source = generator(3)
    torch.rand(7, generator=source)  # the start
    uniforms = torch.rand(7, generator=source)
    expected = relaxations.gumbel_sigmoid(drawn.weight, uniforms, 0.3)
    torch.testing.assert_close(drawn(), expected)


@pytest.mark.parametrize("method", ["sigmoid", "gumbel"])
def test_low_temperatures_make_relaxed_weights_binary(method):
    weight = BinaryWeight((200,), generator(), method=method, values=(0, 1))
    set_temperature(weight, 1e-4)
    values = weight().detach()
    assert torch.minimum(values, 1 - values).max() < 1e-3


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("method", NOISY)
def test_adaptive_noise(method, values):
    """Oracle: slides of Lu (2020), 1 - s e and s e between 0 and 1, for uniform e; scales
    outside [0, 1/2] are clipped when used, and prediction has no noise."""
    weight = BinaryWeight((500,), generator(), method=method, values=values, adaptive_noise=True)
    weight.noise.data[:250] = 0.4
    weight.noise.data[250:] = -1.0
    low, high = values
    moved = (weight() - weight.hard()).abs() / (high - low)
    assert moved[:250].max() <= 0.4
    assert moved[:250].mean().item() == pytest.approx(0.2, abs=0.03)  # sd 0.0073: 4 of them
    assert moved[250:].max() == 0
    assert weight.noise[-1] == 0
    assert torch.equal(weight.eval()(), weight.hard())


def test_the_noise_scale_has_a_gradient():
    """Oracle: d/ds of s e (1 - 2 b) for a weight at 0 is e > 0, at 1 is -e < 0."""
    weight = BinaryWeight((30,), generator(), values=(0, 1), adaptive_noise=True)
    weight().sum().backward()
    assert torch.equal(torch.sign(weight.noise.grad), 1 - 2 * weight.hard())


def test_a_weight_may_be_used_twice_in_a_step():
    """As tied weights are: clipping must not disturb the graph of the first use."""
    weight = BinaryWeight((3, 3), generator(), adaptive_noise=True)
    x = torch.randn(2, 3, generator=generator(1))
    (x @ weight() @ weight().T).sum().backward()
    assert torch.isfinite(weight.weight.grad).all()


def test_soft_values():
    """Oracle: latent weights, relaxed values, and for Bop the binary values themselves."""
    ste = BinaryWeight((5,), generator())
    assert torch.equal(ste.soft(), ste.weight)
    bop = BinaryWeight((5,), generator(), method="bop")
    assert torch.equal(bop.soft(), bop.hard())
    soft = BinaryWeight((5,), generator(), method="sigmoid", values=(0, 1))
    torch.testing.assert_close(soft.soft(), torch.sigmoid(soft.weight.detach()))


def test_linear_layer():
    """Oracle: the matrix product."""
    layer = BinaryLinear(5, 3, generator(), method="bop")
    X = torch.randn(4, 5, generator=generator(1))
    torch.testing.assert_close(layer(X), X @ layer.weight.hard().T)
    assert binary_weights(torch.nn.Sequential(layer, torch.nn.ReLU(), layer)) == [layer.weight]


def test_sign_activation():
    """Oracle: sign(0) = 1, and gradient 1 on [-1, 1], 0 outside."""
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
    assert sign(x).tolist() == [-1, -1, 1, 1, 1]
    sign(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_optimizers_take_what_is_theirs():
    """Oracle: binary parameters to Bop, noise scales and the rest to Adam."""
    net = torch.nn.Sequential(
        BinaryLinear(4, 3, generator(), method="bop", adaptive_noise=True),
        torch.nn.BatchNorm1d(3),
        BinaryLinear(3, 2, generator(), method="bop", values=(0, 1)),
    )
    adam, bop = make_binary_optimizer(net, learning_rate=0.1, gamma=0.2, tau=0.3).optimizers
    assert isinstance(bop, Bop)
    assert [g["params"] for g in bop.param_groups] == [
        [net[0].weight.weight],
        [net[2].weight.weight],
    ]
    assert [(g["gamma"], g["tau"], g["values"]) for g in bop.param_groups] == [
        (0.2, 0.3, (-1, 1)),
        (0.2, 0.3, (0, 1)),
    ]
    assert len(adam.param_groups[0]["params"]) == 3


def test_refusals():
    with pytest.raises(ValueError, match="method='bob' must be one of bop, ste"):
        BinaryWeight((2,), generator(), method="bob")
    with pytest.raises(ValueError, match="adaptive_noise=True is for methods 'bop' and 'ste'"):
        BinaryWeight((2,), generator(), method="gumbel", adaptive_noise=True)
