"""A fit leaves the process as it was: torch, numpy, warnings, signals, environment."""

import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from batteries import MODELS, data, fresh, outcome
from laboratory import changed, process_state


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
