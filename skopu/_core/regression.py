"""Regressors: what each of them does around its own training and outputs.

A regressor of the package has ``_outputs(X)``: predictions of shape (n, q) for rows as the user
gave them, in the units of its training, and ``_units`` that takes them to those of y.
"""

import numpy as np
from sklearn.base import RegressorMixin

from skopu._core.fitting import whole
from skopu._core.validation import REAL, check_weights, fit_context, validate_data


class OutputRegressor(RegressorMixin):
    """Predicts what ``_outputs`` says, with as many axes as y had."""

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        values = self._units(self._outputs(X))
        return values[:, 0] if self._is_single else values

    def _units(self, outputs):
        return outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class TargetFit:
    """``fit`` from quantities: the class has ``_fit_targets(X, Y, weights)`` on validated rows.

    Y is float64 of shape (n, q).
    """

    _dtypes = REAL

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit(self, X, y, sample_weight=None):
        """Train on rows and their targets.

        An interruption (Ctrl-C) ends training early with an ``InterruptedFitWarning`` and keeps
        the best state. A fit that fails leaves the model as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        self._fit_targets(*self._check_measured(X, y, sample_weight))
        return self

    def _check_measured(self, X, y, sample_weight, reset=True):
        """Return validated rows, targets (n, q) and weights; note how many axes y had."""
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            accept_sparse="csr",
            dtype=self._dtypes,
            multi_output=True,
            y_numeric=True,
        )
        if reset:
            self._is_single = y.ndim == 1
        return X, y.reshape(len(y), -1).astype(np.float64), check_weights(sample_weight, X)
