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
    pytest.mark.usefixtures("default_handler"),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer"),
    # One that comes in a callback of the garbage collector is reported, and raised no further.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class StillWaiting(BaseException):
    """Longer than any of the work takes."""


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
    """Oracles: the clock, and the count of threads: none works on behind the caller's back."""
    n_threads, left = threading.active_count(), []

    def work(tasks):
        for _ in tasks:
            time.sleep(1e-3)

    def run():
        try:
            run_tasks(work, range(4), 2)
        finally:
            sys.setprofile(None)
            left.append(threading.active_count() - n_threads)

    assert at_every_call(run) > 50
    assert not any(left)


@pytest.mark.parametrize("n_started", [0, 1])
def test_a_thread_that_cannot_be_started(n_started, monkeypatch):
    """Oracle: the system's error, nobody left at work, and calls that go on afterwards."""
    start, calls = threading.Thread.start, Meter().calls

    def refuse(thread):
        nonlocal n_started
        if not n_started:
            raise RuntimeError("can't start new thread")
        n_started -= 1
        start(thread)

    n_threads = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new"):
            run_tasks(lambda tasks: [time.sleep(1e-3) for _ in tasks], range(4), 2)
        with pytest.raises(RuntimeError, match="start new"):
            calls.make(lambda: 7, 2.0, int)
    assert threading.active_count() == n_threads
    assert calls.make(lambda: 7, 2.0, int) == 7


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
