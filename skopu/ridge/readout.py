"""What a ridge regression gives."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.extmath import safe_sparse_dot

from skopu._core.places import is_tensor, place_of


class LinearReadout(NamedTuple):
    """A linear model of features, or of kernels with the rows that were fitted.

    Attributes
    ----------
    coef : ndarray of shape (D, q) or (n, q)
        Weights of the features, or dual coefficients.
    intercept : ndarray of shape (q,)
    """

    coef: np.ndarray
    intercept: np.ndarray

    def predict(self, Phi):
        """Return predictions (m, q) of features (m, D) or of kernels (m, n), where these are."""
        if is_tensor(Phi):
            place = place_of(Phi)
            return place.cast(Phi, "float64") @ place.put(self.coef) + place.put(self.intercept)
        return safe_sparse_dot(Phi, self.coef, dense_output=True) + self.intercept
