"""Codes from decision trees that were grown for the targets."""

from dataclasses import KW_ONLY, dataclass
from types import SimpleNamespace

import numpy as np
from scipy.sparse import vstack
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.parameters import COUNT
from skopu._core.random import draw_seeds
from skopu._core.validation import StrOptions, check_names
from skopu.binarizers.base import TaskBinarizer

# What "auto" is. On concrete and energy splits of depth 3 were no better than of depth 2, whose
# products of two bits are all that a tree says; extra-trees of 2048 leaves were at par with a
# forest that takes seven times as long.
_SPLITS = {"n_bits": 256, "n_estimators": 150, "max_depth": 2}
_LEAVES = {"n_bits": 2048, "n_estimators": 60, "max_depth": None}
_AUTO = StrOptions({"auto"})


@dataclass(eq=False, repr=False)
class TreeBinarizer(TaskBinarizer):
    r"""Binarize by the splits, or the leaves, of trees grown for the targets.

    A decision tree is a binary code. A *split* bit is :math:`1[x_c \le t]`: a threshold on one
    column, put where it takes most off the loss of a boosted ensemble [1]_. A tree of depth two
    is a quadratic form of its split bits, and so is a sum of such trees: a readout of OPU
    features can say all that the ensemble says, and more. A *leaf* bit is whether a row falls
    into a leaf of one of the extremely randomised trees of a forest [2]_: long codes with one 1
    a tree, for media that take 1e5 bits. Two rows have as many ones in common as trees put them
    together.

    Take it where targets jump, or columns matter one by one or in pairs; and where the bits are
    to be read: ``get_feature_names_out`` says what each asks. :class:`SupervisedBinarizer` finds
    directions, which trees do not. The codes have seen the targets: a readout of leaves that is
    fitted to the same rows is surer than it may be, so give it other rows, or few leaves.

    Parameters
    ----------
    n_bits : int or "auto", default="auto"
        k, length of the codes; there are fewer if the trees have fewer. "auto": 256 splits, of
        which those of most gain are kept, or 2048 leaves, shared out evenly over the trees.
    kind : {"splits", "leaves"}, default="splits"
        What a bit is.
    n_estimators : int or "auto", default="auto"
        Rounds of boosting (of a tree for each output, or each class of several), or trees of the
        forest. "auto": 150 rounds, or 60 trees.
    max_depth : int, None or "auto", default="auto"
        Of each tree; None: no limit. "auto": 2 for splits, None for leaves.
    min_samples_leaf : int, default=5
        Different rows that a leaf must hold, but no more than a quarter of them.
    loss : {"auto", "squared_error", "cross_entropy"}, default="auto"
        "auto": squared error of standardised targets for floats, otherwise cross-entropy (of
        boosting; a forest takes Gini's impurity).
    sparse_output : bool, default=False
        Whether ``transform`` returns a CSR matrix.
    random_state : int, RandomState instance or None, default=None
        Source of the forest, and of the rows by which boosting bins more than 200,000.

    Attributes
    ----------
    n_bits_ : int
        Bits in use, ``n_bits`` or less.
    columns_ : ndarray of shape (`n_bits_`,), dtype int64
        Column of each split; for "splits" only, as are the next two.
    thresholds_ : ndarray of shape (`n_bits_`,)
        Threshold of each, with as few digits as separate the same training rows; they ascend
        within a column.
    gains_ : ndarray of shape (`n_bits_`,)
        What each took off the loss, over all trees that have it; they add up to 1.
    forest_ : ExtraTreesRegressor
        The forest, for "leaves" only.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    ThermometerBinarizer : Thresholds at quantiles, without targets.
    NeuralDNFClassifier : Rules, which may be made of these bits.

    Notes
    -----
    Splits are those of :class:`~sklearn.ensemble.HistGradientBoostingRegressor` or its
    classifier, leaves those of :class:`~sklearn.ensemble.ExtraTreesRegressor`, which takes rows
    in single precision. Sparse X is made dense to grow splits, 8 bytes a value.

    References
    ----------
    .. [1] Friedman, "Greedy function approximation: a gradient boosting machine", Annals of
       Statistics 2001.
    .. [2] Geurts, Ernst, Wehenkel, "Extremely randomized trees", Machine Learning 2006.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skopu import TreeBinarizer
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"age": rng.integers(20, 60, 200), "income": rng.uniform(1, 6, 200)})
    >>> y = np.where(X.age <= 41, 0.0, 1.0)
    >>> binarizer = TreeBinarizer(1).fit(X, y)
    >>> binarizer.get_feature_names_out()
    array(['age <= 41'], dtype=object)
    >>> bool((binarizer.transform(X)[:, 0] == (X.age <= 41)).all())
    True
    >>> leaves = TreeBinarizer(64, kind="leaves", n_estimators=8, random_state=0)
    >>> set(leaves.fit_transform(X, y).sum(axis=1).tolist())
    {8}
    """

    _parameter_constraints = {
        "n_bits": [*COUNT, _AUTO],
        "kind": [StrOptions({"splits", "leaves"})],
        "n_estimators": [*COUNT, _AUTO],
        "max_depth": [*COUNT, _AUTO, None],
        "min_samples_leaf": COUNT,
        "loss": [StrOptions({"auto", "squared_error", "cross_entropy"})],
        "sparse_output": ["boolean"],
        "random_state": ["random_state"],
    }

    n_bits: int | str = "auto"
    _: KW_ONLY
    kind: str = "splits"
    n_estimators: int | str = "auto"
    max_depth: int | str | None = "auto"
    min_samples_leaf: int = 5
    loss: str = "auto"
    sparse_output: bool = False
    random_state: object = None

    def _fit_encoder(self, rows, loss):
        # scikit-learn's ensembles take a while to import.
        from skopu.binarizers.tree_bits import leaf_bits, split_bits

        settings = self._settings(len(rows.weights))
        (seed,) = draw_seeds(self.random_state, 1)
        if self.kind == "splits":
            self._made = split_bits(rows, loss, settings, seed)
        else:
            self._made = leaf_bits(rows, settings, seed)
        self.n_bits_ = self._made.n_bits
        if not self._made.n_splits:
            raise ValueError(
                f"no split of X helps with y: n_samples = {len(rows.weights)} different row(s), "
                f"n_features = {rows.X.shape[1]}, min_samples_leaf={settings.min_samples_leaf}. "
                "Give rows and targets that differ, or allow smaller leaves."
            )
        for name, value in self._made.attributes().items():
            setattr(self, name, value)

    def _settings(self, n_rows):
        """Return numbers in the place of "auto", and leaves that can hold their rows."""
        auto = _SPLITS if self.kind == "splits" else _LEAVES
        given = {name: getattr(self, name) for name in auto}
        made = {name: auto[name] if value == "auto" else value for name, value in given.items()}
        if self.kind == "leaves" and made["n_bits"] < 2:
            raise ValueError("n_bits=1: a tree has two leaves or more; give at least 2 bits.")
        made["min_samples_leaf"] = min(self.min_samples_leaf, max(1, n_rows // 4))
        return SimpleNamespace(**made)

    def _bits(self, X):
        return self._made.dense(X)

    def _codes(self, X):
        if not self.sparse_output:
            return super()._codes(X)
        return vstack([self._made.sparse(X[rows]) for rows in row_chunks(X.shape[0])], "csr")

    def get_feature_names_out(self, input_features=None):
        """Return what each bit asks of a row.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None: those of ``fit``, or x0, x1, ...

        Returns
        -------
        names : ndarray of shape (n_bits,), dtype object
            Such as "age <= 41", or "tree 3: 30 < age <= 41 and income > 3.2" for a leaf.
        """
        check_is_fitted(self, "n_bits_")
        names = check_names(self, input_features)
        return np.array(self._made.names(names), dtype=object)

    @property
    def _n_features_out(self):
        return self.n_bits_
