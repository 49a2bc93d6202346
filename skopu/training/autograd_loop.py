"""The training loop of models that torch differentiates and an optimizer steps."""

from skopu.training.capture import Captured, RatedStep
from skopu.training.loop import Loop


class AutogradLoop(Loop):
    """A loop whose minibatch is a surrogate to differentiate and a step of an optimizer.

    A subclass writes ``surrogate``, and ``inputs`` if that takes some.

    Parameters
    ----------
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
        With the first learning rates; those of a step are these times ``rate``.
    is_captured : bool, default=False
        Whether a card is to record minibatch and step and repeat them, see
        :mod:`skopu.training.capture`. Nothing but the inputs may then change between two.
    **settings : dict
        As for ``Loop``.
    """

    def __init__(self, module, optimizer, is_captured=False, **settings):
        self.optimizer = optimizer
        self._differentiate = self._differentiate_inputs
        if is_captured:
            self._differentiate = Captured(self._differentiate_inputs, module.parameters)
        self._step, self._is_counted = RatedStep(optimizer, is_captured), False
        # Counted by the optimizer itself, before anybody else hears of the step: a hook of
        # somebody else's that raises must not leave a step that was made and not counted.
        self._hook = optimizer.register_step_post_hook(self._count_found)
        super().__init__(module, **settings)

    def inputs(self):
        """Return the tensors, or numbers of rows, that ``surrogate`` is given of a minibatch."""
        return ()

    def surrogate(self, *inputs):
        """Return (loss to report, surrogate to differentiate, passes so far) of a minibatch."""
        raise NotImplementedError(f"{type(self).__name__} must implement surrogate")

    def compute(self):
        """Differentiate the surrogate of a minibatch."""
        self._found = self._differentiate(*self.inputs())

    def _differentiate_inputs(self, *inputs):
        loss, surrogate, n_passes = self.surrogate(*inputs)
        self.optimizer.zero_grad()
        surrogate.backward()
        return loss, n_passes

    def update(self):
        """Let the optimizer step."""
        self._is_counted = False
        self._step(self.rate)
        if not self._is_counted:
            # The card has repeated the step, of which the optimizer knows nothing.
            self._count_found()

    def _count_found(self, *_):
        if not self._is_counted:
            self._is_counted = True
            self.count(*self._found)

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
