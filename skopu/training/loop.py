"""The training loop: steps, learning rate, record, early stop, interruption."""

import math
import warnings
from copy import deepcopy
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from skopu.exceptions import InterruptedFitWarning
from skopu.training.history import History

_LAST_RATE = 1e-3  # the cosine decay ends at this share of the first learning rate
_BETAS = (0.9, 0.99)  # a shorter memory of squares than Adam's default: runs are short
_N_RECORDS = 100  # entries that a whole run leaves in the history


class BestState:
    """Keeps a copy of the module's state at the lowest score offered so far."""

    def __init__(self, module):
        self._module = module
        self.score, self.iteration, self.age = math.inf, 0, 0
        self._state = deepcopy(module.state_dict())

    def offer(self, iteration, score):
        """Keep the present state if ``score`` is the lowest; otherwise age by one."""
        self.age += 1
        if score < self.score:
            self.score, self.iteration, self.age = score, iteration, 0
            self._state = deepcopy(self._module.state_dict())

    def restore(self):
        """Put the kept state back."""
        self._module.load_state_dict(self._state)


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
    """What a run leaves: minibatches done, and the columns of its history."""

    n_iter: int
    history: dict


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
):
    """Train until the budget is used, progress stops, or the user interrupts.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained; its best state is put back if the run is cut short.
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

    Returns
    -------
    run : Run
    """
    schedule = LambdaLR(optimizer, decay(max_iter))
    period = max(1, max_iter // _N_RECORDS)
    history, best, losses, iteration = History(share), BestState(module), [], 0
    keep_best = patience is not None
    bar = tqdm(total=max_iter, disable=not verbose, desc=description, unit="it")
    try:
        for iteration in range(1, max_iter + 1):
            loss, surrogate, n_passes = step()
            optimizer.zero_grad()
            surrogate.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss)
            if iteration % period and iteration < max_iter:
                continue
            mean_loss = float(np.mean(losses))
            score = validate() if validate else math.nan
            history.record(iteration, mean_loss, score, n_passes)
            best.offer(iteration, score if validate else mean_loss)
            _show(bar, len(losses), mean_loss, n_passes)
            losses = []
            if not math.isfinite(mean_loss):
                keep_best = True
                _warn_diverged(iteration, best.iteration)
                break
            if patience is not None and best.age >= patience:
                break
    except KeyboardInterrupt:
        keep_best = True
        warnings.warn(
            f"fit interrupted at iteration {iteration} of {max_iter}: the best state, that of "
            f"iteration {best.iteration}, is kept and the fit is completed with it.",
            InterruptedFitWarning,
            stacklevel=2,
        )
    finally:
        bar.close()
    if keep_best:
        best.restore()
    return Run(iteration, history.as_dict())


def _show(bar, n_done, loss, n_passes):
    bar.update(n_done)
    bar.set_postfix(loss=f"{loss:.4g}", **({"passes": n_passes} if n_passes else {}))


def _warn_diverged(iteration, best_iteration):
    warnings.warn(
        f"the loss is not finite at iteration {iteration}: training stopped and the state of "
        f"iteration {best_iteration} is kept; lower learning_rate.",
        ConvergenceWarning,
        stacklevel=3,
    )
