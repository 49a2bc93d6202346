"""Ctrl-C at any moment, by real signals."""

import itertools
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import test_torch_state
import torch
from batteries import MODELS, WARM, check_line, data, outcome, short, short_fit, was_cut
from oracles import BlackBox
from signal_battery import SIGNALLED, signals_in_fits
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.utils.validation import check_is_fitted

from skopu import SupervisedBinarizer
from skopu._core.interrupts import Interrupts, restoring, uninterrupted
from skopu.exceptions import InterruptedFitWarning

# Ctrl-C in the callback of a weak reference is swallowed by Python itself, and the fit goes on.
pytestmark = [
    pytest.mark.usefixtures("default_handler"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Interrupted fits of each kind. In the suite a few; before a release
# SKOPU_INTERRUPTS=500 pytest tests/test_interrupts.py
N_INTERRUPTS = int(os.environ.get("SKOPU_INTERRUPTS", "4"))


X, y = make_friedman1(60, n_features=5, random_state=0)


class TestHeldLines:
    """Oracle: the order in which things are done."""

    def test_the_signal_waits_for_the_end(self):
        done = []

        def work():
            with Interrupts() as interrupts:
                with interrupts.held():
                    with interrupts.held():
                        signal.raise_signal(signal.SIGINT)
                        done.append("inner")
                    done.append("outer")
                done.append("never")

        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["inner", "outer"]

    def test_outside_of_them_it_is_raised_at_once(self):
        with Interrupts() as interrupts:
            with interrupts.held():
                pass
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    @pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
    def test_the_handler_is_put_back(self, error):
        before = signal.getsignal(signal.SIGINT)
        try:
            with uninterrupted():
                assert signal.getsignal(signal.SIGINT) != before
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt):
            pass
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_signal_in_the_last_lines_is_raised_with_the_handler_put_back(self):
        """Oracle: the handler; the signal comes at each instruction of the way out in turn."""
        before = signal.getsignal(signal.SIGINT)
        for number in range(40):
            count = itertools.count()

            def trace(frame, event, argument, number=number, count=count):
                if frame.f_code is not Interrupts.__exit__.__code__:
                    return None
                frame.f_trace_opcodes = True
                if event == "opcode" and next(count) == number:
                    signal.raise_signal(signal.SIGINT)
                return trace

            interrupts, present = Interrupts(), sys.gettrace()
            interrupts.__enter__()
            sys.settrace(trace)
            try:
                interrupts.__exit__(None, None, None)
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(present)
            assert signal.getsignal(signal.SIGINT) is before

    def test_a_driver_keeps_the_handler_that_it_sets_meanwhile(self):
        before = signal.getsignal(signal.SIGINT)
        try:
            with uninterrupted():
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)

    def test_a_signal_that_is_ignored_stays_so(self):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)

    def test_other_threads_do_not_touch_the_handler(self):
        seen = []

        def work():
            with uninterrupted():
                seen.append(signal.getsignal(signal.SIGINT))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [signal.getsignal(signal.SIGINT)]

    def test_a_context_is_left_whatever_comes(self):
        """Oracle: the calls; the signal comes while the context is being left."""
        calls = []

        class Changes:
            def __enter__(self):
                calls.append("enter")

            def __exit__(self, *error):
                signal.raise_signal(signal.SIGINT)
                calls.append("exit")

        with pytest.raises(KeyboardInterrupt), restoring(Changes, Changes):
            calls.append("body")
        assert calls == ["enter", "enter", "body", "exit", "exit"]


def press_ctrl_c(delay, work):
    """Call ``work``, with SIGINT after ``delay`` seconds unless it is done; return if it raised.

    The interruption may be raised by ``work``, or be dealt with inside. A timer of the system
    sends it: one in a thread would have locks, which an interruption may leave locked.
    """
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def fitted_in_pieces(model, rng, seconds, n_cuts=3):
    """Fit with a few interruptions at random times, then complete the fit."""
    model = clone(model).set_params(warm_start=True)
    for delay in rng.uniform(0, seconds, size=n_cuts):
        if not was_cut(model, lambda m, wait=delay: press_ctrl_c(wait, lambda: m.fit(X, y))):
            return model
    return model.fit(X, y)


BEGINNINGS = "train_encoder:", "uninterrupted:", "Interrupts.__enter__:", "Interrupts.held:"


