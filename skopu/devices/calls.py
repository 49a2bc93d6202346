"""Calls of a device, none of which is waited for longer than one is willing to."""

from threading import Lock, Thread

from skopu._core.interrupts import uninterrupted


class DeviceCalls:
    """The calls of one device: each waits for one before it that is overdue."""

    def __init__(self):
        self._overdue = None

    def make(self, ask, timeout, take_back):
        """Return ``ask()``; raise ``TimeoutError`` if it takes longer than ``timeout`` seconds.

        Python cannot stop a call that hangs. It is left to itself, what it may still return
        is thrown away, and no other call goes out before it has ended.

        Parameters
        ----------
        ask : callable
        timeout : float or None
        take_back : callable
            Called, in another thread, when an answer came that nobody waits for any more.
        """
        if self._overdue is not None:
            if not self._overdue.has_ended(timeout):
                raise TimeoutError("still busy with an earlier call that did not return")
            self._overdue = None
        if timeout is None:
            return ask()
        errand = _Errand(ask, take_back)
        # An interruption within ``start`` can leave a thread that waits for this one for ever.
        with uninterrupted():
            Thread(target=errand.run, name="skopu device", daemon=True).start()
            self._overdue = errand
        try:
            errand.has_ended(timeout)
        finally:  # also when Ctrl-C ends the wait
            is_late = errand.give_up()
        if is_late:
            raise TimeoutError(f"no answer within timeout={timeout:g} s")
        self._overdue = None
        return errand.answer()


class _Errand:
    """A call in a thread of its own, which may come back too late."""

    def __init__(self, ask, take_back):
        self._ask, self._take_back = ask, take_back
        self._lock, self._outcome, self._is_given_up = Lock(), None, False
        # Open once the thread is through. A plain lock and not an Event or ``Thread.join``, which
        # are written in Python: Ctrl-C amid their lines keeps a lock of theirs closed.
        self._gate, self._is_over = Lock(), False
        self._gate.acquire()

    def run(self):
        """Make the call, in the thread; take back what came too late."""
        try:
            outcome = self._ask(), None
        except BaseException as error:  # handed to the thread that asked
            outcome = None, error
        with self._lock:
            self._outcome = outcome
            is_late = self._is_given_up
        try:
            if is_late:
                self._take_back()
        finally:
            self._is_over = True
            self._gate.release()

    def has_ended(self, timeout):
        """Wait, at most so many seconds (None: for ever); return whether the thread is through."""
        return self._is_over or self._gate.acquire(timeout=-1 if timeout is None else timeout)

    def give_up(self):
        """Wait no longer; return whether there is no answer yet."""
        with self._lock:
            self._is_given_up = self._outcome is None
            return self._is_given_up

    def answer(self):
        """Return what the call returned, or raise what it raised."""
        answer, error = self._outcome
        if error is not None:
            raise error
        return answer
