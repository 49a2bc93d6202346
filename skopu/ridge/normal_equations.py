r"""Normal equations of ridge regression, summed a chunk of rows at a time.

Sums are kept about the weighted means of the rows seen so far. With
:math:`\delta = \mu_2 - \mu_1` those of two sets of rows together are (Chan, Golub and LeVeque,
"Updating formulae and a pairwise algorithm for computing sample variances", 1982)

.. math:: G = G_1 + G_2 + \frac{w_1 w_2}{w_1 + w_2} \delta \delta^\top

so a large offset of the features costs no digits, and the parts may come from different passes,
processes or machines. What is kept has D^2 numbers, however many rows there are.
"""

import numpy as np
from scipy.linalg import blas
from scipy.sparse import diags, issparse

from skopu._core.chunks import cached_chunks
from skopu._core.integer_product import integers_win
from skopu.ridge.quantized_gram import QuantizedGram

GRAMS = ("float64", "float32", "int7")
# Bytes that a feature takes in a chunk, beside one float32 that it came from.
_BYTES = {"float64": 12, "float32": 8, "int7": 5}
MAX_CHUNK_ROWS = 2**14  # more of them are no faster, and would overflow the integers of 7 bits
_FIRST_ROWS = 256


def check_finite(system):
    """Raise ValueError if a matrix holds NaN or infinity."""
    if not np.isfinite(system).all():
        raise ValueError(
            "the ridge system holds NaN or infinite values: the features or kernel overflowed; "
            "scale the inputs or lower gamma."
        )


def bytes_of_a_row(n_features, gram):
    """Return the memory that a row of a chunk takes while it is summed."""
    return n_features * (4 + _BYTES[gram])


class NormalEquations:
    """Sums of weighted rows of features and targets, from which ridge readouts are solved.

    Parameters
    ----------
    gram : {"float64", "float32", "int7"}, default="float64"
        Arithmetic of the products of a chunk; chunks are added up in float64. "int7" rounds
        the features to 7 bits, see :mod:`skopu.ridge.quantized_gram`, but not their mean; it is
        "float32" on machines where that is found to be faster. Sparse features are multiplied in
        float64 in any case.

    Attributes
    ----------
    n_rows : int
        Rows with a positive weight.
    weight : float
        Their weights' sum.
    mean : ndarray of shape (D,)
        Weighted mean of the features.
    target_mean : ndarray of shape (q,)
    target_norm : ndarray of shape (q,)
        Root of the weighted sum of squared, centred targets.
    cross : ndarray of shape (D, q)
        Centred cross products.
    excess : ndarray of shape (D,)
        What rounding to 7 bits has added to the diagonal of the Gram matrix; zeros otherwise.
    """

    def __init__(self, gram="float64"):
        self.gram_kind = gram
        self.n_rows, self.weight = 0, 0.0

    @property
    def n_targets(self):
        """q, number of targets."""
        return self.cross.shape[1]

    def add(self, Phi, Y, weights):
        """Add a chunk of rows.

        Parameters
        ----------
        Phi : ndarray or sparse matrix of shape (n, D)
        Y : ndarray of shape (n, q), dtype float64
        weights : ndarray of shape (n,), not negative

        Returns
        -------
        self : NormalEquations
        """
        kept = weights > 0
        if not kept.all():
            Phi, Y, weights = Phi[kept], Y[kept], weights[kept]
        if not len(weights):
            return self
        dtype = np.float64 if self.gram_kind == "float64" else np.float32
        target_mean = weights @ Y / weights.sum()
        targets = Y - target_mean
        mean, cross, norm = _first_order(Phi, targets, weights, dtype)
        product = _product(Phi, mean, targets, weights, self.gram_kind)
        cross = cross if product.cross is None else product.cross
        part = mean, target_mean, cross, norm, product
        # An error or an interruption finds the sums without these rows, or with them: the new
        # ones are made on the side, and take their place in one assignment.
        self.__dict__ = self._joined(len(weights), weights.sum(), *part)
        return self

    def merge(self, other):
        """Add the sums of other rows, in place.

        Parameters
        ----------
        other : NormalEquations

        Returns
        -------
        self : NormalEquations
        """
        if other.n_rows:
            product = _Stored(other._gram, other.excess)
            part = other.mean, other.target_mean, other.cross, other.target_norm, product
            self.__dict__ = self._joined(other.n_rows, other.weight, *part)
        return self

    def gram(self):
        """Return the weighted Gram matrix of the centred features, a new (D, D) array."""
        gram = np.triu(self._gram)
        gram += np.triu(self._gram, 1).T
        return gram

    def system(self, fit_intercept):
        """Return Gram matrix (D, D), cross products (D, q), and means (D,), (q,).

        Without intercept they are about zero, and the means are zeros.
        """
        gram, cross = self.gram(), self.cross.copy()
        if fit_intercept:
            return gram, cross, self.mean, self.target_mean
        gram += np.outer(self.weight * self.mean, self.mean)
        cross += np.outer(self.weight * self.mean, self.target_mean)
        return gram, cross, np.zeros_like(self.mean), np.zeros_like(self.target_mean)

    def _joined(self, n_rows, weight, mean, target_mean, cross, norm, product):
        """Attributes with centred sums added; the means' difference enters as the module says."""
        own = vars(self) if self.n_rows else _no_rows(*cross.shape)
        total = self.weight + weight
        share = weight / total
        change, target_change = mean - own["mean"], target_mean - own["target_mean"]
        factor = self.weight * share
        gram = own["_gram"].copy()
        left, right = product.rank_two()
        left = np.column_stack([left, factor * change])
        _add_outer(gram, left, np.column_stack([right, change]))
        product.add_to(gram)
        with np.errstate(over="ignore"):
            shift = np.sqrt(factor) * np.abs(target_change)
        return {
            "gram_kind": self.gram_kind,
            "n_rows": self.n_rows + n_rows,
            "weight": total,
            "mean": own["mean"] + share * change,
            "target_mean": own["target_mean"] + share * target_change,
            "target_norm": np.hypot(np.hypot(own["target_norm"], norm), shift),
            "cross": own["cross"] + cross + np.outer(factor * change, target_change),
            "excess": own["excess"] + product.excess,
            "_gram": gram,
        }


