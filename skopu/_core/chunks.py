"""How many rows are worked on at a time, decided once for the whole package.

Two sizes. What is made of a chunk of rows must fit memory: products of matrices run at full
speed from a few hundred rows on, and 4096 rows of 4096 numbers take 128 MB in float64. What is
done to a block of values elementwise, or read twice, should stay in the cache of a core.
"""

from sklearn.utils import gen_batches

CHUNK_ROWS = 4096
_CACHED_VALUES = 2**17  # half a megabyte in float32


def row_chunks(n_rows, max_rows=CHUNK_ROWS):
    """Yield slices of rows of which a matrix is made at a time."""
    return gen_batches(n_rows, min(max_rows, CHUNK_ROWS))


def cached_chunks(n_rows, n_columns, min_rows=1):
    """Yield slices of rows whose values stay in the cache."""
    return gen_batches(n_rows, max(min_rows, _CACHED_VALUES // n_columns))
