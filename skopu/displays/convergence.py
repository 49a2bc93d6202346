"""Pictures of training runs."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

_X_AXES = {
    "iteration": "minibatches",
    "epoch": "epochs",
    "n_passes": "device passes",
    "seconds": "seconds",
}


class ConvergenceDisplay:
    """Loss of training runs against minibatches, epochs, device passes or seconds.

    Create it with :meth:`from_estimator`, or with :meth:`from_estimators` for several runs of one
    method, say with different seeds; the constructor takes the columns themselves.

    Several runs make one curve, the geometric mean of their losses, in a band from one standard
    deviation of the logarithm below to one above. If a loss is not above zero, mean and
    standard deviation are those of the losses themselves. Runs of unequal length are drawn as far
    as the shortest, at the mean of their positions on the horizontal axis.

    Parameters
    ----------
    history : dict of lists, or list of these
        A fitted estimator's ``history_``, or those of several. Its columns are of equal length,
        an entry a hundredth of the run: ``iteration`` (minibatches), ``epoch`` (times that the
        rows were seen), ``loss`` (mean since the last entry, without penalties),
        ``validation_loss`` (NaN where no rows were held out), ``n_passes`` (codes through the
        device) and ``seconds``.
    x : {"iteration", "epoch", "n_passes", "seconds"}, default="iteration"
        Column on the horizontal axis.
    name : str or None, default=None
        Label of the curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure that holds them.
    line_ : matplotlib Line2D
        The training loss.
    band_ : matplotlib PolyCollection or None
        The band of the training loss, if there are several runs.
    validation_line_ : matplotlib Line2D or None
        The validation loss, if rows were held out.

    See Also
    --------
    SupervisedBinarizer : Has a ``history_`` after ``fit``.
    EndToEndOPURegressor : Likewise.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import ConvergenceDisplay, SupervisedBinarizer
    >>> X, y = load_diabetes(return_X_y=True)
    >>> binarizer = SupervisedBinarizer(n_bits=8, max_iter=20, random_state=0).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(binarizer, x="n_passes")
    >>> display.ax_.get_xlabel()
    'device passes'
    >>> runs = [binarizer, SupervisedBinarizer(n_bits=8, max_iter=20, random_state=1).fit(X, y)]
    >>> display = ConvergenceDisplay.from_estimators(runs, x="epoch", name="two seeds")
    >>> display.band_ is None
    False
    """

    def __init__(self, history, *, x="iteration", name=None):
        self.history = history
        self.x = x
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, x="iteration", name=None, ax=None, **line_kwargs):
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a ``history_``.
        x : {"iteration", "epoch", "n_passes", "seconds"}, default="iteration"
            Column on the horizontal axis.
        name : str or None, default=None
            Label of the curve; None: the name of the estimator's class.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: a new figure.
        **line_kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        display : ConvergenceDisplay
        """
        check_is_fitted(estimator, "history_")
        name = type(estimator).__name__ if name is None else name
        return cls(estimator.history_, x=x, name=name).plot(ax=ax, **line_kwargs)

    @classmethod
    def from_estimators(cls, estimators, *, x="iteration", name=None, ax=None, **line_kwargs):
        """Draw several trainings with the same settings as a mean and a band.

        Parameters
        ----------
        estimators : sequence of estimators
            Fitted, with a ``history_`` each; equal but for ``random_state`` and the rows.
        x, name, ax, **line_kwargs
            As for :meth:`from_estimator`; the name is by default that of the first's class.

        Returns
        -------
        display : ConvergenceDisplay

        Raises
        ------
        ValueError
            If there are no estimators, or they did not record at the same iterations.
        """
        for estimator in estimators:
            check_is_fitted(estimator, "history_")
        if name is None and len(estimators):
            name = type(estimators[0]).__name__
        histories = [estimator.history_ for estimator in estimators]
        return cls(histories, x=x, name=name).plot(ax=ax, **line_kwargs)

    def plot(self, ax=None, **line_kwargs):
        """Draw the curves.

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
            If ``x`` is not a column, or several runs did not record at the same iterations.
        """
        # matplotlib is wanted by those who draw only.
        import matplotlib.pyplot as plt

        if self.x not in _X_AXES:
            raise ValueError(f"x={self.x!r} is not one of {', '.join(map(repr, _X_AXES))}.")
        runs = _align([self.history] if isinstance(self.history, dict) else self.history)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        positions = runs[self.x].mean(0)
        loss, low, high = _centre_and_band(runs["loss"])
        (self.line_,) = ax.plot(positions, loss, label=self.name, **line_kwargs)
        self.band_ = self.validation_line_ = None
        color = self.line_.get_color()
        if len(runs["loss"]) > 1:
            self.band_ = ax.fill_between(positions, low, high, color=color, alpha=0.2, linewidth=0)
        held_out = runs["validation_loss"]
        if not np.isnan(held_out).all():
            label = f"{self.name}, held out" if self.name else "held out"
            (self.validation_line_,) = ax.plot(
                positions, _centre_and_band(held_out)[0], linestyle="--", color=color, label=label
            )
        if (runs["loss"] > 0).all():
            ax.set_yscale("log")
        ax.set(xlabel=_X_AXES[self.x], ylabel="loss")
        if self.name:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _align(histories):
    """Return columns (runs, records) of histories that agree on the iterations."""
    if not len(histories):
        raise ValueError("there are no runs to draw: give at least one fitted estimator.")
    length = min(len(history["iteration"]) for history in histories)
    columns = {
        name: np.array([history[name][:length] for history in histories], dtype=float)
        for name in histories[0]
    }
    iterations = columns["iteration"]
    if (iterations != iterations[0]).any():
        raise ValueError(
            "the runs did not record at the same iterations, so they have no common mean: give "
            "runs with the same max_iter, or draw each with from_estimator."
        )
    return columns


def _centre_and_band(losses):
    """Return mean and band over runs, each (records,): of the logarithm where there is one."""
    if len(losses) == 1:
        return losses[0], losses[0], losses[0]
    positive = not (losses <= 0).any()
    values = np.log(losses) if positive else losses
    mean, sd = values.mean(0), values.std(0, ddof=1)
    curves = mean, mean - sd, mean + sd
    return tuple(map(np.exp, curves)) if positive else curves