@pytest.mark.parametrize("name", ["binary weights", "EndToEndOPURegressor"])
def test_a_signal_after_the_training_adds_no_run(name):
    """Oracle: the fit that nobody interrupted, its iterations and its passes included.

    It comes at lines between the end of the training and that of the fit; the next fit delivers
    what was trained, does not train on, and asks again for no more than the call that was cut.
    Only where lines begin to be held, for some microseconds, a signal costs the passes.
    """
    _, places = short_fit(name)
    device = WARM[name].get_params()["opu" if name == "binary weights" else "binarizer__opu"]
    rows, n_passes = data(WARM[name]), device.n_passes
    outcome(short(name).fit(*rows), rows[0])
    expected = {device.n_passes - n_passes}
    if name == "EndToEndOPURegressor":
        expected.add(max(expected) + 2 * len(rows[0]))
    first = max(n for n, place in enumerate(places, 1) if place.startswith("Loop.run:"))
    numbers = {place: first + n for n, place in enumerate(places[first:], 1)}  # of each the last
    assert len(numbers) > 60
    for number in list(numbers.values())[::4]:
        n_passes = device.n_passes
        place = check_line(name, number)
        assert device.n_passes - n_passes in expected or place.startswith(BEGINNINGS), place


on_posix = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
# Python swallows an interruption that comes in a destructor; the fit is then not cut.
in_destructors = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@on_posix
@in_destructors
@pytest.mark.parametrize("weights", ["real", "binary"])
@pytest.mark.parametrize("gradient", ["loo", "exact", "quadratic", "adaptive_noise"])
def test_an_interrupted_fit_is_completed_as_if_it_had_not_been(gradient, weights):
    """Oracle: the fit that nobody interrupted, to the last bit."""
    model = SupervisedBinarizer(
        6,
        gradient=gradient,
        weights=weights,
        n_components=48,
        max_iter=30,
        batch_size=20,
        encoder_penalty=1e-3,
        early_stopping=True,
        n_iter_no_change=30,
        random_state=0,
    )
    if gradient != "adaptive_noise":
        model.set_params(opu=BlackBox())
    model.fit(X, y)  # loads what is loaded once
    start = time.perf_counter()
    whole = clone(model).fit(X, y)
    seconds = time.perf_counter() - start
    rng = np.random.default_rng(0)
    for _ in range(N_INTERRUPTS):
        again = fitted_in_pieces(model, rng, seconds)
        assert again.n_iter_ == whole.n_iter_
        np.testing.assert_array_equal(again.coef_, whole.coef_)
        np.testing.assert_array_equal(again.intercept_, whole.intercept_)
        for name in ("iteration", "loss", "validation_loss"):
            np.testing.assert_array_equal(again.history_[name], whole.history_[name])
        assert torch.is_grad_enabled()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@on_posix
@in_destructors
@pytest.mark.filterwarnings("ignore::UserWarning")  # the fits are short, of few rows
@pytest.mark.parametrize("name", SIGNALLED)
def test_signals_in_fits_of_every_estimator(name):
    """Oracles: those of the battery. Before a release ``benchmarks/faults.py --signals 500``."""
    counts = signals_in_fits(name, max(1, N_INTERRUPTS // 2), np.random.default_rng(0))
    assert sum(counts.values()) >= max(1, N_INTERRUPTS // 2)


def test_signals_come_into_every_public_estimator():
    assert {type(m).__name__ for m in SIGNALLED.values()} == {
        type(m).__name__ for m in MODELS.values()
    }


@on_posix
@in_destructors
@pytest.mark.parametrize("name", test_torch_state.MODELS)
def test_an_interruption_leaves_the_process_as_it_was(name):
    """Oracle: torch's state, its threads and the handler, as they were before the fit.

    A first fit is either completed, or leaves the estimator unfitted.
    """
    model = test_torch_state.MODELS[name]
    rows = test_torch_state.CODES if name == "features" else test_torch_state.X
    model = clone(model).fit(rows, test_torch_state.y)
    start = time.perf_counter()
    clone(model).fit(rows, test_torch_state.y)
    seconds = time.perf_counter() - start
    rng, n_threads = np.random.default_rng(0), torch.get_num_threads()
    torch.set_num_threads(n_threads + 1)  # not the number that training sets
    try:
        before = test_torch_state.state()
        for _ in range(N_INTERRUPTS):
            fresh = clone(model)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InterruptedFitWarning)
                was_raised = press_ctrl_c(
                    rng.uniform(0, seconds), lambda m=fresh: m.fit(rows, test_torch_state.y)
                )
            assert test_torch_state.state() == before
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if not was_raised:
                check_is_fitted(fresh)
    finally:
        torch.set_num_threads(n_threads)
