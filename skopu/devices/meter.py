"""What a device and its clones have in common: one count, one budget, one way in."""

from contextlib import contextmanager
from threading import RLock, local

from skopu.devices.calls import DeviceCalls
from skopu.exceptions import PassBudgetError


class Meter:
    """Passes of a device, and what is left of them.

    scikit-learn clones a device wherever an estimator is fitted, and they are the same device:
    they share one meter, so that a budget is spent once and calls wait for each other. A pickle
    or a deep copy is another device, with a meter of its own that goes on from the count.

    Attributes
    ----------
    n_passes : int
        Codes projected so far.
    max_passes : int or None
        Budget.
    n_reserved : int
        Passes of the budget that are set aside.
    lock : RLock
        To be held while any of these is read to be changed, and during a call.
    calls : DeviceCalls
        Makes them.
    last : tuple of ndarray or None
        The last code sent and its frame.
    """

    def __init__(self):
        self.n_passes, self.max_passes, self.n_reserved = 0, None, 0
        # Entered in C: an ``__enter__`` in Python could be interrupted with the lock taken.
        self.lock, self.calls, self.last = RLock(), DeviceCalls(), None
        self._here = local()

    def __getstate__(self):
        # What is set aside is so for a fit that goes on in this process.
        return {"n_passes": self.n_passes, "max_passes": self.max_passes}

    def __setstate__(self, state):
        self.__init__()
        vars(self).update(state)

    def check(self, n_codes, max_passes, name):
        """Raise ``PassBudgetError`` if the budget does not allow so many codes."""
        if max_passes is None:
            return
        left = max_passes - self.n_passes
        if n_codes <= left - self.n_reserved:
            return
        kept = f" (and {self.n_reserved} of them are set aside)" if self.n_reserved else ""
        raise PassBudgetError(
            f"{name} has {max(0, left)} of max_passes={max_passes} left at "
            f"pass {self.n_passes + 1}{kept}, and {n_codes} codes were to be projected: none of "
            "them was sent. Raise max_passes, or use fewer rows, draws or iterations."
        )

    def add(self, n_codes):
        """Count passes."""
        self.n_passes += n_codes
        for tally in self._tallies():
            tally.n_passes += n_codes

    @contextmanager
    def tally(self):
        """Count the passes of this thread within a context."""
        tally = Tally()
        self._tallies().append(tally)
        try:
            yield tally
        finally:
            self._tallies().remove(tally)

    def _tallies(self):
        return self._here.__dict__.setdefault("tallies", [])


class Tally:
    """Passes of one thread."""

    n_passes = 0


class Metered:
    """An object with a meter, which is there from the first look at it."""

    def _read_passes(self):
        return self._meter.n_passes

    def _set_passes(self, count):
        self._meter.n_passes = count

    # Without a docstring: numpydoc would make a link of the attribute's name in every class, to
    # whatever else is called so. What it counts stands under "Attributes".
    n_passes = property(_read_passes, _set_passes)

    def counting(self):
        """Count the passes that this thread makes, whoever else uses the device; a context.

        Yields
        ------
        tally : object
            Its ``n_passes`` are those made so far within the context.
        """
        return self._meter.tally()

    @property
    def _meter(self):
        # Constructors only store. setdefault is atomic, so that there is one also where several
        # threads come first.
        return self.__dict__.setdefault("_kept_meter", Meter())
