"""A medium with a Gaussian transmission matrix: any matrix product, the light itself."""

from contextlib import nullcontext
from functools import partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from skopu._core.chunks import Portions, is_out_of_memory, slices
from skopu._core.integer_product import choose_product, integer_product
from skopu._core.interrupts import restoring
from skopu._core.places import HOST, dtype_name, place_of, to_host
from skopu.devices.threads import count_threads, one_openmp_thread, run_tasks
from skopu.devices.tiles import LARGEST_ENTRY, TILE_COMPONENTS, fill_block, scale

_BITS = 2**14  # multiplied at a time, a multiple of a tile's: float32 holds the sums over them
_SLAB = 2**26  # entries of R that are made before they go to a card


class _Portion(NamedTuple):
    """How much is worked on at a time."""

    rows: int  # codes multiplied
    sums: int  # of either part: a product is faster the more it has of both sides
    rows_to_a_block: int  # codes to a block of R, where that has to be made again each time
    bits: int | None  # None: _BITS
    strip: int  # sums that are squared and added


# The host squares what stays in its cache. A card has no use for strips, and its integer sums hold
# so many bits that float32 still holds the result.
_ON_HOST = _Portion(1000, 2**22, 2**13, None, 2**18)
_ON_CARD = _Portion(2**12, 2**25, 2**15, 2**17, 2**62)


