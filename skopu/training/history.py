"""The record of a training run, and its best state."""

import math
import time
from copy import deepcopy

_NAMES = ("iteration", "epoch", "loss", "validation_loss", "n_passes", "seconds")


class History:
    """Columns of equal length, one entry a period; plain data once ``as_dict`` is called.

    Columns: ``iteration``, ``epoch`` (times that the training rows have been seen), ``loss`` (mean
    over the period), ``validation_loss`` (NaN where no rows were held out), ``n_passes`` (codes
    through the device so far), ``seconds``.

    Parameters
    ----------
    share : float
        Rows of a minibatch divided by training rows.
    """

    def __init__(self, share):
        self._share, self._start = share, time.perf_counter()
        self._rows = []

    def record(self, iteration, loss, validation_loss, n_passes):
        """Append an entry."""
        seconds = time.perf_counter() - self._start
        epoch = iteration * self._share
        self._rows.append((iteration, epoch, loss, validation_loss, n_passes, seconds))

    def load(self, columns):
        """Go on after the record of an earlier run; ``iteration`` counts on from it."""
        self._rows = list(zip(*(columns[name] for name in _NAMES)))
        if self._rows:
            # Seconds of training add up; those between two fits do not count.
            self._start -= self._rows[-1][-1]

    def as_dict(self):
        """Return the columns as a dict of lists."""
        columns = zip(*self._rows) if self._rows else ([] for _ in _NAMES)
        return {name: list(column) for name, column in zip(_NAMES, columns)}


class BestState:
    """Keeps a copy of the module's state at the lowest score offered so far."""

    def __init__(self, module):
        self._module = module
        self.score, self.iteration, self.age = math.inf, 0, 0
        self._state = deepcopy(module.state_dict())  # a reference would follow the weights

    def offer(self, iteration, score):
        """Keep the present state if ``score`` is the lowest; otherwise age by one."""
        self.age += 1
        if score < self.score:
            self.score, self.iteration, self.age = score, iteration, 0
            self._state = deepcopy(self._module.state_dict())

    def restore(self):
        """Put the kept state back."""
        self._module.load_state_dict(self._state)

    def as_dict(self):
        """Return what ``load`` takes."""
        names = ("score", "iteration", "age", "_state")
        return {name: deepcopy(getattr(self, name)) for name in names}

    def load(self, state):
        """Go on from what ``as_dict`` returned."""
        vars(self).update(state)
