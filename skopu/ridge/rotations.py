"""From features or kernels of new rows to their products with the eigenvectors of a ridge system.

``rotate`` returns these products (n, m), and the squared norms (n,) of the centred features where
the eigenvectors are those of the rows and do not span all of them, else None.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.extmath import row_norms, safe_sparse_dot


class SumRotation(NamedTuple):
    """Of a system of sums: axes (D, D) of features centred at a mean (D,)."""

    mean: np.ndarray
    axes: np.ndarray

    def rotate(self, Phi):
        """See the module; features (n, D)."""
        return safe_sparse_dot(Phi, self.axes, dense_output=True) - self.mean @ self.axes, None


class RowRotation(NamedTuple):
    """Of a system of rows of features: the axes (D, m) are combinations of the rows."""

    mean: np.ndarray
    axes: np.ndarray

    def rotate(self, Phi):
        """See the module; features (n, D)."""
        products = safe_sparse_dot(Phi, self.axes, dense_output=True) - self.mean @ self.axes
        if not issparse(Phi):
            return products, row_norms(Phi - self.mean, squared=True)
        norms = row_norms(Phi, squared=True) - 2 * (Phi @ self.mean) + self.mean @ self.mean
        return products, norms


class KernelRotation(NamedTuple):
    """Of a system of a kernel: shares of the rows in the mean, their kernels with it, and axes."""

    share: np.ndarray
    row: np.ndarray
    axes: np.ndarray

    def rotate(self, K, own):
        """See the module; kernels (n, m) with the rows, and (n,) of each new row with itself."""
        means, centre = K @ self.share, self.share @ self.row
        centred = K - means[:, None] - self.row + centre
        return centred @ self.axes, own - 2 * means + centre

    def scattered(self, places, n_rows):
        """Return the same for kernels with ``n_rows`` rows, of which these are at ``places``."""
        share, row = np.zeros(n_rows), np.zeros(n_rows)
        axes = np.zeros((n_rows, self.axes.shape[1]))
        share[places], row[places], axes[places] = self
        return KernelRotation(share, row, axes)
