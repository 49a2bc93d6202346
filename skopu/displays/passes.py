"""What device passes buy: errors of fitted models against the passes of their fits."""

import numpy as np


class PassesDisplay:
    """Errors of models against the device passes that fitting them took.

    Both axes are logarithmic where they can be: passes of 0 stand at the left, since a model in
    closed form takes none. Models of one name are joined by a line, from few passes to many:
    the same method with another number of draws or minibatches.

    Create it with :meth:`from_estimators`; the constructor takes the numbers themselves. For the
    loss in the course of one fit, draw ``ConvergenceDisplay.from_estimator(model, x="n_passes")``.

    Parameters
    ----------
    passes : array-like of shape (n_models,)
        Codes that went through devices in each fit.
    errors : array-like of shape (n_models,)
        Their errors.
    names : sequence of str or None, default=None
        A name for each model, repeated for those of one line; None: one line without a name.
    error_name : str, default="error"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : dict of str to matplotlib Line2D
        The models of each name, in the order of the names.

    See Also
    --------
    ConvergenceDisplay : The loss in the course of one fit.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import EndToEndOPURegressor, PassesDisplay, SupervisedBinarizer
    >>> from skopu.gradients import LeaveOneOut
    >>> X, y = load_diabetes(return_X_y=True)
    >>> models = []
    >>> for n_draws in (2, 4):
    ...     codes = SupervisedBinarizer(8, gradient=LeaveOneOut(n_draws), max_iter=20)
    ...     models.append(EndToEndOPURegressor(codes, random_state=0).fit(X[:300], y[:300]))
    >>> display = PassesDisplay.from_estimators(models, X[300:], y[300:])
    >>> display.lines_["EndToEndOPURegressor"].get_xdata().shape
    (2,)
    """

    def __init__(self, passes, errors, names=None, *, error_name="error"):
        self.passes = passes
        self.errors = errors
        self.names = names
        self.error_name = error_name

    @classmethod
    def from_estimators(cls, estimators, X, y, *, names=None, ax=None, **line_kwargs):
        """Score fitted models and draw them: 1 - R2, or the share of wrong labels.

        Parameters
        ----------
        estimators : sequence of estimators
            Fitted, and not yet asked for many predictions: pipelines count the passes of those.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows that were not fitted.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        names : sequence of str or None, default=None
            As for the class; None: the names of the estimators' classes.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: a new figure.
        **line_kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        display : PassesDisplay
        """
        names = [type(model).__name__ for model in estimators] if names is None else names
        passes = [count_passes(model) or 0 for model in estimators]
        errors = [1 - model.score(X, y) for model in estimators]
        made = cls(passes, errors, names, error_name="1 - score on other rows")
        return made.plot(ax=ax, **line_kwargs)

    def plot(self, ax=None, **line_kwargs):
        """Draw a line for each name.

        Parameters
        ----------
        ax, **line_kwargs
            As for :meth:`from_estimators`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there are no models, or not as many passes, errors and names.
        """
        # matplotlib is wanted by those who draw only.
        import matplotlib.pyplot as plt

        passes, errors, names = self._columns()
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        style = {"marker": "o", **line_kwargs}
        self.lines_ = {}
        for name in dict.fromkeys(names.tolist()):
            own = np.flatnonzero(names == name)
            own = own[np.argsort(passes[own], kind="stable")]
            (self.lines_[name],) = ax.plot(passes[own], errors[own], label=name, **style)
        if passes.any():
            ax.set_xscale("symlog", linthresh=passes[passes > 0].min() / 2)
        if (errors > 0).all():
            ax.set_yscale("log")
        ax.set(xlabel="device passes of the fit", ylabel=self.error_name)
        if self.names is not None:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _columns(self):
        passes, errors = np.asarray(self.passes, dtype=float), np.asarray(self.errors, dtype=float)
        names = np.full(len(passes), "") if self.names is None else np.asarray(self.names)
        if not len(passes) == len(errors) == len(names) or not len(passes):
            raise ValueError(
                f"passes, errors and names have the lengths {len(passes)}, {len(errors)} and "
                f"{len(names)}: give one of each for every model, and at least one model."
            )
        return passes, errors, names


def count_passes(estimator):
    """Count the codes that went through devices while an estimator was fitted.

    Those of a search's candidates are not counted, only those of the model it ends with.

    Parameters
    ----------
    estimator : estimator
        Just fitted: a pipeline's features count their later projections too.

    Returns
    -------
    n_passes : int or None
        None if no device was used.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in getattr(estimator, "steps", [(None, estimator)])]
    counts = [count for step in steps if (count := _count_step(step)) is not None]
    return sum(counts) if counts else None


def _count_step(step):
    # n_passes_ first: an estimator that has it counts its own devices there.
    if hasattr(step, "n_passes_"):
        return step.n_passes_
    if hasattr(step, "opu_"):
        return step.opu_.n_passes
    inner = [getattr(step, name, None) for name in ("binarizer_", "features_")]
    counts = [
        count for part in inner if part is not None and (count := _count_step(part)) is not None
    ]
    return sum(counts) if counts else None
