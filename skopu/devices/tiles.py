"""A Gaussian matrix of small integers, made tile by tile from a counter-based generator."""

from functools import cache

import numpy as np
from scipy.special import ndtri

# A tile of R is made from its own stream of random bits, so that any part of the matrix can be
# made without the rest, in any order, and a larger matrix contains the smaller ones.
TILE_COMPONENTS = 256
TILE_BITS = 64
_STREAM = 0x534B4F5055  # keeps the keys apart from other users of the same seed
LARGEST_ENTRY = 127


@cache
def quantiles():
    """Int8 normal quantiles at the centres of 65536 equal cells."""
    values = ndtri((np.arange(2**16) + 0.5) / 2**16)
    return np.rint(values * (LARGEST_ENTRY / values[-1])).astype(np.int8)


@cache
def scale():
    """Factor, a float32, that gives real and imaginary parts variance 1/2 each."""
    return np.float32(1 / np.sqrt(2 * np.mean(np.square(quantiles(), dtype=np.float64))))


def random_words(n_words, seed, *part, stream=0):
    """Return uint64 random bits of a device's part, named by up to three numbers."""
    counter = np.zeros(4, dtype=np.uint64)
    counter[1 : 1 + len(part)] = part
    key = np.array([seed, _STREAM + stream], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(n_words).astype("<u8", copy=False)


def fill_block(block, seed, components, bits):
    """Make a part of R.

    Parameters
    ----------
    block : ndarray of shape (2, n_components, n_bits), dtype int8
        To be filled: real parts, then imaginary ones.
    seed : int
    components, bits : slice
        Which part; both start where a tile does.
    """
    for row in range(0, block.shape[1], TILE_COMPONENTS):
        for column in range(0, block.shape[2], TILE_BITS):
            corner = block[:, row : row + TILE_COMPONENTS, column : column + TILE_BITS]
            tile = _tile(
                seed,
                (components.start + row) // TILE_COMPONENTS,
                (bits.start + column) // TILE_BITS,
            )
            corner[...] = tile[:, : corner.shape[1], : corner.shape[2]]


def _tile(seed, row, column):
    """Int8 tile number (row, column), shape (2, 256, 64)."""
    n_entries = 2 * TILE_COMPONENTS * TILE_BITS
    words = random_words(n_entries // 4, seed, row, column)
    entries = np.take(quantiles(), words.view("<u2"))
    return entries.reshape(2, TILE_COMPONENTS, TILE_BITS)
