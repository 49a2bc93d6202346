"""The training loop: minibatches, record, early stop, interruption.

``Loop`` is the ladder of a run, from ``run`` down to the single minibatch; a subclass says what a
minibatch is. :mod:`skopu.training.autograd_loop` has the one for models that torch differentiates
and an optimizer steps; a loop for gradients written by hand derives from ``Loop`` itself.
"""

import math
import time
import warnings
from contextlib import closing, nullcontext
from copy import deepcopy
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from skopu._core.callbacks import Periods
from skopu._core.interrupts import Interrupts
from skopu._core.tensors import to_floats
from skopu.exceptions import DeviceFault, InterruptedFitWarning, PassBudgetError
from skopu.training.history import BestState, History
from skopu.training.optimizers import cosine_decay

_N_RECORDS = 100  # entries that a whole run leaves in the history


class Run(NamedTuple):
    """What a run leaves: minibatches done, the columns of its history, and how it ended.

    ``fault`` is what stopped a device, None if nothing did; ``state`` is what a loop takes as
    ``resume``, None if the run was finished and nobody asked for it. ``was_cut`` says that the
    user cut it short.
    """

    n_iter: int
    history: dict
    fault: Exception | None = None
    state: dict | None = None
    was_cut: bool = False


class Loop:
    """A run: trains until the budget is used, progress stops, a device fails or the user cuts in.

    A subclass writes ``compute``, ``update`` and whatever else of the first group of methods does
    not fit. Everything that changes in a run changes in ``update`` or ``mark``, which nothing
    interrupts: a run that is cut anywhere else goes on as if it had not been.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained; its best state is put back if the user cuts the run short. If a device
        fails, or its budget is used up, it is left as it is after the last complete minibatch.
    max_iter : int
        Budget, in minibatches.
    share : float
        Rows of a minibatch divided by training rows.
    verbose : int, default=0
        Above 0: show a progress bar.
    patience : int or None, default=None
        Records without improvement after which to stop; None: use the whole budget.
    decay : callable, default=cosine_decay
        From ``max_iter`` to the learning rate's factor at an iteration.
    resume : dict or None, default=None
        The ``state`` of a run to go on from: one that was cut short is completed, to one that was
        finished another ``max_iter`` minibatches are added. The module is loaded by the caller.
    keeps_state : bool, default=False
        Whether a finished run returns its state, too.

    Attributes
    ----------
    n_done : int
        Minibatches done, those of earlier runs included.
    rate : float
        The learning rate's factor at the present minibatch.
    """

    description = "training"  # of the progress bar
    validates = False  # whether ``validate`` is to be asked; if not, the training loss stands in

    def compute(self):
        """Do all of a minibatch that may take long; change nothing that ``state`` returns."""
        raise NotImplementedError(f"{type(self).__name__} must implement compute")

    def update(self):
        """Step along what ``compute`` has found, and ``count`` it. Ctrl-C waits for its end."""
        raise NotImplementedError(f"{type(self).__name__} must implement update")

    def validate(self):
        """Return the loss of rows held out."""
        raise NotImplementedError(f"{type(self).__name__} must implement validate")

    def mark(self):
        """Note that all so far is done: from here a run that is cut short will go on."""

    def is_fault(self, error):
        """Whether an exception is a device's: training then ends, and keeps its state."""
        return isinstance(error, DeviceFault)

    def step_state(self):
        """Return numbers, lists and tensors: what ``update`` keeps beside the module."""
        return {}

    def load_step_state(self, state):
        """Take up what ``step_state`` returned."""

    def __init__(
        self,
        module,
        *,
        max_iter,
        share,
        verbose=0,
        patience=None,
        decay=cosine_decay,
        resume=None,
        keeps_state=False,
    ):
        self._module, self._verbose, self._patience = module, verbose, patience
        self._max_iter, self._keeps_state = max_iter, keeps_state
        self._decay = decay(max_iter)
        self._period = max(1, max_iter // _N_RECORDS)
        self._history, self._best = History(share), BestState(module)
        self._losses, self._diverged = [], False
        self.n_done, self.n_passes, self._origin = 0, 0, 0
        if resume is not None:
            self._resume(resume)
        self._n_begun, self._end = self.n_done, self._origin + max_iter

    @property
    def n_since_start(self):
        """Minibatches done, those of finished runs before this one left out."""
        return self.n_done - self._origin

    @property
    def rate(self):
        """The learning rate's factor at the present minibatch."""
        return self._decay(self.n_since_start)

    def run(self):
        """Train to the end, or to where the run is cut short; return the ``Run``."""
        bar = self._make_bar() if self._verbose else nullcontext()
        n_left = self._end - self.n_done
        periods = Periods(self.description, -(-n_left // self._period))
        try:
            with bar, closing(periods), Interrupts() as self._interrupts:
                self._go_on(bar, periods)
            return self._finished()
        except KeyboardInterrupt:
            return self._interrupted()
        except PassBudgetError as reason:
            return self._out_of_passes(reason)
        except Exception as error:
            if not self.is_fault(error):
                raise
            return self._ended(fault=error)

    def count(self, loss, n_passes):
        """Count a minibatch of which ``loss`` is reported, after ``n_passes`` in all.

        A loss may be a tensor, whose value is asked for when a record is due: a card would have to
        be waited for.
        """
        self._losses.append(loss)
        self.n_passes = n_passes
        self.n_done += 1
        # In the same breath: a mark that lags behind the weights would have the next minibatch
        # done with the draws of this one.
        self.mark()

    def _make_bar(self):
        return tqdm(
            total=self._max_iter, initial=self.n_since_start, desc=self.description, unit="it"
        )

    def _go_on(self, bar, periods):
        start, before = time.perf_counter(), self.n_passes
        if self._diverged or self._is_out_of_patience():
            return  # a run that was cut between its last record and its end
        while True:
            if self._is_due():
                n_new = len(self._losses)
                mean_loss = self._record()
                if self._verbose:
                    rate = (self.n_passes - before) / (time.perf_counter() - start)
                    _show(bar, n_new, mean_loss, self.n_passes, rate)
                if self._is_hopeless() or periods.report():
                    return
            if self.n_done >= self._end:
                return
            self._advance()

    def _is_due(self):
        is_last = self.n_done >= self._end
        return bool(self._losses) and (self.n_since_start % self._period == 0 or is_last)

    def _advance(self):
        self._n_begun = self.n_done + 1
        self.compute()
        with self._interrupts.held():
            self.update()

    def _record(self):
        """Write a line of the history, keep the best state; return the mean loss."""
        mean_loss = float(np.mean(to_floats(self._losses)))
        score = self.validate() if self.validates else math.nan
        with self._interrupts.held():
            self._history.record(self.n_done, mean_loss, score, self.n_passes)
            self._best.offer(self.n_done, score if self.validates else mean_loss)
            self._losses, self._diverged = [], not math.isfinite(mean_loss)
            self.mark()
        return mean_loss

    def _is_hopeless(self):
        """Whether to stop before the budget is used."""
        if self._diverged:
            _warn_diverged(self.n_done, self._best.iteration)
        return self._diverged or self._is_out_of_patience()

    def _is_out_of_patience(self):
        return self._patience is not None and self._best.age >= self._patience

    def _finished(self):
        self._release()
        self._restore_best()
        state = self._state(is_finished=True) if self._keeps_state else None
        return Run(self.n_done, self._columns(), None, state)

    def _restore_best(self):
        if self._diverged or self._patience is not None:
            self._best.restore()

    def _interrupted(self):
        # The state to go on from is the last one; the one to use meanwhile is the best.
        run = self._ended()
        self._best.restore()
        _warn_cut(
            f"fit interrupted at iteration {self._n_begun} of {self._end}: the best state, that of "
            f"iteration {self._best.iteration}, is kept and the fit is completed with it."
        )
        return run._replace(n_iter=self._n_begun, was_cut=True)

    def _out_of_passes(self, reason):
        run = self._ended()
        self._restore_best()
        _warn_cut(
            f"fit stopped after iteration {self.n_done} of {self._end}, and is completed with "
            f"what was learned so far: {reason}"
        )
        return run

    def _ended(self, fault=None):
        self._release()
        return Run(self.n_done, self._columns(), fault, self._state(is_finished=False))

    def _release(self):
        """Let go of what is not the loop's own."""

    def _state(self, is_finished):
        """Return numbers, lists and tensors that ``resume`` takes."""
        return {
            "module": deepcopy(self._module.state_dict()),
            "optimizer": self.step_state(),
            "n_done": self.n_done,
            "n_passes": self.n_passes,
            "history": self._history.as_dict(),
            "losses": to_floats(self._losses),
            "diverged": self._diverged,
            "origin": self._origin,
            "best": self._best.as_dict(),
            "is_finished": is_finished,
        }

    def _resume(self, state):
        self.load_step_state(state["optimizer"])
        self.n_done, self.n_passes = state["n_done"], state["n_passes"]
        self._history.load(state["history"])
        if state["is_finished"]:
            self._origin = self.n_done
            return
        self._origin, self._losses = state["origin"], list(state["losses"])
        self._diverged = state["diverged"]
        self._best.load(state["best"])

    def _columns(self):
        """Return the history, with a last line for minibatches that no record was due for."""
        history = deepcopy(self._history)
        if self._losses:
            history.record(
                self.n_done, float(np.mean(to_floats(self._losses))), math.nan, self.n_passes
            )
        return history.as_dict()


def _show(bar, n_done, loss, n_passes, rate):
    bar.update(n_done)
    passes = {"passes": n_passes, "passes/s": f"{rate:.3g}"} if n_passes else {}
    bar.set_postfix(loss=f"{loss:.4g}", **passes)


def _warn_cut(message):
    warnings.warn(message, InterruptedFitWarning, stacklevel=4)


def _warn_diverged(iteration, best_iteration):
    warnings.warn(
        f"the loss is not finite at iteration {iteration}: training stopped and the state of "
        f"iteration {best_iteration} is kept; lower learning_rate.",
        ConvergenceWarning,
        stacklevel=6,
    )
