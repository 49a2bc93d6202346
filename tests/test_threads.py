"""Threads of ours and Ctrl-C: whenever it comes, nothing is waited for that will never be."""

import signal
import sys
import threading
import time

import numpy as np
import pytest

from skopu.devices import SimulatedOPU
from skopu.devices.meter import Meter
from skopu.devices.threads import run_tasks

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer"),
    # One that comes in a callback of the garbage collector is reported, and raised no further.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class StillWaiting(BaseException):
    """Longer than any of the work takes."""


@pytest.fixture(autouse=True)
def own_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def raised_at(number, work):
    """Call ``work``, with SIGINT at so many of its calls, those within Python's library too.

    Where Python looks for signals: at the beginning of its functions, and after those in C.
    Returns whether there were so many, and raises ``StillWaiting`` if the work hangs.
    """
    left = number

    def see(frame, event, argument):
        nonlocal left
        left -= event in ("call", "c_return")
        if not left:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    def give_up(*args):
        raise StillWaiting(f"after a signal at call {number}")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        sys.setprofile(see)
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return left <= 0


def at_every_call(work):
    """``raised_at`` each call of the work, until it ends before the signal; return how many."""
    number = 1
    while raised_at(number, work):
        number += 1
    return number


def test_tasks_end_whenever_ctrl_c_comes():
    """Oracle: the clock."""

    def work(tasks):
        for _ in tasks:
            time.sleep(1e-3)

    assert at_every_call(lambda: run_tasks(work, range(4), 2)) > 50


def test_calls_with_patience_end_whenever_ctrl_c_comes():
    """Oracle: the next call, of another thread, which waits for the lock and what is overdue."""
    meter, answers = Meter(), []

    def ask():
        with meter.lock:
            return meter.calls.make(lambda: 7, 2.0, int)

    def ask_twice():
        try:
            ask()
        finally:
            sys.setprofile(None)
            thread = threading.Thread(target=lambda: answers.append(ask()))
            thread.start()
            thread.join()

    n = at_every_call(ask_twice)
    assert n > 30
    assert len(answers) >= n - 1
    assert set(answers) == {7}


def test_answers_after_ctrl_c(rng):
    """Oracle: the same device, undisturbed."""
    device, codes = SimulatedOPU(0, n_jobs=2), rng.integers(0, 2, size=(40, 30), dtype=np.uint8)
    frames = device.project(codes, 300)
    for number in rng.integers(1, 400, size=40):
        raised_at(int(number), lambda: device.project(codes, 300))
    np.testing.assert_array_equal(device.project(codes, 300), frames)
