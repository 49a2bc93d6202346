"""Lines that Ctrl-C must not come between.

An interruption raises ``KeyboardInterrupt`` between any two instructions. Where a state consists
of several parts, such as weights and the count of the steps that made them, it would leave one
part new and the other old, and a run that goes on from there would make a step twice. So the few
lines that change such a state are made whole: the signal waits for their end.
"""

import signal
import threading
import time
from contextlib import ExitStack, contextmanager

_PATIENCE = 1.0  # seconds


class Interrupts:
    """SIGINT's handler for the time of a run: passes signals on, except amid lines that are held.

    In the main thread only, since Python interrupts no other. Set once for a run, since to hold
    lines costs a few microseconds, and to set a handler thirty.

    Parameters
    ----------
    one_at_a_time : bool, default=False
        Whether signals that come within a second after one that was passed on wait for the end of
        the run: it is being dealt with, and a key that is pressed twice must not undo that. If it
        ends with ``KeyboardInterrupt``, they have said what it says.

    Examples
    --------
    >>> import signal
    >>> done = []
    >>> try:
    ...     with Interrupts() as interrupts, interrupts.held():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("both")
    ... except KeyboardInterrupt:
    ...     done.append("then interrupted")
    >>> done
    ['both', 'then interrupted']
    """

    def __init__(self, one_at_a_time=False):
        self._one_at_a_time, self._passed_on = one_at_a_time, None

    def __enter__(self):
        # Held itself until the handler stands: what comes meanwhile is raised after the next lines
        # that are held.
        self._n_holds, self._is_pending, self._handler = 1, False, None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            # Not a signal that the process ignores, or that something outside Python handles.
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._handle)
        self._n_holds = 0
        return self

    def __exit__(self, *error):
        self._n_holds += 1
        is_known = self._one_at_a_time and isinstance(error[1], KeyboardInterrupt)
        # Unless a driver has set one of its own meanwhile.
        if self._handler is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._handler)
        if self._is_pending and not is_known:
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def held(self):
        """Context that a signal waits for the end of. Keep it short: somebody waits."""
        self._n_holds += 1
        try:
            yield
        finally:
            self._n_holds -= 1
            if self._is_pending and not self._n_holds:
                self._is_pending = False
                signal.raise_signal(signal.SIGINT)

    def _handle(self, number, frame):
        if self._n_holds or self._is_leaving(frame) or self._is_another():
            self._is_pending = True
        else:
            self._passed_on = time.monotonic()
            self._handler(number, frame)

    def _is_another(self):
        # For a second only: Python itself swallows an interruption in a destructor, and the run
        # goes on.
        return (
            self._one_at_a_time
            and self._passed_on is not None
            and time.monotonic() - self._passed_on < _PATIENCE
        )

    def _is_leaving(self, frame):
        # Python looks for signals at the first instruction of a function, before its first line,
        # so that ``__exit__`` cannot hold itself from its beginning.
        while frame is not None:
            if frame.f_code is Interrupts.__exit__.__code__:
                return frame.f_locals.get("self") is self
            frame = frame.f_back
        return False


@contextmanager
def uninterrupted():
    """Context that SIGINT waits for the end of, where no ``Interrupts`` is at hand."""
    with Interrupts() as interrupts, interrupts.held():
        yield


@contextmanager
def restoring(*makers):
    """Context of several others, none of which Ctrl-C leaves half entered or half left.

    For contexts that change a state of the whole process, such as the number of threads: an
    interruption in their last line would leave it changed for good.

    Parameters
    ----------
    *makers : callable
        Each returns a context manager.
    """
    stack = ExitStack()
    try:
        try:
            with uninterrupted():
                for make in makers:
                    stack.enter_context(make())
            yield
        finally:
            with uninterrupted():
                stack.close()
    finally:
        # Of one that came before the line above had begun; else this finds nothing to do.
        stack.close()
