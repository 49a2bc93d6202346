r"""Normal equations of ridge regression, summed a chunk of rows at a time.

Sums are kept about the weighted means of the rows seen so far. With
:math:`\delta = \mu_2 - \mu_1` those of two sets of rows together are (Chan, Golub and LeVeque,
"Updating formulae and a pairwise algorithm for computing sample variances", 1982)

.. math:: G = G_1 + G_2 + \frac{w_1 w_2}{w_1 + w_2} \delta \delta^\top

so a large offset of the features costs no digits, and the parts may come from different passes,
processes or machines. What is kept has D^2 numbers, however many rows there are.
"""

import numpy as np
from scipy.sparse import diags, issparse
from sklearn.utils import gen_batches

from skopu._core.chunks import cached_chunks
from skopu._core.integer_product import integers_win
from skopu._core.places import HOST, float32_products, place_of, rows_of
from skopu.ridge.algebra import add_product
from skopu.ridge.quantized_gram import QuantizedGram

GRAMS = ("auto", "float64", "float32", "tf32", "int7")
# Bytes that a feature takes in a chunk, beside one float32 that it came from.
_BYTES = {"float64": 12, "float32": 8, "int7": 5}
_CARD_BYTES = 20  # of which float64 sums of first order take eight
MAX_CHUNK_ROWS = 2**14  # more of them are no faster, and would overflow the integers of 7 bits
_FIRST_ROWS = 256
_STRIP = (
    1024  # columns of a card's symmetric product made at a time: a card makes all of it otherwise
)


def check_finite(system):
    """Raise ValueError if a matrix holds NaN or infinity."""
    if not place_of(system).xp.isfinite(system).all():
        raise ValueError(
            "the ridge system holds NaN or infinite values: the features or kernel overflowed; "
            "scale the inputs or lower gamma."
        )


def arithmetic(gram, place):
    """Return what a ``gram`` stands for at a place: "float64", "float32", "tf32" or "int7".

    Doubles are slow on most cards, and bytes gain nothing beside what they have. TF32 is theirs
    alone.
    """
    if place.is_card:
        return {"auto": "float32", "int7": "float32"}.get(gram, gram)
    return {"auto": "float64", "tf32": "float32"}.get(gram, gram)


def bytes_of_a_row(n_features, gram, place=HOST):
    """Return the memory that a row of a chunk takes while it is summed."""
    own = _CARD_BYTES if place.is_card else _BYTES[arithmetic(gram, place)]
    return n_features * (4 + own)


class NormalEquations:
    """Sums of weighted rows of features and targets, from which ridge readouts are solved.

    Parameters
    ----------
    gram : {"auto", "float64", "float32", "tf32", "int7"}, default="auto"
        Arithmetic of the products of a chunk; chunks are added up in float64. "auto" is
        "float64", on cards "float32". "int7" rounds the features to 7 bits, see
        :mod:`skopu.ridge.quantized_gram`, but not their mean; it is "float32" on cards, and on
        machines where that is found to be faster. "tf32" rounds them to 11 bits, on cards only:
        elsewhere it is "float32". Sparse features are multiplied in float64 in any case.

    Notes
    -----
    Sums are kept where the features are, in numpy arrays or torch tensors; a pickle has arrays.

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

    def __init__(self, gram="auto"):
        self.gram_kind = gram
        self.n_rows, self.weight = 0, 0.0

    def __getstate__(self):
        return _moved(vars(self), HOST)

    def __setstate__(self, state):
        self.__dict__ = state

    def __copy__(self):
        twin = object.__new__(type(self))
        twin.__dict__ = dict(vars(self))
        return twin

    @property
    def place(self):
        """Where the sums are."""
        return place_of(self._gram)

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
        place, kept = place_of(Phi), weights > 0
        if not kept.all():
            Phi, Y, weights = rows_of(Phi, kept), Y[kept], weights[kept]
        if not len(weights):
            return self
        n_rows, weight = len(weights), weights.sum()
        target_mean = weights @ Y / weight
        targets = place.put(Y - target_mean)
        weights, target_mean = place.put(weights), place.put(target_mean)
        kind = arithmetic(self.gram_kind, place)
        mean, cross, norm = _first_order(Phi, targets, weights, kind)
        product = _product(Phi, mean, targets, weights, kind)
        cross = cross if product.cross is None else product.cross
        part = mean, target_mean, cross, norm, product
        # An error or an interruption finds the sums without these rows, or with them: the new
        # ones are made on the side, and take their place in one assignment.
        self.__dict__ = self._joined(n_rows, weight, *part)
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
        xp = self.place.xp
        gram = xp.triu(self._gram)
        gram += xp.triu(self._gram, 1).T
        return gram

    def system(self, fit_intercept):
        """Return Gram matrix (D, D), cross products (D, q), and means (D,), (q,).

        Without intercept they are about zero, and the means are zeros.
        """
        gram, cross, xp = self.gram(), self.cross, self.place.xp
        if fit_intercept:
            return gram, self.place.copy(cross), self.mean, self.target_mean
        gram += xp.outer(self.weight * self.mean, self.mean)
        cross = cross + xp.outer(self.weight * self.mean, self.target_mean)
        return gram, cross, xp.zeros_like(self.mean), xp.zeros_like(self.target_mean)

    def _joined(self, n_rows, weight, mean, target_mean, cross, norm, product):
        """Attributes with centred sums added; the means' difference enters as the module says."""
        place = place_of(mean)
        xp = place.xp
        own = _moved(vars(self), place) if self.n_rows else _no_rows(place, *cross.shape)
        total = self.weight + weight
        share = weight / total
        change, target_change = mean - own["mean"], target_mean - own["target_mean"]
        factor = self.weight * share
        gram = place.copy(own["_gram"])
        left, right = product.rank_two()
        left = xp.column_stack([left, factor * change])
        add_product(gram, left, xp.column_stack([right, change]))
        product.add_to(gram)
        with np.errstate(over="ignore"):
            shift = np.sqrt(factor) * xp.abs(target_change)
        return {
            "gram_kind": self.gram_kind,
            "n_rows": self.n_rows + n_rows,
            "weight": total,
            "mean": own["mean"] + share * change,
            "target_mean": own["target_mean"] + share * target_change,
            "target_norm": xp.hypot(xp.hypot(own["target_norm"], norm), shift),
            "cross": own["cross"] + cross + xp.outer(factor * change, target_change),
            "excess": own["excess"] + product.excess,
            "_gram": gram,
        }


