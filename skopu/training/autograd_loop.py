"""The training loop of models that torch differentiates and an optimizer steps."""

from skopu.training.loop import Loop


class AutogradLoop(Loop):
    """A loop whose minibatch is a surrogate to differentiate and a step of an optimizer.

    A subclass writes ``surrogate``.

    Parameters
    ----------
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
        With the first learning rates; those of a step are these times ``rate``.
    **settings : dict
        As for ``Loop``.
    """

    def __init__(self, module, optimizer, **settings):
        self.optimizer = optimizer
        self._first_rates = [group["lr"] for group in optimizer.param_groups]
        # Counted by the optimizer itself, before anybody else hears of the step: a hook of
        # somebody else's that raises must not leave a step that was made and not counted.
        self._hook = optimizer.register_step_post_hook(lambda *_: self.count(*self._found))
        super().__init__(module, **settings)

    def surrogate(self):
        """Return (loss to report, surrogate to differentiate, passes so far) of a minibatch."""
        raise NotImplementedError(f"{type(self).__name__} must implement surrogate")

    def compute(self):
        """Differentiate the surrogate of a minibatch."""
        loss, surrogate, n_passes = self.surrogate()
        self.optimizer.zero_grad()
        surrogate.backward()
        self._found = loss, n_passes

    def update(self):
        """Let the optimizer step."""
        for group, first_rate in zip(self.optimizer.param_groups, self._first_rates):
            group["lr"] = first_rate * self.rate
        self.optimizer.step()

    def step_state(self):
        """Return the state of the optimizer."""
        return self.optimizer.state_dict()

    def load_step_state(self, state):
        """Take up the moments of an optimizer; the settings are those of the present one."""
        self.optimizer.load_state_dict(_with_moments(self.optimizer.state_dict(), state))

    def _release(self):
        self._hook.remove()


def _with_moments(present, saved):
    """State of an optimizer with the settings of one and the moments of another."""
    if "optimizers" in present:
        pairs = zip(present["optimizers"], saved["optimizers"], strict=True)
        return {"optimizers": [_with_moments(*pair) for pair in pairs]}
    return {**present, "state": saved["state"]}
