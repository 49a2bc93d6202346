"""Steps that a card records once and then repeats by itself.

A training step is some thirty operations of a few microseconds each, and to start one from Python
takes about as long on a card as all that it does. CUDA graphs start the thirty together. What is
recorded is the function that the processor calls, with its inputs in memory that stays: whatever
changes from step to step has to be a tensor among them.
"""

import warnings

import torch

_N_PLAIN = 2  # calls before the recording: memory is made, libraries and optimizers set up


class Captured:
    """A function of tensors, called as it is on the processor, and repeated by cards.

    Parameters
    ----------
    function : callable
        From tensors to a tuple of tensors and constants. It may write into memory of its own that
        stays where it is, and must not look at values.
    watched : callable
        Gives the tensors that it works on beside its inputs, the first of which tells where: if
        one of them moves, or an input has another shape, it is recorded anew.
    """

    def __init__(self, function, watched):
        self._function, self._watched = function, watched
        self._record = recorder_of(next(iter(watched())))
        self._key, self._recording, self._n_calls = None, None, 0

    def __call__(self, *inputs):
        """Return what the function does; tensors in memory of their own."""
        if self._record is None:
            return self._function(*inputs)
        watched = list(self._watched())
        inputs = [torch.as_tensor(part, device=watched[0].device) for part in inputs]
        key = [(part.data_ptr(), part.shape) for part in watched], [part.shape for part in inputs]
        if key != self._key:
            self._key, self._recording, self._n_calls = key, None, 0
        if self._recording is None:
            self._n_calls += 1
            if self._n_calls <= _N_PLAIN or not self._succeeds(inputs):
                return self._function(*inputs)
        for kept, given in zip(self._inputs, inputs):
            kept.copy_(given)
        self._recording.replay()
        return tuple(
            part.clone() if isinstance(part, torch.Tensor) else part for part in self._outputs
        )

    def _succeeds(self, inputs):
        """Record the function; return whether that went well. Nothing is computed by it."""
        self._inputs = [part.clone() for part in inputs]
        try:
            self._recording, self._outputs = self._record(self._function, self._inputs)
        except RuntimeError as error:
            self._record = None
            warnings.warn(
                "the card could not record the training step, which is started operation by "
                f"operation and takes longer: {error}",
                stacklevel=2,
            )
        return self._record is not None


def recorder_of(tensor):
    """Return what records functions where a tensor is; None on the processor."""
    return _record_graph if tensor.is_cuda else None


def _record_graph(function, inputs):
    """Return a CUDA graph of the function, and the tensors that it will write to."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on to use the card.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function(*inputs)
    return graph, outputs


class RatedStep:
    """Steps of an optimizer, at a factor of its first learning rates.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    is_captured : bool
        Whether cards are to record the step; for Adam.
    """

    def __init__(self, optimizer, is_captured):
        self._optimizer = optimizer
        groups = optimizer.param_groups
        self._first_rates = [float(group["lr"]) for group in groups]
        self._take = optimizer.step
        if is_captured:
            self._take = Captured(self._step, self._tensors)
            if recorder_of(groups[0]["params"][0]) is not None:
                # A number would be recorded with the step.
                for group in groups:
                    rate = torch.tensor(group["lr"], device=group["params"][0].device)
                    group.update(lr=rate, capturable=True)

    def __call__(self, factor):
        """Step."""
        for group, first_rate in zip(self._optimizer.param_groups, self._first_rates):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(first_rate * factor)
            else:
                group["lr"] = first_rate * factor
        self._take()

    def _step(self):
        self._optimizer.step()
        return ()

    def _tensors(self):
        parts = [part for group in self._optimizer.param_groups for part in group["params"]]
        return parts + [part.grad for part in parts if part.grad is not None]
