"""A fit made on the side: it takes the place of the last one when it is whole, or not at all.

Between its first and its last line a fit is neither the old model nor the new one. An error, an
interruption or a device that fails would leave such a mixture behind, and it would predict. So
the method works on a stand-in, and the estimator takes over the stand-in's attributes in one
assignment at the end.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from skopu._core.callbacks import telling_callbacks
from skopu._core.torch_missing import needing_torch

Given = ParamSpec("Given")
Made = TypeVar("Made")
_GOING_ON = "partial_fit", "solve"  # methods


def whole(fit: Callable[Given, Made]) -> Callable[Given, Made]:
    """Decorate a method that fits: what does not end well leaves the estimator as it was.

    The method sees a stand-in with the same attributes, except that a fit that starts anew (not
    ``partial_fit`` or ``solve``, and not under ``warm_start=True``) finds none of those that end in
    an underscore. What the method returns is returned, the estimator in the place of the stand-in.
    Attributes named in the class's ``_carried`` are what the next fit needs to complete this one:
    they go over to the estimator if the method fails, and are gone if it does not.

    Put it below ``fit_context``.
    """

    @wraps(fit)
    def fit_whole(self, *args, **kwargs):
        side, carried = object.__new__(type(self)), getattr(self, "_carried", ())
        goes_on = fit.__name__ in _GOING_ON or getattr(self, "warm_start", False)
        side.__dict__.update(vars(self) if goes_on else _settings(self))
        try:
            with _plain_torch(), needing_torch(), telling_callbacks(side, *args[:2]):
                result = fit(side, *args, **kwargs)
            attributes = {n: v for n, v in vars(side).items() if n not in carried}
            self.__dict__ = attributes  # here, since Ctrl-C can come between any two lines
        except BaseException as error:
            if any(kept is side for kept in getattr(error, "_fits_to_keep", ())):
                self.__dict__ = side.__dict__
            else:
                self.__dict__.update({n: v for n, v in vars(side).items() if n in carried})
            raise
        return self if result is side else result

    return cast("Callable[Given, Made]", fit_whole)


def _plain_torch():
    """Return a context in which torch is as it comes; nobody can have changed it unloaded."""
    if "torch" not in sys.modules:
        return nullcontext()
    from skopu._core.torch_state import plain_torch

    return plain_torch()


def say_what_is_kept(error, estimator):
    """Add to an error that ends a fit how the next one goes on from what was done."""
    error.add_note(
        f"{type(estimator).__name__}: what was done is kept: fit again with warm_start=True to go "
        "on."
    )


def keep_despite(error, estimator):
    """Let what ``estimator`` has by now be kept although its fit ends with ``error``.

    For a fit that a device cuts short: what was learned by then is a model of its own.

    Parameters
    ----------
    error : Exception
        About to be raised.
    estimator : estimator
        ``self`` in a method under ``whole``.

    Returns
    -------
    error : Exception
    """
    error._fits_to_keep = [*getattr(error, "_fits_to_keep", ()), estimator]
    return error


def _settings(estimator):
    """Attributes that no fit has made: parameters, and what scikit-learn keeps beside them."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if not name.endswith("_") or name.startswith("__")
    }
