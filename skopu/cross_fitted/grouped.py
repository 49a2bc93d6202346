"""``fit`` with groups: rows that must be held out together."""

from typing import Self

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from skopu._core.fitting import whole
from skopu._core.validation import fit_context


class GroupedFit:
    """Fits whole or not at all; the class has ``_fit_given(X, y, sample_weight)``."""

    _groups = None  # of the rows that are fitted, numbered; only while they are

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit(self, X, y, sample_weight=None, groups=None) -> Self:
        """Fit to rows and their targets.

        An interruption (Ctrl-C) ends training early with an ``InterruptedFitWarning`` and keeps
        the best state. A fit that fails leaves the model as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; sparse ones are made dense one minibatch at a time.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, of two classes or more, or quantities.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        groups : array-like of shape (n_samples,), default=None
            Where rows come in groups (users, patients, recordings) and new groups will be
            predicted: which one each row is of. Folds hold out whole groups, and in intervals
            and sets each group counts once. With a splitter as ``cv``, they are passed to it.

        Returns
        -------
        self : object
        """
        if groups is not None:
            self._groups = _numbered(groups, X)
        self._fit_given(X, y, sample_weight)
        vars(self).pop("_groups", None)
        return self


def _numbered(groups, X):
    check_consistent_length(X, groups)
    found, numbers = np.unique(column_or_1d(groups), return_inverse=True)
    if len(found) < 2:
        raise ValueError(
            f"groups has one group only, {found.tolist()[0]!r}: there is none to hold out; give "
            "several, or groups=None."
        )
    return numbers
