"""A medium made of a permutation, phases and Fourier transforms: k log k instead of k D."""

import numpy as np
from scipy import fft

from skopu._core.chunks import Portions, slices
from skopu._core.places import HOST, place_of
from skopu.devices.threads import count_threads, run_tasks
from skopu.devices.tiles import random_words

# Light of the reference, of power 1/2. The transform of a value at position 0 is that value
# everywhere, and halves are exact in floating point.
_REFERENCE = np.complex64(0.5 + 0.5j)
_PHASES = np.array([1, 1j, -1, -1j], dtype=np.complex64)
# scipy transforms four lines at once with vector instructions; those of a table are many.
_ROWS = 4
_BUFFER_VALUES = 2**16  # shorter lines are transformed by so many values
_CARD_VALUES = 2**25  # what a card transforms at a time
_LONGEST_LINE = 2**15  # a longer one is made a table, which stays in the cache
_PERMUTATION, _PHASE = 1, 2  # streams of random bits


class StructuredMedium:
    r"""Fields :math:`E_j = \sum_i s_i \omega^{j \pi(i)} z_i`, beside a weak reference beam.

    :math:`\pi` is a random permutation of the bits into positions 1 to k, :math:`s_i` are
    independent uniform phases from {1, i, -1, -i}, and :math:`\omega^{j \pi}` are the characters
    of a finite Abelian group of at least k + 1 positions: a discrete Fourier transform, in two
    axes if there are more than 2^15. For D above the number of positions, further transforms
    follow with phases of their own.

    Parameters
    ----------
    seed, n_bits, n_components : int
    max_memory : float
        Bytes that the phases may take; beyond, they are made again whenever they are needed.
    place : Host, default=HOST
        Where the transforms are made. A card's are rounded otherwise: answers agree to 1e-5 or
        better of the largest.
    """

    reference_power = np.float32(0.5)

    def __init__(self, seed, n_bits, n_components, max_memory, place=HOST):
        self.seed = seed
        self.n_bits = n_bits
        self.n_components, self.place = n_components, place
        self.shape = choose_shape(n_bits)
        self.n_positions = int(np.prod(self.shape))
        keys = random_words(n_bits, seed, stream=_PERMUTATION)
        # Of the bits, along the positions.
        self._order = place.put(np.argsort(keys, kind="stable"))
        n_blocks = -(-n_components // self.n_positions)
        self._is_stored = n_blocks * n_bits * _REFERENCE.itemsize <= max_memory
        self._stored = {}

    def field(self, codes, dtype, n_jobs=None):
        """E of codes (n, k), without the reference, of a complex dtype and shape (n, D)."""
        field = place_of(codes).empty((len(codes), self.n_components), dtype)
        self._fill(codes, field, 0, _copy, n_jobs)
        return field

    def intensities(self, codes, n_jobs=None):
        """|E + b|^2 - 1/2 of codes (n, k), float32 of shape (n, D), where the codes are."""
        intensities = place_of(codes).empty((len(codes), self.n_components), "float32")
        self._fill(codes, intensities, _REFERENCE, _detect, n_jobs)
        return intensities

    def _fill(self, codes, out, reference, finish, n_jobs):
        """Let ``finish`` turn the light of each block of components into columns of ``out``."""
        place, n_rows = self.place, self._rows_at_a_time()
        portions = Portions(place, n_rows)

        def work(tasks):
            buffer = None if place.is_card else place.empty((n_rows, self.n_positions), "complex64")

            def do(rows):
                ordered = self._ordered(codes[rows])
                for components in slices(self.n_components, self.n_positions):
                    light = self._light(ordered, components, reference, buffer)
                    light = light[:, : components.stop - components.start]
                    finish(out[rows, components], light)

            for all_rows in tasks:
                portions.run(do, all_rows)

        n_threads = 1 if place.is_card else count_threads(n_jobs)
        run_tasks(work, slices(len(codes), n_rows), n_threads)

    def _rows_at_a_time(self):
        if self.place.is_card:
            return max(1, _CARD_VALUES // self.n_positions)
        if len(self.shape) == 1:
            return _ROWS * max(1, _BUFFER_VALUES // (_ROWS * self.n_positions))
        return 1

    def _ordered(self, codes):
        """Bits (n, k) along the positions, at the place."""
        if self.place.is_card:
            return self.place.put(codes)[:, self._order].view(self.place.xp.int8)
        return np.take(codes, self._order, axis=1, mode="clip").view(np.int8)

    def _light(self, ordered, components, reference, buffer):
        """Transform the permuted bits (n, k), in the buffer if there is one."""
        place, (n_codes, n_bits) = self.place, ordered.shape
        if buffer is None:
            buffer = place.empty((n_codes, self.n_positions), "complex64")
        elif len(self.shape) == 1:
            # Rows are made up to fours, so that each goes through the same instructions.
            buffer = buffer[: -(-n_codes // _ROWS) * _ROWS]
        buffer[:, 0] = complex(reference)
        # A phase or nothing: as integers of the same 64 bits, since 0 and 1 are so in both.
        integers = place.xp.int64
        phases = self._phases(components.start // self.n_positions).view(integers)
        place.xp.multiply(ordered, phases, out=buffer.view(integers)[:n_codes, 1 : n_bits + 1])
        buffer[:, n_bits + 1 :] = 0
        buffer[n_codes:] = 0
        table = buffer.reshape(-1, *self.shape)
        light = place.fft(table, tuple(range(1, table.ndim)))
        return light.reshape(buffer.shape)[:n_codes]

    def _phases(self, block):
        phases = self._stored.get(block)
        if phases is None:
            words = random_words(-(-self.n_bits // 32), self.seed, block, stream=_PHASE)
            digits = (words.view(np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
            phases = self.place.put(_PHASES[digits.ravel()[: self.n_bits]])
            if self._is_stored:
                self._stored[block] = phases
        return phases


def choose_shape(n_bits):
    """Return the shape of the transform: one axis, or two for many bits."""
    if n_bits < _LONGEST_LINE:
        return (fft.next_fast_len(n_bits + 1),)
    rows = 2 ** round(np.log2(n_bits) / 2)
    return rows, fft.next_fast_len(-(-(n_bits + 1) // rows))


def _detect(intensities, light):
    place = place_of(light)
    parts = light.view(place.xp.float32)
    place.xp.square(parts, out=parts)
    if place_of(intensities) == place:
        place.xp.add(parts[:, 0::2], parts[:, 1::2], out=intensities)
    else:
        intensities[...] = place_of(intensities).put(parts[:, 0::2] + parts[:, 1::2])
    intensities -= StructuredMedium.reference_power


def _copy(field, light):
    field[...] = place_of(field).put(light)
