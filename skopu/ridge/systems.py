r"""The linear systems of ridge regression, of features and of kernels, behind one interface.

With an intercept b the minimiser of

.. math:: \sum_i w_i \|y_i - b - W^\top \phi_i\|^2 + \alpha \|W\|^2

is found from features and targets centred at their weighted means. In the rows
:math:`z_i = \sqrt{w_i}(\phi_i - \mu)` and targets :math:`t_i = \sqrt{w_i}(y_i - \nu)` it solves
:math:`(Z^\top Z + \alpha) W = Z^\top T` or, with :math:`W = Z^\top C`, the smaller of the two,
:math:`(Z Z^\top + \alpha) C = T`. Each system has

- ``matrix`` (m, m), float64, which whoever solves the system may overwrite, and ``targets``
  (m, q);
- ``readout(solution)``: the ``LinearReadout`` of a solution (m, q);
- for leave-one-out errors ``hat_rows(rows, values, vectors)``: for these rows P (n, m), where
  :math:`P (\Lambda + \alpha)^{-1} P^\top` is the hat matrix and :math:`V \Lambda V^\top` the
  matrix, with their targets (n, q) and the intercept's part (n,) of their leverages;
- for variances ``rotation(vectors)``, of :mod:`skopu.ridge.rotations`;
- ``rounding(values)``: the size up to which a negative eigenvalue is one of rounding, and
  ``rounding_of_constants``: the trace up to which the features or the kernel are constant;
- ``weight``, ``n_rows``, ``fit_intercept``, and ``size``: the weighted sum of the squared norms of
  the features as they were given.

Everything is in float64 whatever the features are, because the normal equations square their
condition number. ``matrix`` and ``targets`` are where the sums are, on a card or not, and what
``hat_rows`` returns is where its rows and vectors are; all else is numpy's.
"""

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.extmath import safe_sparse_dot

from skopu._core.chunks import row_chunks
from skopu._core.places import float32_products, place_of, to_host
from skopu.ridge.normal_equations import NormalEquations, arithmetic
from skopu.ridge.readout import LinearReadout
from skopu.ridge.rotations import KernelRotation, RowRotation, SumRotation

_ROUNDING = 1e-24  # share of the features' size that rounding may leave of constant ones


class FeatureSystem:
    """The D x D system of summed features; for n >= D.

    Parameters
    ----------
    equations : NormalEquations
    fit_intercept : bool
    """

    is_all_rows = False  # the rows are not here: they are read again for leave-one-out errors

    def __init__(self, equations, fit_intercept):
        self.matrix, self.targets, self.mean, self.target_mean = equations.system(fit_intercept)
        self.weight, self.n_rows = equations.weight, equations.n_rows
        self.fit_intercept = fit_intercept
        self.size = float(self.matrix.trace() + self.weight * (self.mean @ self.mean))
        # What rounding to 7 bits has added to the diagonal.
        self.excess = equations.excess
        self.target_norms = to_host(equations.target_norm)
        if not fit_intercept:
            shift = np.sqrt(self.weight) * np.abs(to_host(equations.target_mean))
            self.target_norms = np.hypot(self.target_norms, shift)
        is_double = arithmetic(equations.gram_kind, equations.place) == "float64"
        self._dtype = "float64" if is_double else "float32"

    def readout(self, solution):
        """Return the ``LinearReadout`` with weights ``solution`` (D, q), in arrays."""
        solution, mean = to_host(solution), to_host(self.mean)
        return LinearReadout(solution, to_host(self.target_mean) - mean @ solution)

    def rounding(self, values):
        """Return infinity: squares of features are not negative."""
        return np.inf

    def rotation(self, vectors):
        """See the module."""
        return SumRotation(to_host(self.mean), vectors)

    def hat_rows(self, rows, values, vectors):
        """See the module; ``rows`` is (Phi, Y, weights)."""
        Phi, Y, weights = rows
        share = weights / self.weight if self.fit_intercept else np.zeros(len(weights))
        place = place_of(Phi)
        mean, target_mean = place.put(self.mean), place.put(self.target_mean)
        Y, weights, share = (place.put(part) for part in (Y, weights, share))
        root = place.xp.sqrt(weights)[:, None]
        vectors = place.cast(vectors, self._dtype)
        if issparse(Phi):
            P = safe_sparse_dot(Phi, vectors, dense_output=True) - mean @ vectors
        else:
            centred = place.difference(Phi, mean, self._dtype)
            with float32_products(place):
                P = centred @ vectors
        P *= root
        return P, root * (Y - target_mean), share

    @property
    def rounding_of_constants(self):
        """Of features, which are centred before they are squared."""
        return _ROUNDING * self.size


