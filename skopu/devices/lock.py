"""One call of a device at a time, and no longer than one is willing to wait."""

from threading import Lock, RLock, Thread


class DeviceLock:
    """The one way to a device: calls wait for each other, also for one that is overdue."""

    def __init__(self):
        self._lock, self._overdue = RLock(), None

    def __enter__(self):
        self._lock.acquire()
        return self

    def __exit__(self, *args):
        self._lock.release()

    def call(self, ask, timeout, take_back):
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
            self._overdue.join(timeout)
            if self._overdue.is_alive():
                raise TimeoutError("still busy with an earlier call that did not return")
            self._overdue = None
        if timeout is None:
            return ask()
        errand = _Errand(ask, take_back)
        thread = Thread(target=errand.run, name="skopu device", daemon=True)
        self._overdue = thread
        thread.start()
        try:
            thread.join(timeout)
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

    def run(self):
        try:
            outcome = self._ask(), None
        except BaseException as error:  # handed to the thread that asked
            outcome = None, error
        with self._lock:
            self._outcome = outcome
            is_late = self._is_given_up
        if is_late:
            self._take_back()

    def give_up(self):
        """Wait no longer; return whether there is no answer yet."""
        with self._lock:
            self._is_given_up = self._outcome is None
            return self._is_given_up

    def answer(self):
        answer, error = self._outcome
        if error is not None:
            raise error
        return answer
