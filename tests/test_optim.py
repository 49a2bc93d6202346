"""Bop against its equations, and several optimizers as one."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from skopu import BinaryMLPClassifier
from skopu.discrete.layers import BinaryLinear
from skopu.optim import Bop, CombinedOptimizer
from skopu.training.autograd_loop import AutogradLoop
from skopu.training.optimizers import make_binary_optimizer


def run(weights, gradients, **settings):
    """Values after each step of Bop, shape (t, n), for gradients (t, n)."""
    w = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    optimizer = Bop([w], **settings)
    values = []
    for gradient in gradients:
        w.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        values.append(w.detach().numpy().copy())
    return np.array(values)


@pytest.mark.parametrize("values", [(-1, 1), (0, 1)])
def test_bop_follows_its_equations(rng, values):
    """Oracle: equations 1 and 2 with their sign rule, one weight at a time in plain Python."""
    low, high = values
    gamma, tau = 0.3, 0.2
    start = rng.choice(values, size=20).astype(float)
    gradients = rng.standard_normal((50, 20))
    expected = np.empty_like(gradients)
    for i in range(20):
        w, m = start[i], 0.0
        for t in range(50):
            m = (1 - gamma) * m + gamma * gradients[t, i]
            if abs(m) >= tau and ((w == high and m > 0) or (w == low and m < 0)):
                w = low + high - w
            expected[t, i] = w
    found = run(start, gradients, gamma=gamma, tau=tau, values=values)
    np.testing.assert_array_equal(found, expected)
    assert (np.diff(expected, axis=0) != 0).sum() > 50


def test_ties_flip_and_zero_does_not():
    """Oracle: the definition. With gamma = 1 the average is the gradient itself."""
    gradients = [[0.25, 0.25 - 1e-9, -0.25, 0.0]]
    assert run([1, 1, 1, 1], gradients, gamma=1.0, tau=0.25).tolist() == [[-1, 1, 1, 1]]
    assert run([1, -1], [[0.0, 0.0]], gamma=1.0, tau=0.0).tolist() == [[1, -1]]
    assert run([0, 1], [[0.0, 0.0]], gamma=1.0, tau=0.0, values=(0, 1)).tolist() == [[0, 1]]


def test_bop_minimises_a_linear_loss(rng):
    """Oracle: the minimum of g.w over signs is at -sign(g), reached in one step here."""
    g = rng.standard_normal(30)
    found = run(rng.choice([-1.0, 1.0], 30), np.tile(g, (5, 1)), gamma=0.1, tau=0.0)
    np.testing.assert_array_equal(found, np.tile(-np.sign(g), (5, 1)))


def test_parameters_without_a_gradient_stay():
    w = torch.ones(3, requires_grad=True)
    Bop([w]).step()
    assert w.tolist() == [1, 1, 1]


def test_settings_belong_to_groups():
    slow, fast = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = Bop([{"params": [slow], "tau": 10.0}, {"params": [fast]}], gamma=1.0)
    slow.grad, fast.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (slow.item(), fast.item()) == (1, -1)


def test_a_scheduler_scales_gamma():
    """Oracle: the average after two gradients of 1 with gamma 1/2, then 1/2 x 1/10."""
    w = torch.ones(1, requires_grad=True)
    optimizer = Bop([w], gamma=0.5, tau=100)
    scheduler = LambdaLR(optimizer, lambda step: 0.1**step)
    for _ in range(2):
        w.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    m = optimizer.state[w]["momentum"].item()
    assert m == pytest.approx(0.5 * 0.95 + 0.05)


def test_closures_are_called_with_gradients_on():
    w = torch.tensor([1.0, -1.0], requires_grad=True)
    optimizer = Bop([w], gamma=1.0)

    def closure():
        optimizer.zero_grad()
        loss = (w * torch.tensor([2.0, 3.0])).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == -1
    assert w.tolist() == [-1, -1]
    other = torch.ones(1, requires_grad=True)
    combined = CombinedOptimizer([], [optimizer, Adam([other])])
    assert combined.step(closure).item() == -5


def test_the_state_goes_on_where_it_stopped(rng):
    """Oracle: the same run without the interruption."""
    gradients = rng.standard_normal((40, 10))
    whole = run(np.ones(10), gradients, gamma=0.1, tau=0.02)
    w = torch.ones(10, dtype=torch.float64, requires_grad=True)
    optimizer = CombinedOptimizer([("w", w)], [Bop([w], gamma=0.1, tau=0.02)])
    for t, gradient in enumerate(gradients):
        if t == 20:
            state = optimizer.state_dict()
            w = w.detach().clone().requires_grad_()
            optimizer = CombinedOptimizer([("w", w)], [Bop([w])])
            optimizer.load_state_dict(state)
        w.grad = torch.tensor(gradient)
        optimizer.step()
    np.testing.assert_array_equal(w.detach().numpy(), whole[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0}, r"gamma=0 must lie in \(0, 1\]"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"tau": -1.0}, "tau=-1.0 must be at least 0"),
        ({"values": (0, 2)}, r"values=\(0, 2\) must be"),
        ({"values": (0, 1)}, r"shape \(2,\) holds -1, and Bop moves between values=\(0, 1\)"),
    ],
)
def test_bop_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        Bop([torch.tensor([1.0, -1.0], requires_grad=True)], **settings)


def test_every_parameter_has_one_optimizer():
    layer = torch.nn.Linear(2, 1)
    torch.nn.init.ones_(layer.weight)
    bop, adam = Bop([layer.weight]), Adam(layer.parameters())
    with pytest.raises(ValueError, match="'weight' was given to Bop and Adam"):
        CombinedOptimizer(layer.named_parameters(), [bop, adam])
    with pytest.raises(ValueError, match="'bias' has no optimizer"):
        CombinedOptimizer(layer.named_parameters(), [bop])
    layer.bias.requires_grad_(False)  # nothing to optimize
    combined = CombinedOptimizer(layer.named_parameters(), [bop])
    with pytest.raises(ValueError, match="takes no further parameters"):
        combined.add_param_group({"params": [layer.bias]})


@pytest.mark.parametrize("values", [(-1, 1), (0, 1)])
def test_the_projects_loop_runs_it(rng, values):
    """Oracle: the teacher that made the targets; Bop finds its weights, Adam its scale.

    Values 0 and 1 have a teacher of these values, and the scale is 3.
    """
    generator = torch.Generator().manual_seed(0)
    X = torch.from_numpy(rng.standard_normal((200, 12))).float()
    teacher = torch.from_numpy(rng.choice(values, size=(1, 12))).float()
    module = torch.nn.ModuleDict(
        {
            "binary": BinaryLinear(12, 1, generator, method="bop", values=values),
            "scale": torch.nn.Linear(1, 1, bias=False),
        }
    )
    torch.nn.init.ones_(module["scale"].weight)
    optimizer = make_binary_optimizer(module, learning_rate=0.05, gamma=0.1, tau=1e-8)

    class Regression(AutogradLoop):
        def surrogate(self):
            error = module["scale"](module["binary"](X)) - 3 * X @ teacher.T
            loss = error.square().mean()
            return loss.item(), loss, 0

    Regression(module, optimizer, max_iter=300, share=1.0).run()
    assert torch.equal(module["binary"].weight.hard(), teacher)
    assert module["scale"].weight.item() == pytest.approx(3, abs=1e-2)


def test_the_misprinted_rule_does_not_learn(monkeypatch):
    """The guide says so of sign(m_t) = sign(m_(t-1)): at most 20 % on digits, where the rule
    with the sign of the weight is above 90 % with the same budget."""

    def flip_by_last_average(self, parameter, group):
        state = self.state[parameter]
        before = state.get("momentum", torch.zeros_like(parameter)).clone()
        state.setdefault("momentum", torch.zeros_like(parameter))
        m = state["momentum"].lerp_(parameter.grad, group["lr"] * group["gamma"])
        flips = (torch.sign(m) == torch.sign(before)) & (m.abs() >= group["tau"])
        parameter.copy_(torch.where(flips, -parameter, parameter))

    X, y = load_digits(return_X_y=True)
    model = BinaryMLPClassifier((256,), max_iter=5, random_state=0)
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    monkeypatch.setattr(Bop, "_flip", flip_by_last_average)
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) < 0.2
