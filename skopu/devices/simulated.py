"""A device in software, exact and reproducible to the last bit."""

from functools import cache
from numbers import Integral

import numpy as np
from scipy import fft
from scipy.special import ndtri
from sklearn.utils import gen_batches

from skopu.devices.base import OPUDevice
from skopu.devices.camera import Sensor

# A tile of R is made from its own stream of random bits, so that any part of the matrix can be
# made without the rest, and a larger matrix contains the smaller ones.
_TILE_COMPONENTS = 256
_TILE_BITS = 64
_STREAM = 0x534B4F5055  # keeps the key apart from other users of the same seed
_LARGEST_ENTRY = 127
_CHUNK_VALUES = 2**17  # intensities computed at a time, so that they stay in the cache
_MIN_ROWS = 64  # unless the matrix would be read again for too few rows


class SimulatedOPU(OPUDevice):
    r"""Simulated Optical Processing Unit with a seeded Gaussian matrix.

    Computes :math:`|Rz|^2` with :math:`R_{ij}` independent, circular,
    :math:`E|R_{ij}|^2 = 1` [1]_. Real and imaginary parts are 65536 equally likely normal
    quantiles rounded to integers in [-127, 127] times one scale. Sums of such integers are
    exact in floating point in any order, so the intensities are *the same numbers* for any
    batch size, number of threads and BLAS. The price is in the entries' moments: the variance
    is exact, the kurtosis is 2.999 instead of 3, which moves the expected kernel
    :math:`\|x\|^2\|y\|^2 + (x^\top y)^2` by :math:`-0.0004\, x^\top y` (binary x and y).

    Parameters
    ----------
    random_state : int, default=0
        The device's identity: one seed, one matrix. None is refused, since a device whose
        matrix changes between calls is of no use.
    max_bits, max_components : int or None, default=None
        Pretend to be a device with these limits.
    camera : Camera or None, default=None
        What reads the light; None: read exactly. With a camera, answers are noisy and differ
        from call to call.

    Attributes
    ----------
    n_passes : int
        Codes projected so far.
    known_matrix : bool
        True without a camera: ``matrix`` gives R. With a camera the answers are no longer those
        of R, and the device keeps it to itself, as a machine does; ``SimulatedOPU`` with the
        same seed and no camera tells it.

    References
    ----------
    .. [1] Saade et al., "Random projections through multiple optical scattering:
       Approximating kernels at the speed of light", ICASSP 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import SimulatedOPU
    >>> opu = SimulatedOPU(random_state=0)
    >>> codes = np.array([[1, 0, 1], [0, 1, 1]])
    >>> intensities = opu.project(codes, n_components=5)
    >>> intensities.shape, intensities.dtype.name, opu.n_passes
    ((2, 5), 'float32', 2)
    >>> R = opu.matrix(n_bits=3, n_components=5)
    >>> bool(np.allclose(intensities, abs(codes @ R.T) ** 2))
    True
    """

    def __init__(self, random_state=0, *, max_bits=None, max_components=None, camera=None):
        self.random_state = random_state
        self.max_bits = max_bits
        self.max_components = max_components
        self.camera = camera

    @property
    def known_matrix(self):
        """Whether ``matrix`` gives R."""
        return self.camera is None

    def matrix(self, n_bits, n_components):
        """Return R.

        Parameters
        ----------
        n_bits, n_components : int
            k and D. A larger matrix contains the smaller ones in its corner.

        Returns
        -------
        R : ndarray of shape (n_components, n_bits), dtype complex64

        Raises
        ------
        AttributeError
            If there is a camera.
        """
        if not self.known_matrix:
            return super().matrix(n_bits, n_components)
        self.check_size(n_bits, n_components)
        parts = self._integers(n_bits, n_components) * _scale()
        return (parts[:, :n_components] + 1j * parts[:, n_components:]).T

    def _project(self, codes, n_components):
        intensities = self._intensities(codes, n_components)
        return intensities if self.camera is None else self._sensor().read(intensities)

    def _interfere(self, codes, n_components, reference, n_pixels):
        light = _on_pixels(self._field(codes, n_components), n_pixels)
        light += np.asarray(reference, dtype=light.dtype)
        intensities = light.real**2 + light.imag**2
        return intensities if self.camera is None else self._sensor().read(intensities)

    def _field(self, codes, n_components):
        """Rz, (n_codes, D); complex128 unless a camera makes the digits beyond 7 worthless."""
        integers = self._integers(codes.shape[1], n_components)
        parts = codes.astype(integers.dtype) @ integers
        real = np.float64 if self.camera is None else np.float32
        field = np.empty((len(codes), n_components), dtype=np.result_type(real, np.complex64))
        np.multiply(parts[:, :n_components], _scale(), out=field.real, dtype=real)
        np.multiply(parts[:, n_components:], _scale(), out=field.imag, dtype=real)
        return field

    def _sensor(self):
        """State of the camera; begins with the first frame."""
        kept = getattr(self, "_kept_sensor", None)
        if kept is None or kept.camera is not self.camera:
            kept = self._kept_sensor = Sensor(self.camera)
        return kept

    def _intensities(self, codes, n_components):
        n_codes, n_bits = codes.shape
        integers = self._integers(n_bits, n_components)
        intensities = np.empty((n_codes, n_components), dtype=np.float32)
        n_rows = max(_MIN_ROWS, _CHUNK_VALUES // n_components)
        # One buffer for all chunks: fresh pages would cost more than the arithmetic.
        buffer = np.empty((min(n_rows, n_codes), 2 * n_components), dtype=integers.dtype)
        for rows in gen_batches(n_codes, n_rows):
            # The product is whole numbers, exact whatever the order of its sums; the rest is
            # elementwise, rounded once an operation.
            chunk = codes[rows].astype(integers.dtype)
            parts = np.matmul(chunk, integers, out=buffer[: len(chunk)])
            np.square(parts, out=parts)
            np.add(parts[:, :n_components], parts[:, n_components:], out=intensities[rows])
        intensities *= _scale() ** 2
        return intensities

    def _integers(self, n_bits, n_components):
        """R before scaling: real parts, then imaginary ones, as columns (k, 2D) of integers.

        The last one made is kept. float32 holds the sums, up to 127 k, while they stay below
        2^24.
        """
        key = (_check_seed(self.random_state), n_bits, n_components)
        kept_key, integers = getattr(self, "_kept", (None, None))
        if key != kept_key:
            dtype = np.float32 if _LARGEST_ENTRY * n_bits < 2**24 else np.float64
            integers = np.ascontiguousarray(_make_parts(*key).reshape(-1, n_bits).T, dtype=dtype)
            self._kept = (key, integers)
        return integers

    def __getstate__(self):
        # A pickle holds the seed; the matrix is made again where it is needed.
        state = super().__getstate__().copy()
        state.pop("_kept", None)
        return state


def _on_pixels(field, n_pixels):
    """Interpolate fields (n, D), periodic and band-limited, to a finer grid."""
    n_components = field.shape[1]
    if n_pixels == n_components:
        return field
    spectrum = np.zeros((len(field), n_pixels), dtype=field.dtype)
    bins = np.arange(n_components) - n_components // 2
    spectrum[:, bins] = fft.fft(field, axis=1)[:, bins]
    spectrum *= n_pixels / n_components
    return fft.ifft(spectrum, axis=1, overwrite_x=True)


def _check_seed(random_state):
    if isinstance(random_state, bool) or not isinstance(random_state, Integral):
        raise TypeError(
            "random_state of a SimulatedOPU must be an int (the seed is the device's "
            f"identity), got {random_state!r}; for another matrix use another int."
        )
    if not 0 <= random_state < 2**64:
        raise ValueError(f"random_state must lie in [0, 2**64), got {random_state!r}.")
    return int(random_state)


@cache
def _quantiles():
    """Int8 normal quantiles at the centres of 65536 equal cells."""
    quantiles = ndtri((np.arange(2**16) + 0.5) / 2**16)
    return np.rint(quantiles * (_LARGEST_ENTRY / quantiles[-1])).astype(np.int8)


@cache
def _scale():
    """Factor that gives real and imaginary parts variance 1/2 each."""
    return np.float32(1 / np.sqrt(2 * np.mean(np.square(_quantiles(), dtype=np.float64))))


def _make_parts(seed, n_bits, n_components):
    """Assemble int8 parts of shape (2, D, k) from tiles."""
    parts = np.empty((2, n_components, n_bits), dtype=np.int8)
    for row in range(0, n_components, _TILE_COMPONENTS):
        for column in range(0, n_bits, _TILE_BITS):
            corner = parts[:, row : row + _TILE_COMPONENTS, column : column + _TILE_BITS]
            tile = _tile(seed, row // _TILE_COMPONENTS, column // _TILE_BITS)
            corner[...] = tile[:, : corner.shape[1], : corner.shape[2]]
    return parts


def _tile(seed, row, column):
    """Int8 tile number (row, column), shape (2, 256, 64), from a counter-based generator."""
    stream = np.random.Philox(
        key=np.array([seed, _STREAM], dtype=np.uint64),
        counter=np.array([0, row, column, 0], dtype=np.uint64),
    )
    n_entries = 2 * _TILE_COMPONENTS * _TILE_BITS
    words = stream.random_raw(n_entries // 4).astype("<u8").view("<u2")
    return _quantiles()[words].reshape(2, _TILE_COMPONENTS, _TILE_BITS)
