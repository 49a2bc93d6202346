"""The record of a training run."""

import time


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

    def as_dict(self):
        """Return the columns as a dict of lists."""
        names = ("iteration", "epoch", "loss", "validation_loss", "n_passes", "seconds")
        columns = zip(*self._rows) if self._rows else ([] for _ in names)
        return {name: list(column) for name, column in zip(names, columns)}