def _no_rows(n_features, n_targets):
    """Attributes of sums of no rows."""
    sizes = {"mean": n_features, "excess": n_features}
    sizes |= {"target_mean": n_targets, "target_norm": n_targets}
    sizes |= {"cross": (n_features, n_targets), "_gram": (n_features, n_features)}
    return {name: np.zeros(size) for name, size in sizes.items()}


class _Stored:
    """A Gram matrix that is there already, with what rounding had added to its diagonal."""

    cross = None  # as the exact features have it

    def __init__(self, gram, excess=0.0):
        self._gram, self.excess = gram, excess

    def add_to(self, gram):
        gram += self._gram

    def rank_two(self):
        return np.empty((2, len(self._gram), 0))


class _SparseProduct(_Stored):
    """Product of uncentred sparse rows; the mean is taken out of it."""

    def __init__(self, Phi, mean, weights):
        Phi = Phi.astype(np.float64)
        super().__init__((Phi.T @ diags(weights) @ Phi).toarray())
        self._mean, self._weight = mean, weights.sum()

    def rank_two(self):
        return -self._weight * self._mean[:, None], self._mean[:, None]


def _product(Phi, mean, targets, weights, kind):
    """Return what adds the Gram matrix of the centred rows to another."""
    if issparse(Phi):
        return _SparseProduct(Phi, mean, weights)
    if kind == "int7" and integers_win("levels"):
        return QuantizedGram(Phi, mean, targets, np.sqrt(weights))
    dtype = np.float64 if kind == "float64" else np.float32
    rows = np.subtract(Phi, mean, dtype=dtype)
    if not (weights == 1).all():
        rows *= np.sqrt(weights)[:, None].astype(dtype)
    # One array on both sides: numpy then computes half of the symmetric product.
    return _Stored(rows.T @ rows)


def _add_outer(gram, left, right):
    """``gram += left @ right.T`` in place, for C-ordered ``gram``."""
    blas.dgemm(1.0, right, left, beta=1.0, c=gram.T, trans_b=True, overwrite_c=True)


def _first_order(Phi, targets, weights, dtype):
    """Mean (D,), cross products (D, q) with centred targets, norms (q,) of these."""
    unit = np.abs(targets).max(axis=0)
    unit[unit == 0] = 1.0  # in units of the largest, squares neither overflow nor vanish
    targets = targets / unit
    weighted = weights[:, None] * targets
    left = np.column_stack([weights / weights.sum(), weighted]).T.astype(dtype)
    shift = _near_mean(Phi, dtype)
    sums = np.zeros((len(left), Phi.shape[1]))
    for rows in cached_chunks(Phi.shape[0], Phi.shape[1], min_rows=32):
        block = Phi[rows].astype(dtype, copy=False)
        sums += left[:, rows] @ (block if issparse(Phi) else block - shift)
    norm = np.sqrt((weighted * targets).sum(axis=0)) * unit
    # The weighted targets add up to zero but for rounding, which a large mean would magnify.
    cross = (sums[1:] - np.outer(weighted.sum(axis=0), sums[0])).T * unit
    return shift + sums[0], cross, norm


def _near_mean(Phi, dtype):
    """Mean of the first dense rows, taken out of sums to keep digits; zeros for sparse ones."""
    if issparse(Phi):
        return np.zeros(Phi.shape[1], dtype)
    return Phi[:_FIRST_ROWS].mean(axis=0, dtype=np.float64).astype(dtype)
