"""Lines that Ctrl-C must not come between.

An interruption raises ``KeyboardInterrupt`` between any two instructions. Where a state consists
of several parts, such as weights and the count of the steps that made them, it would leave one
part new and the other old, and a run that goes on from there would make a step twice. So the few
lines that change such a state are made whole: the signal waits for their end.
"""

import signal
import threading


class uninterrupted:  # noqa: N801 (reads as a word in ``with uninterrupted():``)
    """Context in which SIGINT is noted, and raised at the end; the handler is always put back.

    In the main thread only, since Python interrupts no other. Keep it short: whoever presses
    Ctrl-C waits for it.

    Examples
    --------
    >>> import signal
    >>> done = []
    >>> try:
    ...     with uninterrupted():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("both")
    ... except KeyboardInterrupt:
    ...     done.append("then interrupted")
    >>> done
    ['both', 'then interrupted']
    """

    def __enter__(self):
        self._is_pending, self._handler = False, None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            # Not a signal that the process ignores, or that something outside Python handles.
            if callable(handler):
                # Kept first: from the next line on nothing can come between.
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error):
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if self._is_pending:
            signal.raise_signal(signal.SIGINT)

    def _note(self, number, frame):
        self._is_pending = True
