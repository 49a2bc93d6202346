r"""Gram matrices of features rounded to 7 bits, by exact integer products.

Each column is rounded to 128 levels between its smallest and largest value in the chunk,
:math:`x_{ij} \approx l_j + s_j q_{ij}` with integers :math:`0 \le q_{ij} \le 127`. Then

.. math:: X^\top X \approx S (Q^\top Q) S + l a^\top + a\, l^\top + n\, l\, l^\top,
          \qquad a_j = s_j \sum_i q_{ij},

where only :math:`Q^\top Q` is costly, and it is made of integers: the same in any order, and
four times as fast as in float32 on processors that multiply bytes. On others nothing is gained,
and the products are made in float32 without rounding (:mod:`skopu.ridge.normal_equations`).
"""

import numpy as np

from skopu._core.chunks import cached_chunks
from skopu._core.integer_product import LARGEST, choose_product

_LEVELS = LARGEST
_STRIP = 256  # columns of the product made at a time, of its upper triangle only
_INT32_ROWS = 2**31 // _LEVELS**2


class QuantizedGram:
    """The Gram matrix of the rows ``root * (Phi - mean)``, rounded to 7 bits; not yet scaled.

    Parameters
    ----------
    Phi : ndarray of shape (n, D)
        Fewer than 133,000 rows, so that sums stay below 2^31.
    mean : ndarray of shape (D,)
    targets : ndarray of shape (n, q)
    root : ndarray of shape (n,)
        Factors of the rows, of features and targets.

    Attributes
    ----------
    cross : ndarray of shape (D, q)
        Products of the rounded features with the targets. Those of the exact features would
        make a system of two kinds of rows, whose solution has the larger error.
    excess : ndarray of shape (D,)
        Estimated sum of the squares of the rounding errors of each column, which is what
        rounding adds to the diagonal of the Gram matrix.
    """

    def __init__(self, Phi, mean, targets, root):
        if len(Phi) > _INT32_ROWS:
            raise ValueError(
                f"a chunk of {len(Phi)} rows overflows the integers of gram='int7': use chunks "
                f"of at most {_INT32_ROWS} rows."
            )
        # Unit factors leave the order of values alone: the mean is then taken out of the levels.
        centre, root = _float32(mean, root)
        low, self._step = _levels(Phi, centre, root)
        unit = np.abs(targets).max() or 1.0  # float32 has a small range
        scaled = targets / unit if root is None else root[:, None] * (targets / unit)
        left = np.column_stack([np.ones(len(Phi)), scaled]).T
        codes, sums, self.excess = _quantize(Phi, centre, root, low, self._step, left)
        self._low = low - mean if root is None else low
        self._n_rows = len(Phi)
        self._sums = sums[0]
        self.cross = unit * (sums[1:].T + np.outer(self._low, scaled.sum(axis=0)))
        self._strips = integer_gram(codes)

    def add_to(self, gram):
        """Add the upper triangle to ``gram`` (D, D), float64, in place."""
        for start, strip in self._strips:
            rows = slice(start, start + len(strip))
            scaled = np.multiply(strip, self._step[rows, None])
            scaled *= self._step[start:]
            gram[rows, start:] += scaled

    def rank_two(self):
        """Return U, V of shape (D, 2), where ``U @ V.T`` is what comes of the lowest levels."""
        low, sums = self._low, self._sums
        return np.column_stack([low, sums + self._n_rows * low]), np.column_stack([sums, low])


def _float32(mean, root):
    """Return mean and factors in float32; (None, None) if all factors are 1."""
    if (root == 1).all():
        return None, None
    return mean.astype(np.float32), root.astype(np.float32)


def _blocks(Phi, mean, root):
    """Yield slices of rows with ``root * (Phi - mean)`` in float32; Phi itself without factors."""
    for rows in cached_chunks(len(Phi), Phi.shape[1]):
        block = Phi[rows].astype(np.float32, copy=False)
        yield rows, block if root is None else (block - mean) * root[rows, None]


def _levels(Phi, mean, root):
    """Lowest level and step between levels of each column, float64 (D,)."""
    low = np.full(Phi.shape[1], np.inf, dtype=np.float32)
    high = -low
    for _, block in _blocks(Phi, mean, root):
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
    low, high = low.astype(np.float64), high.astype(np.float64)
    return low, (high - low) / _LEVELS


def _quantize(Phi, mean, root, low, step, left):
    """Int8 codes (n, D) from 0 to 127, ``left @ codes * step``, and summed squared errors (D,).

    The errors are summed over a sixteenth of the rows and extrapolated: a pass over all of them
    would cost as much as the rounding.
    """
    codes = np.empty(Phi.shape, dtype=np.int8)
    inverse = np.divide(1, step, out=np.zeros_like(step), where=step > 0).astype(np.float32)
    start = (low - step / 2).astype(np.float32)  # half a step lower, since the cast rounds down
    errors, n_probed, scaled = np.zeros(Phi.shape[1]), 0, None
    left, sums = left.astype(np.float32), np.zeros((len(left), Phi.shape[1]))
    for rows, block in _blocks(Phi, mean, root):
        scaled = np.subtract(block, start, out=None if scaled is None else scaled[: len(block)])
        scaled *= inverse
        codes[rows] = scaled
        n_probes = -(-len(block) // 16)
        error = scaled[:n_probes] - np.float32(0.5)
        scaled[...] = codes[rows]
        sums += left[:, rows] @ scaled
        error -= scaled[:n_probes]
        errors += np.square(error, out=error).sum(axis=0)
        n_probed += n_probes
    # A constant column has no levels, and no errors.
    errors *= np.square(step) * (len(Phi) / n_probed)
    return codes, sums * step, errors


def integer_gram(codes):
    """Return the exact product of ``codes.T`` and ``codes``, its upper triangle in strips.

    Parameters
    ----------
    codes : ndarray of shape (n, D), dtype int8
        Values from 0 to 127.

    Returns
    -------
    strips : list of (int, ndarray of shape (m, D - start), dtype int32)
        First row ``start`` of each strip; its columns begin at the same number.
    """
    strips = []
    for start in range(0, codes.shape[1], _STRIP):
        left, right = codes[:, start : start + _STRIP].T, codes[:, start:]
        product = choose_product(left.size * right.shape[1], "levels")(left, right)
        strips.append((start, product.astype(np.int32, copy=False)))
    return strips
