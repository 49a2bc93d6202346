"""Signals that end a comparison, and processes that must not outlive it."""

import os
import signal
import threading
import time
from contextlib import contextmanager

_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def stopped_like_ctrl_c():
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, so that nothing is lost.

    A signal that the process ignores, as under ``nohup``, stays ignored. Outside the main thread
    nothing can be done.

    Yields
    ------
    received : list of int
        Numbers of the signals that came.
    """
    received, before = [], {}

    def stop(number, frame):
        received.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        for number in filter(None, numbers):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with(parent):
    """End this process soon after its parent has ended, whatever it was ended by.

    Parameters
    ----------
    parent : int
        Number of the parent process.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
