"""A fit leaves the process as it was: torch, numpy, warnings, signals, environment."""

import dis
import gc
import random
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import sklearn
import torch
from batteries import MODELS, X, check_same, data, fresh, outcome
from laboratory import changed, process_state
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from skopu._core.validation import fit_context


@pytest.fixture
def unusual(monkeypatch):
    """A process in which nothing is as it comes, so that to reset a thing is seen as well."""
    before = process_state()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(3)
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    errors = np.seterr(under="warn")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "of a test", UserWarning)
        yield
    np.seterr(**errors)
    signal.signal(signal.SIGUSR1, handler)
    torch.set_num_threads(before["torch: threads"])
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_leaves_the_process_as_it_was(name, unusual):
    """Oracle: all of it before. A fit, one that fails, and every prediction."""
    model = fresh(MODELS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        before = process_state()
        rows, targets = data(model)
        outcome(model.fit(rows, targets), rows)
        assert changed(before) == []
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.full_like(rows, np.nan), targets)
        assert changed(before) == []


@pytest.mark.parametrize("raises", [True, False])
def test_contexts_that_were_not_left_are_undone(raises):
    """Oracle: the state before. Ctrl-C may keep any ``with`` from leaving what it entered."""

    class Leaving(BaseEstimator):
        _parameter_constraints = {}

        @fit_context(prefer_skip_nested_validation=True)
        def fit(self):
            np.errstate(over="ignore").__enter__()
            sklearn.config_context(assume_finite=True).__enter__()
            if raises:
                warnings.catch_warnings().__enter__()
                warnings.simplefilter("ignore", ResourceWarning)
                raise KeyboardInterrupt
            return self

    before, filters = process_state(), warnings.filters
    with pytest.raises(KeyboardInterrupt) if raises else nullcontext():
        Leaving().fit()
    assert changed(before) == []
    assert warnings.filters is filters


def test_an_interruption_in_disguise_is_one():
    """Oracle: numpy's C code, which makes a ValueError of Ctrl-C while it reads a buffer."""

    class Reading(BaseEstimator):
        _parameter_constraints = {}

        @fit_context(prefer_skip_nested_validation=True)
        def fit(self):
            raise ValueError("not a valid PEP 3118 buffer") from KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        Reading().fit()


def test_a_context_cut_while_it_is_entered_ends_in_time():
    """Oracle: the configuration before, also when the traceback is let go of.

    The generator of an inner context is still waiting then, to put back that of the fit.
    """

    @contextmanager
    def changing():
        inner = sklearn.get_config()
        try:
            yield
        finally:
            sklearn.set_config(**inner)

    class Entering(BaseEstimator):
        _parameter_constraints = {}

        @fit_context(prefer_skip_nested_validation=True)
        def fit(self):
            def trace(frame, event, argument):
                if frame.f_code is not type(changing()).__enter__.__code__:
                    return None
                frame.f_trace_opcodes = True
                code = frame.f_code.co_code[frame.f_lasti]
                if event == "opcode" and dis.opname[code].startswith("RETURN"):
                    sys.settrace(None)
                    raise KeyboardInterrupt
                return trace

            sys.settrace(trace)
            with changing():
                pass

    before, present = sklearn.get_config(), sys.gettrace()
    try:
        with pytest.raises(KeyboardInterrupt) as found:
            Entering().fit()
    finally:
        sys.settrace(present)
    assert sklearn.get_config() == before
    del found
    gc.collect()
    assert sklearn.get_config() == before


# scikit-learn says so where a thread of its own has emptied the filters that it hands on.
@pytest.mark.filterwarnings("ignore:`sklearn.utils.parallel.delayed` should be used:UserWarning")
def test_trees_that_grow_in_threads_leave_the_filters():
    """Oracle: the list before. Of 300 fits of scikit-learn's own, 37 leave another."""
    model, filters, present = (
        fresh(MODELS["TreeBinarizer"]),
        warnings.filters,
        sys.getswitchinterval(),
    )
    rows = np.random.default_rng(0).standard_normal((40, 30))
    before = list(filters)
    sys.setswitchinterval(1e-5)
    try:
        with threadpool_limits(4, user_api="openmp"):
            for _ in range(30):
                model.fit(rows, rows[:, 0])
                assert warnings.filters is filters
                assert filters == before
    finally:
        sys.setswitchinterval(present)
        warnings.filters, filters[:] = filters, before


FIRST = """
import os, signal, sys, warnings
import numpy as np
import skopu
def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    # An optimizer of torch sets one when it is first used.
    ours = {name: value for name, value in os.environ.items() if "INDUCTOR" not in name}
    return ours, np.geterr(), handlers, os.getcwd()
assert "torch" not in sys.modules
X = np.random.default_rng(0).normal(size=(20, 3))
before, filters = state(), list(warnings.filters)
skopu.SupervisedBinarizer(4, n_components=8, max_iter=2).fit(X, X[:, 0]).transform(X)
assert "torch" in sys.modules
for old, new in zip(before, state()):
    assert new == old, (old, new)
assert [kept for kept in warnings.filters if kept in filters] == filters  # torch adds its own
print("as it was")
"""


def test_the_first_fit_loads_torch_and_changes_nothing_else():
    """Oracle: a fresh process."""
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True)
    assert done.stdout == "as it was\n", done.stderr


def test_a_strict_process_changes_no_fit():
    """Oracle: the fits in a process as it comes. It is strict with its owner's work."""
    expected = {name: outcome(fresh(model).fit(*data(model)), X) for name, model in MODELS.items()}
    with warnings.catch_warnings(), np.errstate(all="raise"):
        for category in (RuntimeWarning, DeprecationWarning, FutureWarning):
            warnings.simplefilter("error", category)
        with sklearn.config_context(transform_output="pandas", assume_finite=True):
            for name, model in MODELS.items():
                check_same(outcome(fresh(model).fit(*data(model)), X), expected[name], name)
