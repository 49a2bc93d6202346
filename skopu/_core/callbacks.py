"""Scikit-learn's callbacks, which it has from 1.9 on: what a fit tells them, wherever its loop is.

Estimators that train inside others, in rooms that know nothing of them, report to the fit that the
user called: it is kept in a context variable.
"""

from contextlib import contextmanager
from contextvars import ContextVar

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context
except ImportError:  # an older scikit-learn: no estimator has any

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""


_FIT = ContextVar("the estimator of the fit in progress, and its context", default=None)

__all__ = ["CallbackSupportMixin", "Periods", "telling_callbacks"]


@contextmanager
def telling_callbacks(estimator, X=None, y=None):
    """Return a context in which training reports to the callbacks of an estimator, if it has any.

    At its end they are told of the fitted estimator, which a ``ScoringMonitor`` scores.

    Parameters
    ----------
    estimator : estimator
        Being fitted.
    X, y : array-like
        What to.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield
        return
    with callback_management_context(estimator):
        context = estimator._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        token = _FIT.set((estimator, context))
        try:
            yield
        finally:
            _FIT.reset(token)
        fitted = {name: value for name, value in vars(estimator).items() if _is_made(name)}
        context.call_on_fit_task_end(
            estimator=estimator, X=X, y=y, reconstruction_attributes=fitted
        )


class Periods:
    """The periods of one training loop, as a task of the fit in progress.

    Parameters
    ----------
    name : str
        Of the task.
    n_periods : int
        Reports that are to be expected.
    """

    def __init__(self, name, n_periods):
        self._fit, self._task = _FIT.get(), None
        if self._fit is not None:
            estimator, context = self._fit
            self._task = context.subcontext(task_name=name, max_subtasks=n_periods)
            self._task.call_on_fit_task_begin(estimator=estimator)

    def report(self):
        """Tell of a period that is done; return whether a callback wants training to stop."""
        if self._fit is None:
            return False
        estimator, _ = self._fit
        period = self._task.subcontext(task_name="period")
        period.call_on_fit_task_begin(estimator=estimator)
        return period.call_on_fit_task_end(estimator=estimator)

    def close(self):
        """Tell that the loop has ended."""
        if self._fit is not None:
            self._task.call_on_fit_task_end(estimator=self._fit[0])


def _is_made(name):
    """Whether an attribute is one that a fit makes, public or not, and no callback's own."""
    return (name.endswith("_") or name.startswith("_")) and "callback" not in name
