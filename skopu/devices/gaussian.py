"""A medium with a Gaussian transmission matrix: any matrix product, the light itself."""

from contextlib import nullcontext
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from skopu._core.integer_product import choose_product, integer_product
from skopu._core.interrupts import restoring
from skopu.devices.threads import count_threads, one_openmp_thread, run_tasks, slices
from skopu.devices.tiles import LARGEST_ENTRY, TILE_COMPONENTS, fill_block, scale

_ROWS = 1000  # codes multiplied at a time
_SUMS = 2**22  # of either part at a time: a product is faster the more it has of both sides
_ROWS_TO_A_BLOCK = 2**13  # codes to a block of R, where that has to be made again each time
_BITS = 2**14  # multiplied at a time, a multiple of a tile's: float32 holds the sums over them
_STRIP = 2**18  # sums that are squared and added at a time, so that they stay in the cache


class GaussianMedium:
    """R with Gaussian entries (see ``SimulatedOPU``), of which the intensities are |Rz|^2.

    Parameters
    ----------
    seed, n_bits, n_components : int
    max_memory : float
        Bytes that R, 2kD of them, may take. If it takes more, its blocks are made again
        whenever they are needed.
    """

    reference_power = np.float32(0)

    def __init__(self, seed, n_bits, n_components, max_memory):
        self.seed = seed
        self.n_bits = n_bits
        self.n_components = n_components
        self._is_stored = 2 * n_bits * n_components <= max_memory
        self._parts = None  # int8 of shape (2, D, k), real and imaginary parts before scaling

    def matrix(self):
        """Return R, complex64 of shape (D, k)."""
        self._store(1)  # whoever asks for R goes on to project through it
        parts = self._block(slice(0, self.n_components), slice(0, self.n_bits))
        R = np.empty(parts.shape[1:], dtype=np.complex64)
        np.multiply(parts[0], scale(), out=R.real)
        np.multiply(parts[1], scale(), out=R.imag)
        return R

    def field(self, codes, dtype, n_jobs=None):
        """Rz of codes (n, k), of a complex dtype and shape (n, D)."""
        field = np.empty((len(codes), self.n_components), dtype=dtype)
        self._fill(codes, field, _scale_field, n_jobs)
        return field

    def intensities(self, codes, n_jobs=None):
        """|Rz|^2 of codes (n, k), float32 of shape (n, D)."""
        intensities = np.empty((len(codes), self.n_components), dtype=np.float32)
        self._fill(codes, intensities, _add_squares, n_jobs)
        return intensities

    def _fill(self, codes, out, finish, n_jobs):
        """Let ``finish`` turn sums into the rows and columns of ``out`` that belong to them."""
        product = choose_product(2 * codes.size * self.n_components, "codes")
        if product is integer_product:
            n_threads = count_threads(n_jobs)
            # One thread because OpenMP has one needs no limit, which takes 0.1 ms to set.
            limits = nullcontext if n_jobs is None and n_threads == 1 else one_openmp_thread
        else:
            # The BLAS divides a product among threads itself.
            n_threads, limits = 1, partial(_limit_blas, n_jobs)
        self._store(n_threads)

        def work(tasks):
            memory = np.empty((2, 0), dtype=np.float32)
            with limits():
                for rows, components in tasks:
                    n_sums = (rows.stop - rows.start) * (components.stop - components.start)
                    if memory.shape[1] < n_sums:
                        memory = np.empty((2, n_sums), dtype=np.float32)
                    sums = self._sums(codes[rows], components, product, memory[:, :n_sums])
                    for strip in slices(len(sums[0]), max(1, _STRIP // len(sums[0][0]))):
                        real, imaginary = (part[strip] for part in sums)
                        finish(real, imaginary, out[rows, components][strip])

        run_tasks(work, self._tasks(len(codes), n_threads), n_threads)

    def _tasks(self, n_codes, n_threads):
        """Parts of the result, as pairs of slices."""
        n_columns = TILE_COMPONENTS
        if not self._is_stored:
            rows = slices(n_codes, _ROWS_TO_A_BLOCK)
        elif rows := slices(n_codes, _ROWS):
            largest = _SUMS // min(n_codes, _ROWS)
            # Some for each thread.
            share = self.n_components * len(rows) // (2 * n_threads) if n_threads > 1 else largest
            n_columns = max(n_columns, min(largest, share))
        return [(part, c) for part in rows for c in slices(self.n_components, n_columns)]

    def _sums(self, codes, components, product, memory):
        """Rz before scaling, whole numbers: real and imaginary parts, (n, c) each."""
        memory = memory.reshape(2, len(codes), -1)
        chunks = slices(self.n_bits, _BITS)
        if len(chunks) == 1:
            return [
                product(codes, part.T, out, LARGEST_ENTRY)
                for part, out in zip(self._block(components, chunks[0]), memory, strict=True)
            ]
        # float32 holds the sums, up to 127 k, while they stay below 2^24.
        is_wide = LARGEST_ENTRY * self.n_bits >= 2**24
        sums = np.zeros(memory.shape, dtype=np.float64 if is_wide else np.float32)
        for bits in chunks:
            block = self._block(components, bits)
            for part in range(2):
                sums[part] += product(codes[:, bits], block[part].T, memory[part], LARGEST_ENTRY)
        return sums

    def _store(self, n_threads):
        """Make R, if it is to be kept and there is none yet."""
        if not self._is_stored or self._parts is not None:
            return
        parts = np.empty((2, self.n_components, self.n_bits), dtype=np.int8)

        def work(tasks):
            for rows in tasks:
                fill_block(parts[:, rows], self.seed, rows, slice(0, self.n_bits))

        run_tasks(work, slices(self.n_components, TILE_COMPONENTS), n_threads)
        self._parts = parts

    def _block(self, components, bits):
        if self._parts is not None:
            return self._parts[:, components, bits]
        return self._make(components, bits)

    def _make(self, components, bits):
        shape = 2, components.stop - components.start, bits.stop - bits.start
        block = np.empty(shape, dtype=np.int8)
        fill_block(block, self.seed, components, bits)
        return block


def _limit_blas(n_jobs):
    # Looking for the libraries takes 2 ms, more than a product of a few codes.
    if n_jobs is None:
        return nullcontext()
    return restoring(partial(threadpool_limits, count_threads(n_jobs), user_api="blas"))


def _add_squares(real, imaginary, intensities):
    # The sums are exact, whatever their order; the rest is elementwise, rounded once an
    # operation. Sums that are whole numbers below 2^24 are turned into float32 first.
    if real.dtype == np.float64:
        intensities[...] = np.square(real) + np.square(imaginary)
    else:
        intensities[...] = real
        np.square(intensities, out=intensities)
        others = imaginary.astype(np.float32)
        np.square(others, out=others)
        intensities += others
    intensities *= scale() ** 2


def _scale_field(real, imaginary, field):
    dtype = field.real.dtype
    np.multiply(real, scale(), out=field.real, dtype=dtype, casting="unsafe")
    np.multiply(imaginary, scale(), out=field.imag, dtype=dtype, casting="unsafe")
