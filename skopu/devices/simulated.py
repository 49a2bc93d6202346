"""A device in software, exact and reproducible to the last bit."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np
from scipy import fft

from skopu._core.chunks import is_out_of_memory
from skopu._core.places import HOST, find_place, is_tensor, place_of
from skopu._core.validation import Interval, StrOptions, validate_params
from skopu.devices.base import OPUDevice
from skopu.devices.gaussian import GaussianMedium
from skopu.devices.optics.camera import Sensor
from skopu.devices.structured import StructuredMedium

MEDIA = {"gaussian": GaussianMedium, "structured": StructuredMedium}


@dataclass(eq=False, repr=False)
class SimulatedOPU(OPUDevice):
    r"""Simulated Optical Processing Unit with a seeded medium.

    The medium is one of two.

    **Gaussian.** Computes :math:`|Rz|^2` with :math:`R_{ij}` independent, circular,
    :math:`E|R_{ij}|^2 = 1` [1]_. Real and imaginary parts are 65536 equally likely normal
    quantiles rounded to integers in [-127, 127] times one scale. Sums of such integers are
    exact in any order, in integers or in floating point, so the intensities are *the same
    numbers* for any batch size, number of threads, set of instructions and BLAS, and whether R
    is stored or not. The price is in the entries' moments: the variance is exact, the kurtosis
    is 2.9992 instead of 3, which moves the expected kernel
    :math:`\|x\|^2\|y\|^2 + (x^\top y)^2` by :math:`-0.0004\, x^\top y` (binary x and y).
    A code costs 2kD integer multiplications.

    **Structured.** Computes

    .. math:: |E_j + b|^2 - |b|^2 = |E_j|^2 + 2 \mathrm{Re}(\bar b E_j), \qquad
       E_j = \sum_i s_i \omega^{j \pi(i)} z_i, \qquad b = \tfrac{1 + i}{2}

    by a Fourier transform: :math:`\pi` is a random permutation of the positions, :math:`s_i`
    are random phases from {1, i, -1, -i}, :math:`\omega` is a root of unity; with fresh phases
    for each further block of components, as many as there are positions. All entries have
    modulus 1, :math:`E|r|^4 = 1` instead of 2, so that :math:`|E_j|^2` alone would give the
    kernel :math:`\|x\|^2\|y\|^2 + (x^\top y)^2 - x^\top y`. The weak reference beam b adds
    the missing :math:`x^\top y`: the expected kernel is exact, for any D. Rows of R are
    orthogonal, which makes its error smaller than with independent ones: for centered features
    and D of at least k the variance is :math:`k(x, y)^2 / D` in the limit of many ones, less
    for few, against 1.4 to 2 times that. The answers are quadratic in the bits but not of the
    form :math:`|Rz|^2`, and can go down to -1/2. A code costs of the order of (k + D) log k
    operations, and there is no matrix to store.

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
    medium : {"gaussian", "structured", "auto"}, default="gaussian"
        See above. ``"auto"`` is Gaussian if R, 2kD bytes, fits in ``max_memory`` and structured
        otherwise; ``medium_`` says which.
    max_memory : float, default=2**30
        Bytes that may be spent on the medium between calls. A Gaussian R that does not fit is
        made again, block by block, in every call, at 1 to 2 ns an entry: then project
        2000 codes at a time or more.
    n_jobs : int or None, default=None
        Threads. None: as many as OpenMP would use (``OMP_NUM_THREADS``, ``threadpoolctl``),
        -1: all processors.
    torch_device : str, default="cpu"
        Where codes are projected: "cpu", "cuda", "cuda:1", or "auto", a graphics card where there
        is one. Torch tensors are projected where they are, whatever this says.

    Attributes
    ----------
    n_passes : int
        Codes projected so far.
    medium_ : {"gaussian", "structured"}
        Medium of the last call.
    known_matrix : bool
        True for ``medium="gaussian"`` without a camera: ``matrix`` gives R. With a camera the
        answers are no longer those of R, and the device keeps it to itself, as a machine does;
        ``SimulatedOPU`` with the same seed and no camera tells it. Neither are those of the
        structured medium, see above. (Its E can be had from :class:`PhaseShiftingHolography`.)
    computable : bool
        The same: where R is known, the answers are its.

    See Also
    --------
    OPURandomFeatures : ``form="exact"`` needs no device when k is small.

    Notes
    -----
    A larger device contains the smaller ones: more components start with the same ones,
    whichever the medium. With more bits, the Gaussian R keeps its columns; the structured R is
    another. ``"auto"`` changes from one medium to the other where R ceases to fit.

    The product of the Gaussian medium is ``torch._int_mm`` where a test at its first use finds
    it right and faster than float32, otherwise a float32 product, with the same result. Jobs
    too small to be worth loading torch for are done in float32 if it is not loaded already.

    **On a card** the Gaussian medium gives the same numbers, to the last bit: its sums are whole
    numbers there too. The structured one is rounded otherwise by another Fourier transform, to
    1e-5 of the largest intensity or better, and a camera's noise comes from the card's own
    generator. A torch tensor is answered by one, on the same device, without a copy to the host;
    anything else by a numpy array. R is made by the host and copied once, if it takes no more than
    ``max_memory``: raise that to what the card has. Where a call lacks memory, its rows are cut in
    halves until they fit.

    The figures are printed by ``python benchmarks/projection.py``,
    ``python benchmarks/large_projection.py`` and ``python benchmarks/gpu.py``.

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

    A hundred thousand bits and components, of which R would take 20 GB:

    >>> opu = SimulatedOPU(medium="auto")
    >>> codes = np.random.default_rng(0).integers(0, 2, size=(4, 100_000), dtype=np.uint8)
    >>> opu.project(codes, n_components=100_000).shape, opu.medium_
    ((4, 100000), 'structured')
    """

    _is_foreign, takes_tensors = False, True
    _parameter_constraints = {
        "medium": [StrOptions({"gaussian", "structured", "auto"})],
        "max_memory": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "torch_device": [str],
    }

    random_state: object = 0
    _: KW_ONLY
    max_bits: object = None
    max_components: object = None
    camera: object = None
    medium: str = "gaussian"
    max_memory: object = 2**30
    n_jobs: object = None
    torch_device: str = "cpu"

    @property
    def known_matrix(self):
        """Whether ``matrix`` gives R."""
        return self.camera is None and self.medium == "gaussian"

    @property
    def computable(self):
        """Whether the answers are those of the matrix: wherever it is known."""
        return self.known_matrix

    @property
    def floor(self):
        """Least intensity: the structured medium's answers go down to -1/2."""
        return 0.0 if self.medium == "gaussian" else -float(StructuredMedium.reference_power)

    def matrix(self, n_bits, n_components) -> np.ndarray:
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
            If there is a camera, or the medium is not ``"gaussian"``.
        """
        if not self.known_matrix:
            return super().matrix(n_bits, n_components)
        self.check_size(n_bits, n_components)
        return self._open(n_bits, n_components).matrix()

    def _project(self, codes, n_components):
        place = place_of(codes) if is_tensor(codes) else find_place(self.torch_device)
        try:
            return self._answer(codes, n_components, place)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # Not a fault of the device, which would be asked again.
            raise MemoryError(
                f"the memory of {place.name} does not hold {n_components} intensities of each of "
                f"{len(codes)} codes: project fewer codes at a time ({str(error)[:200]})"
            ) from None

    def _answer(self, codes, n_components, place):
        """Return what the camera reports, or the intensities."""
        medium = self._open(codes.shape[1], n_components, place)
        if self.camera is None:
            return medium.intensities(codes, self.n_jobs)
        # The camera is where the light is; it sees the reference beam too.
        intensities = medium.intensities(place.put(codes), self.n_jobs)
        reference_power = float(medium.reference_power)
        frames = self._sensor(place).read(intensities + reference_power) - reference_power
        return place_of(codes).put(frames)

    def _interfere(self, codes, n_components, reference, n_pixels):
        light = _on_pixels(self._field(codes, n_components), n_pixels)
        light += np.asarray(reference, dtype=light.dtype)
        intensities = light.real**2 + light.imag**2
        return intensities if self.camera is None else self._sensor(HOST).read(intensities)

    def _field(self, codes, n_components):
        """Rz, (n_codes, D); complex128 unless a camera makes the digits beyond 7 worthless."""
        dtype = "complex128" if self.camera is None else "complex64"
        return self._open(codes.shape[1], n_components).field(codes, dtype, self.n_jobs)

    def _sensor(self, place):
        """State of the camera; begins with the first frame."""
        kept = getattr(self, "_kept_sensor", None)
        if kept is None or kept.camera is not self.camera or kept.place != place:
            kept = self._kept_sensor = Sensor(self.camera, place)
        return kept

    def _open(self, n_bits, n_components, place=None):
        """Return the medium for a size, where ``torch_device`` says; the last one is kept."""
        place = find_place(self.torch_device) if place is None else place
        asked = (self.medium, _check_seed(self.random_state), n_bits, n_components)
        key = (*asked, self.max_memory, place)
        kept_key, medium = getattr(self, "_kept", (None, None))
        if key != kept_key:
            validate_params(self)
            self.medium_ = self._choose(n_bits, n_components)
            medium = MEDIA[self.medium_](*key[1:])
            self._kept = (key, medium)
        return medium

    def _choose(self, n_bits, n_components):
        if self.medium != "auto":
            return self.medium
        return "gaussian" if 2 * n_bits * n_components <= self.max_memory else "structured"

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
