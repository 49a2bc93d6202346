"""Pictures of a training run."""

from sklearn.utils.validation import check_is_fitted

_X_AXES = {"iteration": "minibatches", "n_passes": "device passes", "seconds": "seconds"}


class ConvergenceDisplay:
    """Loss of a training run against minibatches, device passes or seconds.

    Create it with :meth:`from_estimator`; the constructor takes the columns themselves.

    Parameters
    ----------
    history : dict of lists
        A fitted estimator's ``history_``.
    x : {"iteration", "n_passes", "seconds"}, default="iteration"
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
        x : {"iteration", "n_passes", "seconds"}, default="iteration"
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

    def plot(self, ax=None, **line_kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None: a new figure.
        **line_kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If ``x`` is not a column.
        """
        # matplotlib is wanted by those who draw only.
        import matplotlib.pyplot as plt

        if self.x not in _X_AXES:
            raise ValueError(f"x={self.x!r} is not one of {', '.join(map(repr, _X_AXES))}.")
        if ax is None:
            _, ax = plt.subplots()
        columns, losses = self.history[self.x], self.history["loss"]
        (self.line_,) = ax.plot(columns, losses, label=self.name, **line_kwargs)
        self.validation_line_ = None
        held_out = self.history["validation_loss"]
        if any(value == value for value in held_out):  # NaN differs from itself
            style = {"linestyle": "--", "color": self.line_.get_color()}
            label = f"{self.name}, held out" if self.name else "held out"
            (self.validation_line_,) = ax.plot(columns, held_out, label=label, **style)
        if min(losses, default=0) > 0:
            ax.set_yscale("log")
        ax.set(xlabel=_X_AXES[self.x], ylabel="loss")
        if self.name:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
