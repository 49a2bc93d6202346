"""A fit of the ensemble that was cut short, and what the next one goes on from."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib

from skopu._core.fitting import say_what_is_kept
from skopu._core.random import draw_seeds
from skopu.cross_fitted.answers import Answers

# Parameters that change nothing of what a fit that was cut short has done.
_FREE = ("opu", "torch_device", "verbose", "warm_start", "random_state")


@dataclass
class Job:
    """A fit in progress.

    Attributes
    ----------
    fingerprint : str
        Of rows and parameters.
    seeds : list of int
    models : FoldModels or None
        The encoders, once they are trained.
    trained : tuple or None
        All that takes no pass, once it is chosen.
    answers : Answers or None
        What the device has answered.
    """

    fingerprint: str
    seeds: list
    models: Any = None
    trained: Any = None
    answers: Answers | None = None


def take_up(model, *rows):
    """Return the job of a fit to these rows: one that was cut short, or a new one."""
    params = model.get_params(deep=False)
    kept = {name: value for name, value in params.items() if name not in _FREE}
    fingerprint, left = joblib.hash([rows, kept]), getattr(model, "_unfinished", None)
    if model.warm_start and left is not None and left.fingerprint == fingerprint:
        return left
    return Job(fingerprint, draw_seeds(model.random_state, 5))


@contextmanager
def telling_what_is_kept(model):
    """Return a context whose errors say how to go on, if there is something to go on from."""
    try:
        yield
    except BaseException as error:
        if getattr(model, "_unfinished", None) is not None:
            say_what_is_kept(error, model)
        raise