class KernelSystem:
    """The n x n system of a kernel matrix.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        The matrix is float32 if K is and nothing is taken out of it, else float64.
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    fit_intercept : bool
    overwrite_K : bool, default=False
        Whether the system may be made in the place of K.
    """

    is_all_rows = True
    excess = 0.0
    _removed = 0.0  # squared norm of what was subtracted from all features beforehand

    def __init__(self, K, Y, weights, fit_intercept, overwrite_K=False):
        self.weight, self.n_rows = weights.sum(), len(weights)
        self.fit_intercept = fit_intercept
        # Each row's share in the mean: without an intercept, means are zeros.
        self._share = weights / self.weight if fit_intercept else np.zeros_like(weights)
        self._root = np.sqrt(weights)[:, None]
        self.size = weights @ (np.diag(K) + self._removed)
        self._precision = 10 * np.finfo(K.dtype).eps
        self.target_mean = self._share @ Y
        self.targets = self._root * (Y - self.target_mean)
        self.target_norms = np.linalg.norm(self.targets, axis=0)
        self._row = K @ self._share
        keeps_type = K.dtype == np.float32 and not fit_intercept
        dtype = np.float32 if keeps_type else np.float64
        self.matrix = np.array(K, dtype=dtype, copy=None if overwrite_K else True)
        if fit_intercept:
            self.matrix -= self._row[:, None]
            self.matrix += self._share @ self._row - self._row
        if (weights != 1).any():
            for rows in row_chunks(len(weights)):
                self.matrix[rows] *= self._root[rows] * self._root.T

    def readout(self, solution):
        """Return the ``LinearReadout`` of kernels with the rows, for ``solution`` (n, q)."""
        dual = self._root * solution
        # The sum is zero but for rounding, which a large common part of the kernel would magnify.
        dual -= self._share[:, None] * dual.sum(0)
        return LinearReadout(dual, self.target_mean - self._row @ dual)

    def rounding(self, values):
        """Return what the precision of the kernel as it was given makes of its eigenvalues."""
        return self._precision * max(len(values) * np.abs(values).max(), self.size)

    def rotation(self, vectors):
        """See the module."""
        return KernelRotation(self._share, self._row, self._root * vectors)

    @property
    def rounding_of_constants(self):
        """Of a kernel, which is centred as it was given: from distances that were rounded, too."""
        return 100 * self._precision * self.size if self.fit_intercept else 0.0

    def hat_rows(self, rows, values, vectors):
        """See the module; ``rows`` is a slice."""
        return vectors[rows] * np.sqrt(values), self.targets[rows], self._share[rows]


class WideSystem(KernelSystem):
    """The n x n system of features; for n < D.

    Parameters
    ----------
    Phi : ndarray or sparse matrix of shape (n, D)
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    fit_intercept : bool
    """

    def __init__(self, Phi, Y, weights, fit_intercept):
        # Rows are few: the host has them.
        self._Phi, self._shift = to_host(Phi).astype(np.float64), np.zeros(Phi.shape[1])
        if fit_intercept and not issparse(Phi):
            # A large common part would cost the kernel its digits.
            self._shift = weights @ self._Phi / weights.sum()
            self._Phi -= self._shift
        self._removed = self._shift @ self._shift
        K = safe_sparse_dot(self._Phi, self._Phi.T, dense_output=True)
        super().__init__(K, Y, weights, fit_intercept, overwrite_K=True)

    def rotation(self, vectors):
        """See the module."""
        rooted, mean = self._root * vectors, self._share @ self._Phi
        axes = safe_sparse_dot(self._Phi.T, rooted, dense_output=True)
        axes -= np.outer(mean, rooted.sum(axis=0))
        return RowRotation(self._shift + mean, axes)

    def rounding(self, values):
        """Return infinity, as for the other system of features."""
        return np.inf

    @property
    def rounding_of_constants(self):
        """As for the other system of features."""
        return _ROUNDING * self.size

    def readout(self, solution):
        """Return the ``LinearReadout`` of the features, for ``solution`` (n, q)."""
        dual, intercept = super().readout(solution)
        coef = safe_sparse_dot(self._Phi.T, dual, dense_output=True)
        return LinearReadout(coef, intercept - self._shift @ coef)


def sum_rows(Phi, Y, weights, gram="auto"):
    """Return ``NormalEquations`` of features in memory; only a chunk is in float64 at a time."""
    equations = NormalEquations(gram)
    for rows in row_chunks(Phi.shape[0]):
        equations.add(Phi[rows], Y[rows], weights[rows])
    return equations


def system_of_features(Phi, Y, weights, fit_intercept, gram="auto"):
    """Return the smaller system of features in memory.

    Parameters
    ----------
    Phi : ndarray or sparse matrix of shape (n, D)
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,), all positive
    fit_intercept : bool
    gram : str, default="auto"
        Arithmetic of the D x D system, as in ``NormalEquations``.
    """
    if Phi.shape[0] < Phi.shape[1]:
        return WideSystem(Phi, Y, weights, fit_intercept)
    return FeatureSystem(sum_rows(Phi, Y, weights, gram), fit_intercept)
