"""The training loop: its two kinds of steps, and every way in which a run can end."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from skopu.exceptions import DeviceFault, InterruptedFitWarning, PassBudgetError
from skopu.training.autograd_loop import AutogradLoop
from skopu.training.loop import Loop
from skopu.training.optimizers import cosine_decay, make_optimizer, no_decay

TARGET = torch.tensor([1.0, -2.0, 3.0])
RATE = 0.1


def make_module():
    module = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    return module


class Draws:
    """Random draws of a run, as a device's model has them: to be repeated if a step is cut."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)
        self.marked = self.generator.get_state()

    def next(self):
        return 0.1 * torch.randn(3, generator=self.generator)

    def mark(self):
        self.marked = self.generator.get_state()

    def rewind(self):
        self.generator.set_state(self.marked)


class Descent(Loop):
    """Gradient descent written by hand: no optimizer, and no automatic differentiation."""

    def __init__(self, module, draws, **settings):
        super().__init__(module, **settings)
        self.weight, self.draws = module.weight, draws

    def compute(self):
        with torch.no_grad():
            self.error = self.weight[0] - TARGET + self.draws.next()

    def update(self):
        with torch.no_grad():
            self.weight -= RATE * self.rate * 2 * self.error
        self.count(self.error.square().sum().item(), n_passes=self.n_done + 1)

    def mark(self):
        self.draws.mark()


class Differentiated(AutogradLoop):
    """The same by torch."""

    def __init__(self, module, draws, optimizer=None, **settings):
        super().__init__(module, optimizer or torch.optim.SGD([module.weight], RATE), **settings)
        self.weight, self.draws = module.weight, draws

    def surrogate(self):
        loss = (self.weight[0] - TARGET + self.draws.next()).square().sum()
        return loss.item(), loss, self.n_done + 1

    def mark(self):
        self.draws.mark()


def start(kind, draws=None, **settings):
    """Return a loop at its start and its module."""
    module = make_module()
    settings = {"max_iter": 40, "share": 1.0, **settings}
    return kind(module, draws or Draws(), **settings), module


@pytest.mark.parametrize("decay", [cosine_decay, no_decay])
def test_gradients_by_hand_and_by_torch_make_the_same_run(decay):
    """Oracle: each other."""
    runs, modules = [], []
    for kind in (Descent, Differentiated):
        loop, module = start(kind, decay=decay)
        runs.append(loop.run())
        modules.append(module)
    torch.testing.assert_close(modules[0].weight, modules[1].weight)
    np.testing.assert_allclose(runs[0].history["loss"], runs[1].history["loss"], rtol=1e-5)
    assert runs[0].n_iter == runs[1].n_iter == 40
    assert runs[0].history["n_passes"] == runs[1].history["n_passes"] == list(range(1, 41))
    assert (modules[0].weight[0] - TARGET).abs().max() < 0.2


class Cut(Differentiated):
    """Raises an exception in one of its methods, when 11 minibatches are done."""

    place, error = None, KeyboardInterrupt

    def _meet(self, place):
        if place == self.place and self.n_done == 11:
            raise self.error

    def surrogate(self):
        found = super().surrogate()
        self._meet("surrogate")
        return found

    def validate(self):
        loss = (self.weight[0] - TARGET + self.draws.next()).square().sum().item()
        self._meet("validate")
        return loss


def completed(cut_by, validates, make_optimizer):
    """Run to the end, in two pieces if ``cut_by`` is a function that prepares the first."""
    draws = Draws()
    module = make_module()
    settings = {"max_iter": 40, "share": 1.0}
    loop = Cut(module, draws, make_optimizer(module), **settings)
    loop.validates = validates
    if cut_by is not None:
        remove = cut_by(loop)
        with pytest.warns(InterruptedFitWarning, match="interrupted at iteration"):
            state = loop.run().state
        remove()
        module = make_module()
        module.load_state_dict(state["module"])
        draws.rewind()
        loop = Cut(module, draws, make_optimizer(module), resume=state, **settings)
        loop.validates = validates
    run = loop.run()
    return module.weight.detach().numpy(), {**run.history, "seconds": None}


def in_method(name):
    def prepare(loop):
        loop.place = name
        return lambda: None

    return prepare


def in_hook(register):
    """Ctrl-C in somebody else's hook on the optimizer's step."""

    def prepare(loop):
        def hook(optimizer, *_):
            if loop.n_done == 11:
                raise KeyboardInterrupt

        return register(hook).remove

    return prepare


