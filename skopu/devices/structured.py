"""A medium made of a permutation, phases and Fourier transforms: k log k instead of k D."""

import numpy as np
from scipy import fft

from skopu.devices.threads import count_threads, run_tasks, slices
from skopu.devices.tiles import random_words

# Light of the reference, of power 1/2. The transform of a value at position 0 is that value
# everywhere, and halves are exact in floating point.
_REFERENCE = np.complex64(0.5 + 0.5j)
_PHASES = np.array([1, 1j, -1, -1j], dtype=np.complex64)
# scipy transforms four lines at once with vector instructions; those of a table are many.
_ROWS = 4
_BUFFER_VALUES = 2**16  # shorter lines are transformed by so many values
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
    """

    reference_power = np.float32(0.5)

    def __init__(self, seed, n_bits, n_components, max_memory):
        self.seed = seed
        self.n_bits = n_bits
        self.n_components = n_components
        self.shape = choose_shape(n_bits)
        self.n_positions = int(np.prod(self.shape))
        keys = random_words(n_bits, seed, stream=_PERMUTATION)
        self._order = np.argsort(keys, kind="stable")  # of the bits, along the positions
        n_blocks = -(-n_components // self.n_positions)
        self._is_stored = n_blocks * n_bits * _REFERENCE.itemsize <= max_memory
        self._stored = {}

    def field(self, codes, dtype, n_jobs=None):
        """E of codes (n, k), without the reference, of a complex dtype and shape (n, D)."""
        field = np.empty((len(codes), self.n_components), dtype=dtype)
        self._fill(codes, field, 0, np.copyto, n_jobs)
        return field

    def intensities(self, codes, n_jobs=None):
        """|E + b|^2 - 1/2 of codes (n, k), float32 of shape (n, D)."""
        intensities = np.empty((len(codes), self.n_components), dtype=np.float32)
        self._fill(codes, intensities, _REFERENCE, _detect, n_jobs)
        return intensities

    def _fill(self, codes, out, reference, finish, n_jobs):
        """Let ``finish`` turn the light of each block of components into columns of ``out``."""
        n_rows = 1
        if len(self.shape) == 1:
            n_rows = _ROWS * max(1, _BUFFER_VALUES // (_ROWS * self.n_positions))

        def work(tasks):
            buffer = np.empty((n_rows, self.n_positions), dtype=np.complex64)
            for rows in tasks:
                ordered = np.take(codes[rows], self._order, axis=1, mode="clip").view(np.int8)
                for components in slices(self.n_components, self.n_positions):
                    light = self._light(ordered, components, reference, buffer)
                    finish(out[rows, components], light[:, : components.stop - components.start])

        run_tasks(work, slices(len(codes), n_rows), count_threads(n_jobs))

    def _light(self, ordered, components, reference, buffer):
        """Transform the permuted bits (n, k), in the buffer."""
        if len(self.shape) == 1:
            # Rows are made up to fours, so that each goes through the same instructions.
            buffer = buffer[: -(-len(ordered) // _ROWS) * _ROWS]
        n_codes, n_bits = ordered.shape
        buffer[:, 0] = reference
        # A phase or nothing: as integers of the same 64 bits, since 0 and 1 are so in both.
        phases = self._phases(components.start // self.n_positions).view(np.int64)
        np.multiply(ordered, phases, out=buffer.view(np.int64)[:n_codes, 1 : n_bits + 1])
        buffer[:, n_bits + 1 :] = 0
        buffer[n_codes:] = 0
        table = buffer.reshape(-1, *self.shape)
        axes = tuple(range(1, table.ndim))
        light = fft.fftn(table, axes=axes, overwrite_x=True, workers=1)
        return light.reshape(buffer.shape)[:n_codes]

    def _phases(self, block):
        phases = self._stored.get(block)
        if phases is None:
            words = random_words(-(-self.n_bits // 32), self.seed, block, stream=_PHASE)
            digits = (words.view(np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
            phases = _PHASES[digits.ravel()[: self.n_bits]]
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
    parts = light.view(np.float32)
    np.square(parts, out=parts)
    np.add(parts[:, 0::2], parts[:, 1::2], out=intensities)
    intensities -= StructuredMedium.reference_power
