r"""Masks that show a quadratic form of bits in full, each coefficient by itself.

With signs :math:`t_i = 1 - 2 z_i` an intensity is

.. math:: I(z) = b + \sum_i a_i t_i + \sum_{i<j} q_{ij} t_i t_j .

Bit i of mask number u, of M = 2^r, is the parity of u AND :math:`v_i`, a label of r bits (then
flipped or not, in all masks alike). So each sign is a Walsh function of u, a product of signs is
the one at :math:`v_i \oplus v_j`, and if no two of the 1 + k(k+1)/2 places 0, :math:`v_i`,
:math:`v_i \oplus v_j` are the same, the Walsh transform of the M answers *is* the list of
coefficients. In the words of statistics the masks are an orthogonal array of strength 4 [1]_: every
coefficient has the least variance that M answers can give, :math:`\sigma^2 / M`, and M times
the identity for a normal matrix. Half of each mask is lit, so that all are as bright as each
other, and as the codes that a model will show.

No four labels may add up to zero. The columns of the parity check of a double-error-correcting
code are such: :math:`(x, x^3)` for x in GF(2^m), up to :math:`2^m - 1` labels of 2m bits (BCH);
and for even m the powers of an element of order :math:`2^m + 1` in GF(2^{2m}), so many labels of
2m bits (Zetterberg) [2]_.

References
----------
.. [1] Hedayat, Sloane and Stufken, "Orthogonal arrays", 1999, chapters 4 and 5.
.. [2] MacWilliams and Sloane, "The theory of error-correcting codes", 1977, chapters 7 and 8.
"""

from itertools import count

import numpy as np

# Primitive polynomials over GF(2) by degree, a bit for each coefficient.
_PRIMITIVE = {3: 0xB, 4: 0x13, 5: 0x25, 7: 0x83, 8: 0x11D, 9: 0x211, 11: 0x805}
_PRIMITIVE |= {12: 0x1053, 16: 0x1100B, 20: 0x100009}
MAX_BITS = 2**11 - 1


def mask_labels(n_bits):
    """Return labels of the bits, no four of which add up to zero.

    Parameters
    ----------
    n_bits : int
        k, at most 2047.

    Returns
    -------
    labels : ndarray of shape (n_bits,), dtype int64
    n_masks : int
        M, the power of 2 above all labels.
    """
    for m in count(2):
        even = m % 2 == 0
        if n_bits <= (2**m + 1 if even else 2**m - 1):
            break
    if even:
        labels = _powers(2 * m)[:: 2**m - 1]
    else:
        powers = _powers(m)
        cubes = powers[3 * np.arange(len(powers)) % len(powers)]
        labels = powers | cubes << m
    return labels[:n_bits], 4**m


def _powers(degree):
    """Powers 0, 1, ... of a primitive element of GF(2^degree), all different."""
    powers = np.ones(2**degree - 1, dtype=np.int64)
    for place in range(1, len(powers)):
        doubled = int(powers[place - 1]) << 1
        powers[place] = doubled ^ _PRIMITIVE[degree] if doubled >> degree else doubled
    return powers


def make_masks(numbers, labels, flips):
    """Return masks by number.

    Parameters
    ----------
    numbers : ndarray of shape (m,), dtype int64
    labels : ndarray of shape (n_bits,), dtype int64
    flips : ndarray of shape (n_bits,), dtype uint8
        Ones for the bits that are inverted.

    Returns
    -------
    masks : ndarray of shape (m, n_bits), dtype uint8
    """
    return np.bitwise_count(numbers[:, None] & labels) & 1 ^ flips


def coefficients(answers, labels, flips):
    """Return the coefficients of quadratic forms from the answers to all masks.

    Parameters
    ----------
    answers : ndarray of shape (n_masks, n_components)
        In the order of the masks' numbers.
    labels, flips : ndarray of shape (n_bits,)

    Returns
    -------
    found : ndarray of shape (1 + k(k+1)/2, n_components), dtype float64
        b, then a, then q, row by row above the diagonal.
    noise : ndarray of shape (n_components,), dtype float64
        Variance of a coefficient, from the part of the transform where no form can be; NaN
        if it has no such part.
    """
    first, second = np.triu_indices(len(labels), 1)
    places = np.concatenate([[0], labels, labels[first] ^ labels[second]])
    signs = 1.0 - 2.0 * flips
    signs = np.concatenate([[1.0], signs, signs[first] * signs[second]])
    spectrum = _walsh(answers.astype(np.float64))
    empty = np.ones(len(spectrum), dtype=bool)
    empty[places] = False
    noise = np.full(spectrum.shape[1], np.nan)
    if empty.any():
        noise = np.mean(np.square(spectrum[empty]), axis=0)
    return signs[:, None] * spectrum[places], noise


def _walsh(values):
    """Mean of the values times each Walsh function, along the first axis and in place."""
    step = 1
    while step < len(values):
        pairs = values.reshape(-1, 2, step, values.shape[1])
        low, high = pairs[:, 0], pairs[:, 1]
        low += high
        high *= -2
        high += low
        step *= 2
    values /= len(values)
    return values
