"""How many rows are worked on at a time, decided once for the whole package.

Two sizes. What is made of a chunk of rows must fit memory: products of matrices run at full
speed from a few hundred rows on, and 4096 rows of 4096 numbers take 128 MB in float64. What is
done to a block of values elementwise, or read twice, should stay in the cache of a core. What a
card's memory holds is found out by trying.
"""

CHUNK_ROWS = 4096
_CACHED_VALUES = 2**17  # half a megabyte in float32


def slices(n, size):
    """Cut range(n) into slices, as ``gen_batches`` does, whose checks take longer than a row."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def row_chunks(n_rows, max_rows=CHUNK_ROWS):
    """Return slices of rows of which a matrix is made at a time."""
    return slices(n_rows, min(max_rows, CHUNK_ROWS))


def cached_chunks(n_rows, n_columns, min_rows=1):
    """Return slices of rows whose values stay in the cache."""
    return slices(n_rows, max(min_rows, _CACHED_VALUES // n_columns))


class Portions:
    """Rows worked on at a time: half as many from where memory has not sufficed.

    Parameters
    ----------
    place : Host
        Whose memory it is.
    max_rows : int
    """

    def __init__(self, place, max_rows):
        self._place, self.max_rows = place, max(1, max_rows)

    def run(self, task, rows):
        """Call ``task`` with slices, one after the other, that make up the slice ``rows``.

        A call that runs out of memory is made again with half of its rows: it must leave nothing
        behind that a second one would not write over.
        """
        for _ in self.results(task, rows):
            pass

    def results(self, task, rows):
        """Yield what ``task`` returns for these slices."""
        start = rows.start
        while start < rows.stop:
            part = slice(start, min(start + self.max_rows, rows.stop))
            try:
                result = task(part)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                lacking = str(error)
            else:
                start = part.stop
                yield result
                del result  # before the next one is made
                continue
            # Only here, where the error is gone, are the arrays of the call gone with it.
            self._halve(part.stop - part.start, lacking)

    def _halve(self, n_rows, lacking):
        self._place.release()
        if n_rows == 1:
            raise MemoryError(
                f"the memory of {self._place.name} does not hold what one row needs: use fewer "
                f"components or bits, a smaller max_memory, or torch_device='cpu' ({lacking[:200]})"
            )
        self.max_rows = min(self.max_rows, n_rows // 2)


def is_out_of_memory(error):
    """Whether an exception says so; torch's is a RuntimeError and known by its name."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
