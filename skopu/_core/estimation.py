"""``fit`` and ``predict`` of all that learns from targets, with their docstrings."""

from typing import Self

import numpy as np

from skopu._core.callbacks import CallbackSupportMixin
from skopu._core.fitting import whole
from skopu._core.scaling import takes_sparse
from skopu._core.validation import fit_context


class SupervisedFit(CallbackSupportMixin):
    """Fits whole or not at all; the class has ``_fit_given(X, y, sample_weight)``."""

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit(self, X, y, sample_weight=None) -> Self:
        """Fit to rows and their targets.

        An interruption (Ctrl-C) ends training early with an ``InterruptedFitWarning`` and keeps
        the best state. A fit that fails leaves the model as it was; if it is a device that
        fails, what was learned by then is kept.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; sparse ones are made dense one minibatch at a time.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, of two classes or more, or quantities.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        self._fit_given(X, y, sample_weight)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = takes_sparse(self)
        return tags


def in_precision_of(X, values):
    """Return predictions in the precision of the rows: float32 for those of float32 alone.

    What a model says is computed in float64 whatever it is given; users of float32 want half the
    memory, and get what scikit-learn's ``Ridge`` gives them.
    """
    if isinstance(X, np.ndarray) and type(X) not in (np.ndarray, np.memmap):
        return values  # features of a device, which are float32 whatever the rows were
    dtypes = set(X.dtypes) if hasattr(X, "dtypes") else {getattr(X, "dtype", None)}
    return values.astype(np.float32) if dtypes == {np.dtype(np.float32)} else values


class Prediction:
    """Predicts; the class has ``_predicted(X)`` of rows as the user gave them."""

    def predict(self, X) -> np.ndarray:
        """Predict labels or targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Of as many dimensions as in ``fit``.
        """
        return self._predicted(X)
