"""All products of two bits: features whose inner products are the kernel itself."""

import numpy as np
from sklearn.utils import gen_batches

_CHUNK_VALUES = 2**17  # features computed at a time, so that they stay in the cache


def n_products(n_bits):
    """Return k(k + 1)/2."""
    return n_bits * (n_bits + 1) // 2


def expand(codes, factor=1.0):
    r"""Return the exact features of codes.

    The kernel :math:`\|x\|^2 \|y\|^2 + (x^\top y)^2` of binary codes is
    :math:`2 \sum_{i<j} x_i x_j y_i y_j + x^\top (I + 11^\top) y`, since
    :math:`x_i^2 = x_i`, and :math:`(I + c 11^\top)^2 = I + 11^\top` for
    :math:`c = 1 / (1 + \sqrt{1 + k})`. Being linear in every single bit, the features of bit
    probabilities are those expected of the codes.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_bits)
        Bits, or their probabilities.
    factor : float or ndarray of shape (n_bits * (n_bits + 1) / 2,), default=1.0
        The features are multiplied by it.

    Returns
    -------
    features : ndarray of shape (n_samples, n_bits * (n_bits + 1) / 2), dtype float32
        First one for each bit, then the products, those of bit 0 first.
    """
    n_codes, n_bits = codes.shape
    features = np.empty((n_codes, n_products(n_bits)), dtype=np.float32)
    factor = np.broadcast_to(np.asarray(factor, dtype=np.float32), features.shape[1:])
    pair = np.float32(np.sqrt(2)) * factor[n_bits:]
    for rows in gen_batches(n_codes, max(1, _CHUNK_VALUES // features.shape[1])):
        bits = codes[rows].astype(np.float32)
        linear = features[rows, :n_bits]
        np.add(bits, bits.sum(axis=1, keepdims=True) / (1 + np.sqrt(1 + n_bits)), out=linear)
        linear *= factor[:n_bits]
        start = n_bits
        for i in range(n_bits - 1):
            stop = start + n_bits - 1 - i
            np.multiply(bits[:, i, None], bits[:, i + 1 :], out=features[rows, start:stop])
            start = stop
        features[rows, n_bits:] *= pair
    return features