@pytest.mark.parametrize(
    ("cut_by", "validates"),
    [
        (in_method("surrogate"), False),
        (in_method("validate"), True),
        (in_hook(register_optimizer_step_pre_hook), True),
        (in_hook(register_optimizer_step_post_hook), True),
        (in_hook(register_optimizer_step_post_hook), False),
    ],
    ids=["surrogate", "validate", "before the step", "after the step", "nothing held out"],
)
def test_what_is_cut_is_completed(cut_by, validates):
    """Oracle: the run that nobody cut, draws and record included, to the last bit."""

    def make(module):
        return make_optimizer([{"params": module.parameters(), "lr": 0.05}])

    whole = completed(None, validates, make)
    found = completed(cut_by, validates, make)
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_equal(found[1], whole[1])


def test_an_interrupted_run_keeps_the_best_state():
    """Oracle: the weights at the lowest validation loss, which was at the sixth minibatch."""

    class Worse(Descent):
        validates = True

        def validate(self):
            if self.n_done == 6:
                self.best = self.weight.detach().clone()
            if self.n_done == 20:
                raise KeyboardInterrupt
            return abs(self.n_done - 6)

    loop, module = start(Worse)
    with pytest.warns(InterruptedFitWarning, match="at iteration 20 of 40.*that of iteration 6"):
        run = loop.run()
    assert torch.equal(module.weight, loop.best)
    assert not torch.equal(run.state["module"]["weight"], loop.best)


@pytest.mark.parametrize(
    ("error", "warning"), [(DeviceFault, None), (PassBudgetError, "stopped after iteration 11")]
)
def test_a_device_ends_a_run_with_its_last_state(error, warning):
    """Oracle: a run of as many minibatches, at a constant rate."""
    short, expected = start(Differentiated, max_iter=11, decay=no_decay)
    short.run()
    loop, module = start(Cut, decay=no_decay)
    loop.place, loop.error = "surrogate", error("refused")
    if warning is None:
        run = loop.run()
        assert run.fault is loop.error
    else:
        with pytest.warns(InterruptedFitWarning, match=warning):
            run = loop.run()
        assert run.fault is None
    assert run.n_iter == 11
    assert torch.equal(module.weight, expected.weight)
    assert run.state["n_done"] == 11


def test_other_errors_are_raised():
    loop, _ = start(Cut)
    loop.place, loop.error = "surrogate", ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        loop.run()


class Explodes(Descent):
    """Has an infinite loss from the tenth minibatch on."""

    def compute(self):
        super().compute()
        if self.n_done >= 9:
            self.error = self.error * torch.inf


def test_divergence_goes_back_to_the_best_state():
    """Oracle: the weights before the loss was infinite."""
    loop, module = start(Explodes)
    with pytest.warns(ConvergenceWarning, match="not finite at iteration 10"):
        loop.run()
    assert torch.isfinite(module.weight).all()


class Stuck(Descent):
    """Is no better after the tenth minibatch."""

    validates = True

    def validate(self):
        return max(10 - self.n_done, 0)


def test_patience():
    """Oracle: the schedule of the losses: three records without a lower one."""
    loop, _ = start(Stuck, patience=3)
    assert loop.run().n_iter == 13


@pytest.mark.parametrize(("kind", "n_iter"), [(Stuck, 13), (Explodes, 10)])
def test_what_ended_as_the_run_was_cut(kind, n_iter):
    """Oracle: the run that nobody cut; it used to go on to the next record."""

    class CutThere(kind):
        def _is_hopeless(self):
            if self.n_done == n_iter:
                raise KeyboardInterrupt
            return super()._is_hopeless()

    patience = 3 if kind is Stuck else None
    loop, module = start(CutThere, patience=patience)
    with pytest.warns(InterruptedFitWarning, match=f"at iteration {n_iter} of 40"):
        state = loop.run().state
    again = kind(module, Draws(), max_iter=40, share=1.0, patience=patience, resume=state)
    assert again.run().n_iter == n_iter


def test_a_finished_run_goes_on():
    """Oracle: the number of minibatches, and the rate, which begins anew."""
    loop, module = start(Descent, keeps_state=True)
    state = loop.run().state
    again = Descent(module, Draws(), max_iter=40, share=1.0, resume=state)
    assert (again.n_done, again.rate) == (40, 1.0)
    run = again.run()
    assert run.n_iter == 80
    assert run.history["iteration"] == list(range(1, 81))
    assert np.all(np.diff(run.history["seconds"]) >= 0)


def test_the_optimizer_is_left_without_a_hook():
    """Oracle: a second run with it counts its own minibatches only."""
    module = make_module()
    optimizer = torch.optim.SGD([module.weight], RATE)
    first, second = (
        Differentiated(module, Draws(), optimizer, max_iter=5, share=1.0) for _ in range(2)
    )
    first._release()
    second.run()
    assert (first.n_done, second.n_done) == (0, 5)


def test_what_a_loop_must_say():
    loop = Loop(make_module(), max_iter=1, share=1.0)
    with pytest.raises(NotImplementedError, match="Loop must implement compute"):
        loop.run()
    for method in (loop.update, loop.validate):
        with pytest.raises(NotImplementedError, match="Loop must implement"):
            method()
