"""The fault laboratory: what can go wrong, as small parts that can be put together.

Drivers that treat memory as camera libraries do, and disks, signals and memory that fail. A test
puts one of them around something that works, and compares with what works.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np

from skopu.devices import MachineOPU, SimulatedOPU


class Driver(MachineOPU):
    """A machine whose driver has a way of its own with memory.

    Parameters
    ----------
    how : str
        Name of one of the functions in ``DRIVERS``: (driver, codes, frames) to the answer.
    max_batch : int or None
    fails_at : int or None
        A call that ends with an error, after the driver has done what it does.
    """

    retry_wait = 0

    def __init__(self, how, max_batch=None, fails_at=None):
        self.how, self.max_batch, self.fails_at = how, max_batch, fails_at
        self.buffer = np.zeros((1000, 256), dtype=np.float32)
        self.given, self.kept, self.n_calls = [], {}, 0

    def _project(self, codes, n_components):
        frames = SimulatedOPU(0).project(codes, n_components)
        answer = DRIVERS[self.how](self, codes, frames)
        self.n_calls += 1
        if self.n_calls == self.fails_at:
            raise OSError("glitch")
        return answer


def _view_of_a_buffer(driver, codes, frames):
    view = driver.buffer[: len(frames), : frames.shape[1]]
    view[...] = frames
    return view


def _rewrites_answers(driver, codes, frames):
    for answer in driver.given:
        answer[...] = -1
    driver.given.append(frames)
    return frames


def _answers_from_memory(driver, codes, frames):
    return driver.kept.setdefault((codes.tobytes(), frames.shape), frames)


def _inverts_codes(driver, codes, frames):
    codes ^= 1
    return frames


def _clears_codes(driver, codes, frames):
    codes[...] = 0
    return frames


def _read_only(driver, codes, frames):
    frames.flags.writeable = False
    return frames


def _part_of_wider_frames(driver, codes, frames):
    return np.repeat(frames, 3, axis=1)[:, ::3]


def _backwards(driver, codes, frames):
    return frames[::-1, ::-1].copy()[::-1, ::-1]


DRIVERS = {
    "plain": lambda driver, codes, frames: frames,
    "a view of its buffer": _view_of_a_buffer,
    "rewrites earlier answers": _rewrites_answers,
    "answers from memory": _answers_from_memory,
    "inverts the codes in place": _inverts_codes,
    "clears the codes": _clears_codes,
    "read-only": _read_only,
    "columns first": lambda driver, codes, frames: np.asfortranarray(frames),
    "part of wider frames": _part_of_wider_frames,
    "backwards in memory": _backwards,
    "big-endian": lambda driver, codes, frames: frames.astype(">f4"),
    "big-endian doubles": lambda driver, codes, frames: frames.astype(">f8"),
    "long doubles": lambda driver, codes, frames: frames.astype(np.longdouble),
    "a masked array": lambda driver, codes, frames: np.ma.masked_array(frames),
    "lists": lambda driver, codes, frames: frames.astype(float).tolist(),
}


@contextmanager
def disk_of(n_bytes):
    """Let no file of this process grow beyond that size, as a disk does that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def ctrl_c_after(seconds):
    """Send this process the signal of Ctrl-C in so many seconds of wall-clock time, once.

    The context swallows the ``KeyboardInterrupt``; it yields a list that says whether one came.
    """
    came = []
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield came
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        came.append(True)
    finally:
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGINT, handler)


def killed_after(seconds, script, *arguments):
    """Run a script in another process and end it with SIGKILL; return the lines it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as process:
        first = process.stdout.readline()  # when it is ready
        time.sleep(seconds)
        process.kill()
        return [first.strip(), *process.stdout.read().split()]
