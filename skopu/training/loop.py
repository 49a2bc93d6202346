"""The training loop: steps, learning rate, record, early stop, interruption."""

import math
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from skopu.exceptions import DeviceFault, InterruptedFitWarning, PassBudgetError
from skopu.training.history import BestState, History

_LAST_RATE = 1e-3  # the cosine decay ends at this share of the first learning rate
_BETAS = (0.9, 0.99)  # a shorter memory of squares than Adam's default: runs are short
_N_RECORDS = 100  # entries that a whole run leaves in the history


def minibatches(n_samples, batch_size, seed):
    """Yield index arrays for ever: each epoch visits every row once, in a new order."""
    if n_samples <= batch_size:
        while True:
            yield np.arange(n_samples)
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n_samples)
        # The last, short part of an epoch is left out: its rows come up in later epochs.
        for start in range(0, n_samples - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def make_optimizer(groups):
    """Return the optimizer of encoders and readouts, for parameters or groups of them."""
    return Adam(groups, betas=_BETAS)


def cosine_decay(n_iter):
    """Return the learning rate's factor at an iteration: from 1 down to 1e-3."""
    return lambda done: max(_LAST_RATE, 0.5 * (1 + math.cos(math.pi * done / n_iter)))


def no_decay(n_iter):
    """Return a factor of 1 for every iteration."""
    return lambda done: 1.0


class Run(NamedTuple):
    """What a run leaves: minibatches done, the columns of its history, and how it ended.

    ``fault`` is what stopped a device, None if nothing did; ``state`` is what ``run_loop`` takes
    as ``resume``, None if the run was finished and nobody asked for it.
    """

    n_iter: int
    history: dict
    fault: Exception | None = None
    state: dict | None = None


def is_device_fault(error):
    """Whether an exception is a device's: training then keeps its state."""
    return isinstance(error, DeviceFault)


def run_loop(
    module,
    step,
    optimizer,
    *,
    max_iter,
    share,
    description,
    verbose,
    validate=None,
    patience=None,
    decay=cosine_decay,
    is_fault=is_device_fault,
    mark=None,
    resume=None,
    keeps_state=False,
):
    """Train until the budget is used, progress stops, a device fails, or the user interrupts.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained; its best state is put back if the user cuts the run short. If a device
        fails, or its budget is used up, it is left as it is after the last complete minibatch.
    step : callable
        Returns (loss to report, surrogate to differentiate, passes so far) of a minibatch.
    optimizer : torch.optim.Optimizer
    max_iter : int
        Budget, in minibatches.
    share : float
        Rows of a minibatch divided by training rows.
    description : str
        Of the progress bar.
    verbose : int
        Above 0: show the bar.
    validate : callable or None, default=None
        Returns the validation loss; None: the training loss stands in for it.
    patience : int or None, default=None
        Records without improvement after which to stop; None: use the whole budget.
    decay : callable, default=cosine_decay
        From ``max_iter`` to the learning rate's factor at an iteration.
    is_fault : callable, default=is_device_fault
        Which exceptions of ``step`` and ``validate`` are a device's.
    mark : callable or None, default=None
        Called before every ``step`` and ``validate``, which will be repeated if cut short.
    resume : dict or None, default=None
        The ``state`` of a run to go on from: one that was cut short is completed, to one that was
        finished another ``max_iter`` minibatches are added. The module is loaded by the caller.
    keeps_state : bool, default=False
        Whether a finished run returns its state, too.

    Returns
    -------
    run : Run
    """
    tasks = _Tasks(step, validate, mark or (lambda: None))
    loop = _Loop(module, tasks, optimizer, max_iter, share, patience, decay, resume)
    bar = tqdm(
        total=max_iter,
        initial=loop.n_done - loop.origin,
        disable=not verbose,
        desc=description,
        unit="it",
    )
    fault, state, n_iter, keep_best = None, None, None, patience is not None
    try:
        loop.run(bar)
    except KeyboardInterrupt:
        # The state to go on from is the last one; the one to use meanwhile is the best.
        state, keep_best, n_iter = loop.state(is_finished=False), True, loop.n_begun
        _warn_cut(
            f"fit interrupted at iteration {n_iter} of {loop.end}: the best state, that of "
            f"iteration {loop.best.iteration}, is kept and the fit is completed with it."
        )
    except PassBudgetError as reason:
        state, n_iter = loop.state(is_finished=False), loop.n_done
        _warn_cut(
            f"fit stopped after iteration {n_iter} of {loop.end}, and is completed with what was "
            f"learned so far: {reason}"
        )
    except Exception as error:
        if not is_fault(error):
            raise
        fault, state, keep_best = error, loop.state(is_finished=False), False
    finally:
        bar.close()
    if keep_best or loop.diverged:
        loop.best.restore()
    if state is None and keeps_state:
        state = loop.state(is_finished=True)
    return Run(loop.n_done if n_iter is None else n_iter, loop.columns(), fault, state)


class _Tasks(NamedTuple):
    """What the caller does in a run."""

    step: Callable
    validate: Callable | None
    mark: Callable


class _Loop:
    """A run in progress: everything that has to be kept in order to go on."""

    def __init__(self, module, tasks, optimizer, max_iter, share, patience, decay, resume):
        self._module, self._tasks, self._optimizer = module, tasks, optimizer
        self._patience = patience
        self._period = max(1, max_iter // _N_RECORDS)
        self.history, self.best = History(share), BestState(module)
        self.losses, self.n_done, self.n_passes, self.origin = [], 0, 0, 0
        self.n_begun, self.diverged = 0, False
        if resume is not None:
            self._resume(resume)
        self.end = self.origin + max_iter
        # A scheduler that does not begin at 0 wants to know the first rates.
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        done = self.n_done - self.origin
        self._schedule = LambdaLR(optimizer, decay(max_iter), last_epoch=done - 1)

    def _resume(self, state):
        self._optimizer.load_state_dict(
            _with_moments(self._optimizer.state_dict(), state["optimizer"])
        )
        self.n_done = self.n_begun = state["n_done"]
        self.n_passes = state["n_passes"]
        self.history.load(state["history"])
        if state["is_finished"]:
            self.origin = self.n_done
            return
        self.origin, self.losses = state["origin"], list(state["losses"])
        self.best.load(state["best"])

    def state(self, is_finished):
        """Return numbers, lists and tensors that ``resume`` takes."""
        return {
            "module": deepcopy(self._module.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "n_done": self.n_done,
            "n_passes": self.n_passes,
            "history": self.history.as_dict(),
            "losses": list(self.losses),
            "origin": self.origin,
            "best": self.best.as_dict(),
            "is_finished": is_finished,
        }

    def columns(self):
        """Return the history, with a last line for minibatches that no record was due for."""
        history = deepcopy(self.history)
        if self.losses:
            history.record(self.n_done, float(np.mean(self.losses)), math.nan, self.n_passes)
        return history.as_dict()

    def run(self, bar):
        """Go on to the end; what is cut short by an exception can be resumed."""
        start, before = time.perf_counter(), self.n_passes
        while True:
            if self._is_due():
                n_new = len(self.losses)
                mean_loss = self._record()
                seconds = time.perf_counter() - start
                _show(bar, n_new, mean_loss, self.n_passes, (self.n_passes - before) / seconds)
                if not math.isfinite(mean_loss):
                    self.diverged = True
                    _warn_diverged(self.n_done, self.best.iteration)
                    return
                if self._patience is not None and self.best.age >= self._patience:
                    return
            if self.n_done >= self.end:
                return
            self._advance()

    def _is_due(self):
        done = self.n_done - self.origin
        return bool(self.losses) and (done % self._period == 0 or self.n_done >= self.end)

    def _advance(self):
        self.n_begun = self.n_done + 1
        self._tasks.mark()
        loss, surrogate, self.n_passes = self._tasks.step()
        self._optimizer.zero_grad()
        surrogate.backward()
        self._optimizer.step()
        self._schedule.step()
        self.losses.append(loss)
        self.n_done += 1

    def _record(self):
        """Write a line of the history, keep the best state; return the mean loss."""
        mean_loss, score = float(np.mean(self.losses)), math.nan
        if self._tasks.validate:
            self._tasks.mark()
            score = self._tasks.validate()
        self.history.record(self.n_done, mean_loss, score, self.n_passes)
        self.best.offer(self.n_done, score if self._tasks.validate else mean_loss)
        self.losses = []
        return mean_loss


def _with_moments(present, saved):
    """State of an optimizer with the settings of one and the moments of another."""
    if "optimizers" in present:
        pairs = zip(present["optimizers"], saved["optimizers"], strict=True)
        return {"optimizers": [_with_moments(*pair) for pair in pairs]}
    return {**present, "state": saved["state"]}


def _show(bar, n_done, loss, n_passes, rate):
    bar.update(n_done)
    passes = {"passes": n_passes, "passes/s": f"{rate:.3g}"} if n_passes else {}
    bar.set_postfix(loss=f"{loss:.4g}", **passes)


def _warn_cut(message):
    warnings.warn(message, InterruptedFitWarning, stacklevel=3)


def _warn_diverged(iteration, best_iteration):
    warnings.warn(
        f"the loss is not finite at iteration {iteration}: training stopped and the state of "
        f"iteration {best_iteration} is kept; lower learning_rate.",
        ConvergenceWarning,
        stacklevel=5,
    )