class GaussianMedium:
    """R with Gaussian entries (see ``SimulatedOPU``), of which the intensities are |Rz|^2.

    Parameters
    ----------
    seed, n_bits, n_components : int
    max_memory : float
        Bytes that R, 2kD of them, may take. If it takes more, its blocks are made again
        whenever they are needed.
    place : Host, default=HOST
        Where R is, and products are made.
    """

    reference_power = np.float32(0)

    def __init__(self, seed, n_bits, n_components, max_memory, place=HOST):
        self.seed = seed
        self.n_bits = n_bits
        self.n_components = n_components
        self.place, self._portion = place, _ON_CARD if place.is_card else _ON_HOST
        self._is_stored = 2 * n_bits * n_components <= max_memory
        self._parts = None  # int8 of shape (2, D, k), real and imaginary parts before scaling

    def matrix(self):
        """Return R, complex64 of shape (D, k)."""
        self._store()  # whoever asks for R goes on to project through it
        parts = to_host(self._block(slice(0, self.n_components), slice(0, self.n_bits)))
        parts = parts[:, : self.n_components, : self.n_bits]
        R = np.empty(parts.shape[1:], dtype=np.complex64)
        np.multiply(parts[0], scale(), out=R.real)
        np.multiply(parts[1], scale(), out=R.imag)
        return R

    def field(self, codes, dtype, n_jobs=None):
        """Rz of codes (n, k), of a complex dtype by its name and shape (n, D)."""
        field = place_of(codes).empty((len(codes), self.n_components), dtype)
        self._fill(codes, field, _scale_field, n_jobs)
        return field

    def intensities(self, codes, n_jobs=None):
        """|Rz|^2 of codes (n, k), float32 of shape (n, D), where the codes are."""
        intensities = place_of(codes).empty((len(codes), self.n_components), "float32")
        self._fill(codes, intensities, _add_squares, n_jobs)
        return intensities

    def _fill(self, codes, out, finish, n_jobs):
        """Let ``finish`` turn sums into the rows and columns of ``out`` that belong to them."""
        place = self.place
        product = choose_product(2 * len(codes) * self.n_bits * self.n_components, "codes", place)
        self._store(n_jobs)
        n_threads, limits = self._threads(product, n_jobs)
        shown = _Shown(codes, self)
        portions = Portions(place, max(self._portion.rows, self._portion.rows_to_a_block))

        def work(tasks):
            memory = None

            def do(components, rows):
                nonlocal memory
                n_columns = place.aligned(components.stop - components.start)
                n_sums = (rows.stop - rows.start) * n_columns
                if memory is None or memory.shape[1] < n_sums:
                    memory = None  # before there is more
                    memory = place.empty((2, n_sums), "float32")
                sums = self._sums(shown.at(rows), components, product, memory[:, :n_sums])
                for strip in slices(len(sums[0]), max(1, self._portion.strip // n_columns)):
                    _write(finish, [part[strip] for part in sums], out[rows, components][strip])

            with limits():
                for rows, components in tasks:
                    portions.run(partial(do, components), rows)

        run_tasks(work, self._tasks(len(codes), n_threads), n_threads)

    def _threads(self, product, n_jobs):
        """Return the number of threads, and a context for what each of them calls."""
        if self.place.is_card:
            # Threads have something to do where R is made again.
            return 1 if self._is_stored else count_threads(n_jobs), nullcontext
        if product is not integer_product:
            return 1, partial(_limit_blas, n_jobs)  # the BLAS divides a product itself
        n_threads = count_threads(n_jobs)
        # One thread because OpenMP has one needs no limit, which takes 0.1 ms to set.
        is_plain = n_jobs is None and n_threads == 1
        return n_threads, nullcontext if is_plain else one_openmp_thread

    def _tasks(self, n_codes, n_threads):
        """Parts of the result, as pairs of slices."""
        n_columns, portion = TILE_COMPONENTS, self._portion
        if not self._is_stored:
            rows = slices(n_codes, portion.rows_to_a_block)
        elif rows := slices(n_codes, portion.rows):
            largest = portion.sums // min(n_codes, portion.rows)
            # Some for each thread.
            share = self.n_components * len(rows) // (2 * n_threads) if n_threads > 1 else largest
            n_columns = max(n_columns, min(largest, share))
        return [(part, c) for part in rows for c in slices(self.n_components, n_columns)]

    def _sums(self, codes, components, product, memory):
        """Rz before scaling, whole numbers: real and imaginary parts, (n, c) each."""
        memory = memory.reshape(2, len(codes), -1)
        chunks = slices(self.n_bits, self._portion.bits or _BITS)
        if len(chunks) == 1:
            return [
                product(codes, part.T, out, LARGEST_ENTRY)
                for part, out in zip(self._block(components, chunks[0]), memory)
            ]
        # float32 holds the sums, up to 127 k, while they stay below 2^24.
        is_wide = LARGEST_ENTRY * self.n_bits >= 2**24
        sums = self.place.zeros(memory.shape, "float64" if is_wide else "float32")
        for bits in chunks:
            block = self._block(components, bits)
            shown = codes[:, bits.start : bits.start + block.shape[2]]
            for part in range(2):
                sums[part] += product(shown, block[part].T, memory[part], LARGEST_ENTRY)
        return sums

    def _store(self, n_jobs=1):
        """Make R, if it is to be kept and there is none yet."""
        if not self._is_stored or self._parts is not None:
            return
        place = self.place
        axes = place.aligned(self.n_components), place.aligned(self.n_bits)
        try:
            parts = (place.zeros if place.is_card else place.empty)((2, *axes), "int8")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._is_stored = False  # its blocks are made again, as if max_memory had said so
            return
        size = TILE_COMPONENTS
        if place.is_card:
            size *= max(1, _SLAB // (2 * TILE_COMPONENTS * self.n_bits))

        def work(tasks):
            for rows in tasks:
                if place.is_card:
                    block = self._entries(rows, slice(0, self.n_bits))
                    parts[:, rows, : self.n_bits] = place.put(block)
                else:
                    fill_block(parts[:, rows], self.seed, rows, slice(0, self.n_bits))

        run_tasks(work, slices(self.n_components, size), count_threads(n_jobs))
        self._parts = parts

    def _block(self, components, bits):
        """Entries of R at the place, int8 of shape (2, c, b), of sizes that its product takes."""
        if self._parts is not None:
            c, b = (
                part.start + self.place.aligned(part.stop - part.start)
                for part in (components, bits)
            )
            return self._parts[:, components.start : c, bits.start : b]
        return self._make(components, bits)

    def _make(self, components, bits):
        block = self._entries(components, bits)
        if not self.place.is_card:
            return block
        made = self.place.zeros([2, *map(self.place.aligned, block.shape[1:])], "int8")
        made[:, : block.shape[1], : block.shape[2]] = self.place.put(block)
        return made

    def _entries(self, components, bits):
        shape = 2, components.stop - components.start, bits.stop - bits.start
        block = np.empty(shape, dtype=np.int8)
        fill_block(block, self.seed, components, bits)
        return block


class _Shown:
    """Codes where their products are made, the last rows asked for being kept there.

    Parameters
    ----------
    codes : ndarray or Tensor of shape (n, k), dtype uint8
    medium : GaussianMedium
    """

    def __init__(self, codes, medium):
        self._codes, self._place = codes, medium.place
        self._n_more = medium.place.aligned(medium.n_bits) - medium.n_bits
        self._rows, self._kept, self._lock = None, None, Lock()

    def at(self, rows):
        """Return these rows, of a length that the place's product takes."""
        place = self._place
        if not place.is_card:
            return self._codes[rows]
        with self._lock:  # threads that make blocks of R share the codes
            if rows != self._rows:
                self._kept = None
                kept = place.put(self._codes[rows])
                if self._n_more:
                    kept = place.xp.nn.functional.pad(kept, (0, self._n_more))
                self._rows, self._kept = rows, kept
            return self._kept


def _write(finish, sums, target):
    """Let ``finish`` write into ``target``, which may be elsewhere, and narrower."""
    place = place_of(sums[0])
    sums = [part[:, : target.shape[1]] for part in sums]
    if place_of(target) == place:
        finish(place.xp, *sums, target)
        return
    there = place.empty(target.shape, dtype_name(target))
    finish(place.xp, *sums, there)
    target[...] = place_of(target).put(there)


def _limit_blas(n_jobs):
    # Looking for the libraries takes 2 ms, more than a product of a few codes.
    if n_jobs is None:
        return nullcontext()
    return restoring(partial(threadpool_limits, count_threads(n_jobs), user_api="blas"))


def _add_squares(xp, real, imaginary, intensities):
    # The sums are exact, whatever their order; the rest is elementwise, rounded once an
    # operation. Sums that are whole numbers below 2^24 are turned into float32 first.
    if real.dtype == xp.float64:
        intensities[...] = xp.square(real) + xp.square(imaginary)
    else:
        intensities[...] = real
        xp.square(intensities, out=intensities)
        others = place_of(imaginary).cast(imaginary, "float32")
        xp.square(others, out=others)
        intensities += others
    intensities *= scale() ** 2


def _scale_field(xp, real, imaginary, field):
    for part, sums in ((field.real, real), (field.imag, imaginary)):
        part[...] = sums
        part *= scale()
