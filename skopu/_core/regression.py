"""Regressors: what each of them does around its own training and outputs.

A regressor of the package has ``_outputs(X)``: predictions of shape (n, q) for rows as the user
gave them, in the units of its training, and ``_units`` that takes them to those of y.
"""

from sklearn.base import RegressorMixin

from skopu._core.estimation import Prediction, SupervisedFit, in_precision_of
from skopu._core.targets import as_columns
from skopu._core.validation import REAL, check_weights, validate_data


class OutputRegressor(Prediction, RegressorMixin):
    """Predicts what ``_outputs`` says, with as many axes as y had."""

    def _predicted(self, X):
        values = self._units(self._outputs(X))
        return in_precision_of(X, values[:, 0] if self._is_single else values)

    def _units(self, outputs):
        return outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class TargetFit(SupervisedFit):
    """Fits to quantities: the class has ``_fit_targets(X, Y, weights)`` on validated rows.

    Y is float64 of shape (n, q).
    """

    _dtypes: object = REAL

    def _fit_given(self, X, y, sample_weight):
        self._fit_targets(*self._check_measured(X, y, sample_weight))

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
        return X, as_columns(y), check_weights(sample_weight, X)
