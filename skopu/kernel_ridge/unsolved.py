"""What a ridge has read of its rows, kept until the readout is there.

The rows may have taken hours, or passes of a machine. Whatever ends a fit after they were summed
(Ctrl-C while it is solved, and again while that is dealt with, a chunk that cannot be read, memory
that is missing), the estimator has the sums: they are its own from the first row on, and not handed
over by the handling of an error, which could be cut itself.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from sklearn.exceptions import NotFittedError

from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.systems import FeatureSystem, WideSystem

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Unsolved:
    """Holds what was read; the same object in an estimator and in the stand-in of its fit.

    Attributes
    ----------
    kept : tuple of (dict, NormalEquations or (Phi, Y, weights)), or None
        The fitted attributes of all that is before the readout, and the sums, or, with fewer rows
        than features, these.
    """

    kept = None

    @property
    def n_rows(self):
        """Rows that were read."""
        if self.kept is None:
            return 0
        _, rows = self.kept
        return rows.n_rows if isinstance(rows, NormalEquations) else len(rows[2])


def keeping_rows(fit: Callable[Given, Made]) -> Callable[Given, Made]:
    """Decorate a method that fits: what it has read is kept if it does not end well.

    Put it above ``whole``, and ``_unsolved`` among what is carried: a fit that ends well drops it.
    """

    @wraps(fit)
    def fit_keeping(self, *args, **kwargs):
        unsolved = vars(self).setdefault("_unsolved", Unsolved())
        try:
            return fit(self, *args, **kwargs)
        except BaseException as error:
            if unsolved.n_rows:
                error.add_note(
                    f"{type(self).__name__}: what was read of {unsolved.n_rows} rows is kept: "
                    "solve() fits the readout to it, without the rows."
                )
            else:
                vars(self).pop("_unsolved", None)
            raise

    return cast("Callable[Given, Made]", fit_keeping)


def keep_rows(model, rows, without):
    """Keep ``rows`` of a fit in progress, if its method is one that keeps them.

    Parameters
    ----------
    model : OPURidge
        With all that a fit sets before the readout.
    rows : NormalEquations or (Phi, Y, weights)
    without : list of str
        Attributes of an earlier readout.
    """
    unsolved = vars(model).get("_unsolved")
    if unsolved is not None:
        made = {n: v for n, v in vars(model).items() if n.endswith("_") and n not in without}
        unsolved.kept = made, rows


def take_up(model):
    """Return what a model can be solved from, and set what belongs to it."""
    unsolved = vars(model).get("_unsolved")
    if unsolved is not None and unsolved.n_rows:
        made, rows = unsolved.kept
        for name in [name for name in vars(model) if name.endswith("_")]:
            del vars(model)[name]
        vars(model).update(made)
        return rows
    if hasattr(model, "_equations_"):
        return model._equations_
    raise NotFittedError(
        f"this {type(model).__name__} has no sums of rows to solve: they stay with a model after "
        "fit_chunks, partial_fit and a fit to dask arrays, and after a fit that was cut short."
    )


def system_of(rows, fit_intercept):
    """Return the system of what was read, and the number of its targets."""
    if isinstance(rows, NormalEquations):
        return FeatureSystem(rows, fit_intercept), rows.n_targets
    return WideSystem(*rows, fit_intercept), rows[1].shape[1]
