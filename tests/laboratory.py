"""The fault laboratory: what can go wrong, as small parts that can be put together.

Drivers that treat memory as camera libraries do, and disks, signals and memory that fail. A test
puts one of them around something that works, and compares with what works.
"""

import decimal
import inspect
import locale
import os
import random
import resource
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_info

import skopu
from skopu.devices import MachineOPU, SimulatedOPU

_PACKAGE = os.path.dirname(skopu.__file__)


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


def ctrl_c_after(seconds, call):
    """Call something, and send this process the signal of Ctrl-C after so many seconds.

    Returns
    -------
    result : object
        What ``call()`` returned; None if the ``KeyboardInterrupt`` came out of it.
    came : bool
        Whether it did.
    """
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            return call(), False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return None, True
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


class InnerCalls:
    """Counts the calls that the package makes of its own functions, and fails at one of them.

    Any point of a fit is reached so, whatever the estimator and without knowing its insides.
    What puts the state of the process back (contexts of signals and of torch) is left out: it has
    nothing that could fail, and the state would be lost.

    Parameters
    ----------
    fails_at : int or None
        Number of the call; None: only ``functions`` is filled, with the name of each call's.
    error : type of exception
    is_held : float, default=0
        For ``KeyboardInterrupt``: above 0, the key is held down, so that the signal comes again, at
        a call that many seconds later and so on.
    """

    _kept_out = tuple(
        f"_core/{name}.py" for name in ("interrupts", "torch_state", "process_state", "fitting")
    )

    def __init__(self, fails_at=None, error=MemoryError, is_held=0.0):
        self.fails_at, self.error, self.n, self.functions = fails_at, error, 0, []
        self.is_held, self._alarm = is_held, None

    def __enter__(self):
        if self.is_held:
            # An exception out of a profile's function ends the profile.
            self._alarm = signal.signal(signal.SIGALRM, lambda *_: sys.setprofile(self._see))
        sys.setprofile(self._see)
        return self

    def __exit__(self, *error):
        self.fails_at = None
        if self.is_held:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._alarm)
        sys.setprofile(None)

    def _see(self, frame, event, argument):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_PACKAGE):
            return
        if code.co_filename.endswith(self._kept_out):
            return
        # To close a generator is a call too, whose error goes to nobody.
        if code.co_flags & inspect.CO_GENERATOR:
            return
        self.n += 1
        if self.fails_at is None:
            self.functions.append(f"{code.co_filename}:{code.co_qualname}")
        elif self.n == self.fails_at or (self.is_held and self.n > self.fails_at):
            sys.setprofile(None)
            if self.is_held:
                signal.setitimer(signal.ITIMER_REAL, self.is_held)
            if self.error is KeyboardInterrupt:  # lines that a signal waits for the end of
                signal.raise_signal(signal.SIGINT)
                return
            raise self.error(f"injected into call {self.n}, of {code.co_qualname}")


class Lines:
    """Counts the lines of the package that are run, and sends the signal of Ctrl-C at one of them.

    No place is left out: what a signal at a random time meets once in a thousand is met at will.

    Parameters
    ----------
    number : int or None
        Of the line; None: none.

    Attributes
    ----------
    places : list of str
        Function of the line and its number in the file; of all lines, if ``number`` is None.
    """

    def __init__(self, number=None):
        self.number, self.n, self.places = number, 0, []

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._see)
        return self

    def __exit__(self, *error):
        sys.settrace(self._before)

    def _see(self, frame, event, argument):
        if event == "call":
            return self._see if frame.f_code.co_filename.startswith(_PACKAGE) else None
        if event == "line":
            self.n += 1
            if self.number in (None, self.n):
                self.places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
            if self.n == self.number:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self._see


def process_state():
    """All that the process has one of, as a dict: what no fit and no prediction may change."""
    # Its first use loads half of torch, which sets a variable and a filter of warnings.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)]).zero_grad()
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch: default dtype": torch.get_default_dtype(),
        "torch: default device": torch.get_default_device(),
        "torch: gradients": torch.is_grad_enabled(),
        "torch: inference": torch.is_inference_mode_enabled(),
        "torch: autocast": torch.is_autocast_enabled("cpu"),
        "torch: precision": torch.get_float32_matmul_precision(),
        "torch: deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch: threads": torch.get_num_threads(),
        "torch: generator": torch.get_rng_state().numpy().tobytes(),
        "numpy: errors": np.geterr(),
        "numpy: generator": (kind, keys.tobytes(), *rest),
        "numpy: printing": np.get_printoptions(),
        "random: generator": random.getstate(),
        "scikit-learn": sklearn.get_config(),
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimals": str(decimal.getcontext()),
        "recursion": sys.getrecursionlimit(),
        "tracing": (sys.gettrace(), sys.getprofile()),
        **{f"threads of {lib['filepath']}": lib["num_threads"] for lib in threadpool_info()},
    }


def changed(before):
    """Names of what is no longer as ``process_state`` found it; new libraries may have come."""
    now = process_state()
    # A library that is loaded on the way may add filters of its own, for its own warnings.
    now["warnings"] = [kept for kept in now["warnings"] if kept in before["warnings"]]
    return [name for name in before if now[name] != before[name]]


def choose_calls(functions, n, rng):
    """Numbers of ``n`` calls, one for each of as many functions if there are.

    Drawn by function and not by call, since most calls are those of a training's steps.
    """
    names = rng.permutation(sorted(set(functions)))[:n]
    calls = np.array(functions)
    return sorted(int(rng.choice(np.flatnonzero(calls == name))) + 1 for name in names)
