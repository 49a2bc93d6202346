"""Fixtures shared by the test files."""

import os

# Before numpy and torch are loaded. The arrays of tests are small: a second thread makes them no
# faster, waits for the first while others could work, and there may be several processes of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import inspect
import signal
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

import skopu


def pytest_configure(config):
    """Let Ctrl-C interrupt, as many tests ask it to, where the shell had it ignored.

    Shells do that to what they start in the background, and children inherit it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def default_handler():
    """Ctrl-C as in a terminal: where the suite runs in the background, the signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def load_real():
    """Load a set from the data folder; skip, saying so, where there is none."""
    folder = os.environ.get("SKOPU_DATA")

    def load(name):
        if folder is None or not Path(folder, f"{name}.npz").exists():
            pytest.skip(f"needs {name}.npz in the folder named by SKOPU_DATA")
        with np.load(Path(folder, f"{name}.npz")) as data:
            return data["X"].astype(np.float64), data["y"]

    return load


@pytest.fixture(params=["cpu:0", "cuda"])
def card(request):
    """Name of a torch device: torch on the processor, and a card where there is one."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a graphics card, and torch sees none here")
    return request.param


@pytest.fixture(scope="session")
def public_estimators():
    """Every public estimator by name."""
    names = {name: getattr(skopu, name) for name in skopu.__all__}
    return {
        name: kind
        for name, kind in names.items()
        if inspect.isclass(kind) and issubclass(kind, BaseEstimator)
    }
