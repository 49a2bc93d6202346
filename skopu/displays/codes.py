"""Codes: which bits rows have, and which columns bits look at."""

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skopu._core.random import draw_seeds
from skopu.devices.base import check_codes

_MOST_NAMES = 40  # more of them cannot be read at the size of a page


class CodesDisplay:
    """Codes of rows, and the columns that each bit looks at.

    ``kind="columns"`` draws for each bit and column the share of rows whose bit flips if the
    column's value is exchanged for another row's. A bit that asks one column, in the middle of its
    values, flips on half of the rows. Bits stand in the order of the column that flips them most,
    and at last those that none flips. ``kind="rows"`` draws the codes themselves, bits in the same
    order, rows in that of the target: what a device is shown.

    Create it with :meth:`from_estimator`; the constructor takes the arrays themselves. Either
    kind can be drawn of a display that was made for the other.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_bits)
        Zeros and ones.
    flips : array-like of shape (n_bits, n_features) or None, default=None
        Shares of flipped bits; None: only ``kind="rows"``, with bits in their own order.
    target : array-like of shape (n_samples,) or None, default=None
        What rows are ordered by; None: their own order.
    bit_names, feature_names : sequence of str or None, default=None
        Names for the axes, where there are no more than 40 of them; None: numbers.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds it.
    image_ : matplotlib AxesImage
        The picture.
    bits_ : ndarray of shape (n_bits,)
        Numbers of the bits, in the order in which they are drawn.
    rows_ : ndarray of shape (n_samples,)
        Numbers of the rows, likewise.

    See Also
    --------
    SupervisedBinarizer : Its bits look at directions; so do those of the models that hold one.
    TreeBinarizer : Its bits look at one column each, or at a few.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import CodesDisplay, TreeBinarizer
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> binarizer = TreeBinarizer(8, random_state=0).fit(X, y)
    >>> display = CodesDisplay.from_estimator(binarizer, X, y)
    >>> display.flips.shape
    (8, 10)
    >>> display.plot(kind="rows").ax_.get_xlabel()
    'bits'
    """

    def __init__(self, codes, flips=None, *, target=None, bit_names=None, feature_names=None):
        self.codes = codes
        self.flips = flips
        self.target = target
        self.bit_names = bit_names
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, kind="columns", random_state=None, ax=None, **image_kwargs
    ):
        """Make codes of rows, and again with each column shuffled, and draw.

        Parameters
        ----------
        estimator : estimator
            Fitted: a binarizer, a pipeline that ends in one, or a model with a ``binarizer_``.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; a few hundred do, of which codes are made once a column.
        y : array-like of shape (n_samples,) or None, default=None
            Targets, to order rows by.
        kind : {"columns", "rows"}, default="columns"
            What to draw.
        random_state : int, RandomState instance or None, default=None
            Source of the shuffled order, the same for all columns.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: a new figure.
        **image_kwargs : dict
            Passed to ``Axes.imshow``.

        Returns
        -------
        display : CodesDisplay

        Raises
        ------
        TypeError
            If the estimator makes no codes, or X is sparse.
        """
        check_is_fitted(estimator)
        binarizer = _binarizer_of(estimator)
        if issparse(X):
            raise TypeError("a display shuffles columns of dense X: give X[:500].toarray().")
        X = X if hasattr(X, "iloc") else np.asarray(X)
        codes = check_codes(np.asarray(binarizer.transform(X)), "transform(X)")
        (seed,) = draw_seeds(random_state, 1)
        order = check_random_state(seed).permutation(len(codes))
        flips = np.stack(
            [_flips(binarizer, X, column, order, codes) for column in range(X.shape[1])], axis=1
        )
        names = getattr(binarizer, "feature_names_in_", None)
        made = cls(codes, flips, target=y, bit_names=_names_of_bits(binarizer), feature_names=names)
        return made.plot(kind=kind, ax=ax, **image_kwargs)

    def plot(self, *, kind="columns", ax=None, **image_kwargs):
        """Draw one of the pictures.

        Parameters
        ----------
        kind, ax, **image_kwargs
            As for :meth:`from_estimator`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If the kind is not one of the two, or the columns' are not known.
        """
        # matplotlib is wanted by those who draw only.
        import matplotlib.pyplot as plt

        if kind not in ("columns", "rows") or (kind == "columns" and self.flips is None):
            raise ValueError(
                f"kind={kind!r} cannot be drawn: give 'rows' for the codes, or 'columns' for what "
                "the bits look at, which needs flips (from_estimator counts them)."
            )
        self._set_order()
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        draw = self._draw_columns if kind == "columns" else self._draw_rows
        draw(ax, {"aspect": "auto", "interpolation": "nearest", **image_kwargs})
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _set_order(self):
        codes = np.asarray(self.codes)
        self.bits_, self.rows_ = np.arange(codes.shape[1]), np.arange(len(codes))
        if self.flips is not None:
            # By the column that flips a bit most, then from seldom 1 to often; at last those that
            # no column flips.
            flips = np.asarray(self.flips)
            main = np.where(flips.any(axis=1), flips.argmax(axis=1), flips.shape[1])
            self.bits_ = np.lexsort((codes.mean(axis=0), main))
        if self.target is not None:
            self.rows_ = np.argsort(np.asarray(self.target), kind="stable")

    def _draw_columns(self, ax, style):
        flips = np.asarray(self.flips)[self.bits_]
        self.image_ = ax.imshow(flips, **{"cmap": "viridis", "vmin": 0, **style})
        ax.figure.colorbar(self.image_, ax=ax, label="share of rows whose bit flips")
        ax.set(xlabel="column", ylabel="bits")
        if self.feature_names is not None and flips.shape[1] <= _MOST_NAMES:
            ax.set_xticks(range(flips.shape[1]), self.feature_names, rotation=90)
        self._name_bits(ax.set_yticks, ax.yaxis)

    def _draw_rows(self, ax, style):
        codes = np.asarray(self.codes)[np.ix_(self.rows_, self.bits_)]
        self.image_ = ax.imshow(codes, **{"cmap": "binary", "vmin": 0, "vmax": 1, **style})
        by = "" if self.target is None else ", by their target"
        ax.set(xlabel="bits", ylabel=f"rows{by}")
        self._name_bits(ax.set_xticks, ax.xaxis, rotation=90)

    def _name_bits(self, set_ticks, axis, **text):
        if len(self.bits_) > _MOST_NAMES:
            return
        names = self.bits_ if self.bit_names is None else np.asarray(self.bit_names)[self.bits_]
        set_ticks(range(len(names)), names, **text)


def _binarizer_of(estimator):
    """Return what makes the codes of an estimator."""
    found = getattr(estimator, "binarizer_", estimator)
    if not hasattr(found, "transform"):
        raise TypeError(
            f"{type(estimator).__name__} makes no codes: give a binarizer, a pipeline up to its "
            "binarizer (pipeline[:1]), or a model with a binarizer_."
        )
    return found


def _flips(binarizer, X, column, order, codes):
    """Return the share of rows (k,) whose bit flips when a column's values are shuffled."""
    shuffled = X.copy()
    if hasattr(X, "iloc"):
        values = X.iloc[order, column]
        shuffled[X.columns[column]] = values.set_axis(X.index)
    else:
        shuffled[:, column] = X[order, column]
    return (np.asarray(binarizer.transform(shuffled)) != codes).mean(axis=0)


def _names_of_bits(binarizer):
    """Return what the bits ask, or their numbers where the names are those of the class."""
    last = binarizer[-1] if hasattr(binarizer, "steps") else binarizer
    names = binarizer.get_feature_names_out()
    return [name.removeprefix(type(last).__name__.lower()) for name in names]