_ARRAYS = ("mean", "target_mean", "target_norm", "cross", "excess", "_gram")


def _moved(attributes, place):
    """Attributes of sums with the arrays at a place."""
    arrays = {name: place.put(attributes[name]) for name in _ARRAYS if name in attributes}
    return {**attributes, **arrays}


def _no_rows(place, n_features, n_targets):
    """Attributes of sums of no rows."""
    sizes = {"mean": n_features, "excess": n_features}
    sizes |= {"target_mean": n_targets, "target_norm": n_targets}
    sizes |= {"cross": (n_features, n_targets), "_gram": (n_features, n_features)}
    return {name: place.zeros(size) for name, size in sizes.items()}


class _Stored:
    """A Gram matrix that is there already, with what rounding had added to its diagonal."""

    cross = None  # as the exact features have it

    def __init__(self, gram, excess=0.0):
        self._gram, self.excess = gram, excess

    def add_to(self, gram):
        """Add the matrix to ``gram`` (D, D), float64, in place."""
        gram += self._gram

    def rank_two(self):
        """Return U, V of shape (D, 0): ``U @ V.T`` is what is missing, here nothing."""
        return place_of(self._gram).zeros((2, len(self._gram), 0))


class _SparseProduct(_Stored):
    """Product of uncentred sparse rows; the mean is taken out of it."""

    def __init__(self, Phi, mean, weights):
        Phi = Phi.astype(np.float64)
        super().__init__((Phi.T @ diags(weights) @ Phi).toarray())
        self._mean, self._weight = mean, weights.sum()

    def rank_two(self):
        """Return U, V of shape (D, 1), where ``U @ V.T`` takes the mean out."""
        return -self._weight * self._mean[:, None], self._mean[:, None]


def _product(Phi, mean, targets, weights, kind):
    """Return what adds the Gram matrix of the centred rows to another."""
    if issparse(Phi):
        return _SparseProduct(Phi, mean, weights)
    if kind == "int7" and integers_win("levels"):
        return QuantizedGram(Phi, mean, targets, np.sqrt(weights))
    place, dtype = place_of(Phi), "float64" if kind == "float64" else "float32"
    rows = place.difference(Phi, mean, dtype)
    if not (weights == 1).all():
        rows *= place.cast(place.xp.sqrt(weights), dtype)[:, None]
    with float32_products(place, rounds_factors=kind == "tf32"):
        return _Stored(_upper(rows, place, dtype))


def _upper(rows, place, dtype):
    """Return ``rows.T @ rows`` (D, D), of which what lies above the diagonal is right."""
    if not place.is_card:
        # One array on both sides: numpy then computes half of the symmetric product.
        return rows.T @ rows
    product = place.zeros((rows.shape[1], rows.shape[1]), dtype)
    for strip in gen_batches(rows.shape[1], _STRIP):
        out = product[strip, strip.start :]
        place.xp.matmul(rows[:, strip].T, rows[:, strip.start :], out=out)
    return product


def _first_order(Phi, targets, weights, kind):
    """Mean (D,), cross products (D, q) with centred targets, norms (q,) of these."""
    place = place_of(Phi)
    xp = place.xp
    # A card adds all rows up in one go, which float32 would not do well enough.
    dtype = "float64" if place.is_card or kind == "float64" else "float32"
    unit = xp.amax(xp.abs(targets), axis=0)
    unit[unit == 0] = 1.0  # in units of the largest, squares neither overflow nor vanish
    targets = targets / unit
    weighted = weights[:, None] * targets
    left = place.cast(xp.column_stack([weights / weights.sum(), weighted]).T, dtype)
    shift = _near_mean(Phi, place, dtype)
    sums = place.zeros((len(left), Phi.shape[1]))
    for rows in _blocks(Phi, place):
        block = Phi[rows].astype(dtype, copy=False) if issparse(Phi) else Phi[rows]
        sums += left[:, rows] @ (block if issparse(Phi) else place.difference(block, shift, dtype))
    norm = xp.sqrt((weighted * targets).sum(axis=0)) * unit
    # The weighted targets add up to zero but for rounding, which a large mean would magnify.
    cross = (sums[1:] - xp.outer(weighted.sum(axis=0), sums[0])).T * unit
    return shift + sums[0], cross, norm


def _blocks(Phi, place):
    if place.is_card:
        return [slice(0, len(Phi))]
    return cached_chunks(Phi.shape[0], Phi.shape[1], min_rows=32)


def _near_mean(Phi, place, dtype):
    """Mean of the first dense rows, taken out of sums to keep digits; zeros for sparse ones."""
    if issparse(Phi):
        return place.zeros(Phi.shape[1], dtype)
    first = place.cast(Phi[:_FIRST_ROWS], "float64")
    return place.cast(first.mean(axis=0), dtype)
