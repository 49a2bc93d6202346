"""A comparison that is stopped from outside: what is finished is printed, and no process stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skopu.comparison.stopping import stopped_like_ctrl_c

PROGRAM = """
import sys, time
import numpy as np
from sklearn.base import BaseEstimator
from skopu.comparison import cli, options, runner
from skopu.comparison.methods import Method

class Sleeper(BaseEstimator):
    def __init__(self, seconds):
        self.seconds = seconds
    def fit(self, X, y):
        time.sleep(self.seconds)
        return self
    def predict(self, X):
        return np.zeros(len(X))

def make(seconds):
    return lambda task, settings, seed: Sleeper(seconds)

parser = options.make_parser()
methods = {"quick": Method("Quick", make(0)), "slow": Method("Slow", make(100))}
parser.set_defaults(methods=methods)
cli.make_parser = lambda: parser
sys.exit(cli.main(sys.argv[1:]))
"""


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path):
    """Start a comparison and wait for its first row."""
    started = []

    def start(n_jobs):
        errors = tmp_path / "errors"
        command = [sys.executable, "-c", PROGRAM, "--datasets", "diabetes", "--no-figure"]
        with errors.open("w") as file:
            process = subprocess.Popen(
                [*command, "--n-jobs", str(n_jobs)], stdout=subprocess.PIPE, stderr=file, text=True
            )
        started.append(process)
        wait_until(
            lambda: "diabetes  Quick" in errors.read_text() or process.poll() is not None, 120
        )
        return process, errors

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are listed by Linux")
@pytest.mark.parametrize(
    ("number", "n_jobs", "word"),
    [(signal.SIGTERM, 2, "terminated"), (signal.SIGINT, 1, "interrupted")],
)
def test_a_signal_prints_what_is_finished_and_ends_the_workers(running, number, n_jobs, word):
    """Oracle: the row of the quick method, 128 + the signal, and the system's list of processes."""
    process, errors = running(n_jobs)
    workers = children(process.pid)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "diabetes  Quick" in out
    assert f"skopu: {word}; 3 of 6 fits were finished" in errors.read_text()
    wait_until(lambda: not any(Path(f"/proc/{worker}").is_dir() for worker in workers), 10)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are listed by Linux")
def test_workers_do_not_outlive_a_killed_parent(running):
    """Oracle: the system's list of processes; nobody told the workers."""
    process, _ = running(2)
    workers = children(process.pid)
    assert workers
    process.kill()
    wait_until(lambda: not any(Path(f"/proc/{worker}").is_dir() for worker in workers), 15)


def terminate_self():
    with stopped_like_ctrl_c() as received:
        os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_handlers_of_signals_are_put_back():
    """Oracle: the handlers before; a signal that is ignored stays so."""
    before = signal.getsignal(signal.SIGTERM)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            terminate_self()
        assert signal.getsignal(signal.SIGTERM) is before
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, hangup)
