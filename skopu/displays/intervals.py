"""Predictions with their intervals, beside the targets."""

import numpy as np
from scipy.special import ndtri
from sklearn.utils.validation import check_consistent_length, column_or_1d

_HELD, _MISSED, _INTERVAL = "#0072B2", "#D55E00", "#b8b8b8"


class IntervalsDisplay:
    """Targets against predictions, each with its interval.

    A vertical line is an interval, at what was predicted; a point is the target, a cross where it
    is outside. On the dashed diagonal the target is what was predicted. The legend counts: the
    share that is held should be about the coverage that was asked for.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`; the constructor takes what
    the second does.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Targets.
    y_pred : array-like of shape (n_samples,)
        Predictions.
    intervals : array-like of shape (n_samples, 2)
        Lower and upper ends; infinite ones are drawn as far as the axes.
    coverage : float or None, default=None
        The share that the intervals were made to hold, for the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure that holds them.
    held_ : float
        Share of the targets in their intervals, ends included.
    intervals_ : matplotlib LineCollection
        The intervals.
    points_, missed_ : matplotlib Line2D
        Targets in their intervals, and outside.
    line_ : matplotlib Line2D
        The diagonal.

    See Also
    --------
    CrossFittedOPURegressor : Its ``predict_interval`` needs no law of the noise.
    sklearn.metrics.PredictionErrorDisplay : The same without intervals.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import IntervalsDisplay, OPUKernelRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = OPUKernelRidge(kernel="rbf", compute_std=True).fit(X[:300], y[:300])
    >>> display = IntervalsDisplay.from_estimator(model, X[300:], y[300:], coverage=0.8)
    >>> bool(0.7 < display.held_ < 0.9)
    True
    """

    def __init__(self, y_true, y_pred, intervals, *, coverage=None):
        self.y_true = y_true
        self.y_pred = y_pred
        self.intervals = intervals
        self.coverage = coverage

    @classmethod
    def from_estimator(cls, estimator, X, y, *, coverage=0.9, ax=None, **line_kwargs):
        """Predict, and draw.

        Parameters
        ----------
        estimator : regressor
            Fitted, with a ``predict_interval(X, coverage)``; or with a ``predict`` that takes
            ``return_std=True``, whose intervals are then those of a normal law.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows that were not fitted; a few hundred can be told apart.
        y : array-like of shape (n_samples,)
            Their targets.
        coverage : float, default=0.9
            Share of the targets that the intervals should hold, above 0 and below 1.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: a new figure.
        **line_kwargs : dict
            Passed to ``Axes.vlines``, for the intervals.

        Returns
        -------
        display : IntervalsDisplay

        Raises
        ------
        TypeError
            If the estimator has neither.
        """
        y_pred, intervals = _predict(estimator, X, coverage)
        return cls(y, y_pred, intervals, coverage=coverage).plot(ax=ax, **line_kwargs)

    @classmethod
    def from_predictions(cls, y_true, y_pred, intervals, *, coverage=None, ax=None, **line_kwargs):
        """Draw what was predicted before.

        Parameters
        ----------
        y_true, y_pred, intervals, coverage
            As for the class.
        ax, **line_kwargs
            As for :meth:`from_estimator`.

        Returns
        -------
        display : IntervalsDisplay
        """
        return cls(y_true, y_pred, intervals, coverage=coverage).plot(ax=ax, **line_kwargs)

    def plot(self, ax=None, **line_kwargs):
        """Draw the points and their intervals.

        Parameters
        ----------
        ax, **line_kwargs
            As for :meth:`from_estimator`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If the columns are not of one length, or there are several targets.
        """
        # matplotlib is wanted by those who draw only.
        import matplotlib.pyplot as plt

        y_true, y_pred, (low, high) = self._columns()
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        held = (low <= y_true) & (y_true <= high)
        self.held_ = float(held.mean())
        ends = _span(y_true, y_pred, low, high)
        asked = "interval" if self.coverage is None else f"interval for {self.coverage:.0%}"
        style = {"color": _INTERVAL, "linewidth": 1.2, "label": asked, **line_kwargs}
        self.intervals_ = ax.vlines(y_pred, low.clip(*ends), high.clip(*ends), **style)
        (self.line_,) = ax.plot(ends, ends, "--", color="black", linewidth=0.8)
        self.points_, self.missed_ = (
            ax.plot(y_pred[part], y_true[part], mark, color=color, markersize=4, label=label)[0]
            for part, mark, color, label in (
                (held, "o", _HELD, f"target in it, {self.held_:.0%}"),
                (~held, "x", _MISSED, f"outside, {1 - self.held_:.0%}"),
            )
        )
        ax.set(xlabel="prediction", ylabel="target")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _columns(self):
        """Return targets, predictions and the two ends, each (n,)."""
        y_true, y_pred = column_or_1d(self.y_true), column_or_1d(self.y_pred)
        intervals = np.asarray(self.intervals, dtype=float)
        if intervals.ndim != 2 or intervals.shape[1] != 2:
            raise ValueError(
                f"intervals have the shape {intervals.shape}, not (n_samples, 2): draw the targets "
                "of several outputs one by one, as from_predictions(y[:, 0], predicted[:, 0], "
                "intervals[..., 0])."
            )
        check_consistent_length(y_true, y_pred, intervals)
        return y_true, y_pred, intervals.T


def _predict(estimator, X, coverage):
    """Return predictions (n,) and intervals (n, 2)."""
    if hasattr(estimator, "predict_interval"):
        return estimator.predict(X), estimator.predict_interval(X, coverage)
    try:
        mean, std = estimator.predict(X, return_std=True)
    except TypeError:
        raise TypeError(
            f"{type(estimator).__name__} has no predict_interval, nor a predict that takes "
            "return_std=True: take a CrossFittedOPURegressor or an OPUKernelRidge("
            "compute_std=True), or give intervals to from_predictions."
        ) from None
    reach = ndtri((1 + coverage) / 2) * std
    return mean, np.stack([mean - reach, mean + reach], axis=1)


def _span(*columns):
    """Return the least and the largest of all finite values."""
    values = np.concatenate(columns)
    values = values[np.isfinite(values)]
    return values.min(), values.max()
