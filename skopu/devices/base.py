"""What an Optical Processing Unit is to the rest of the package."""

import time
from contextlib import contextmanager

import numpy as np
from scipy import sparse

from skopu._core.documented import Documented
from skopu._core.places import is_tensor, place_of, to_host
from skopu.devices.acquisition import acquire
from skopu.devices.meter import Metered
from skopu.exceptions import DeviceLimitError, NotBinaryError
from skopu.forms.quadratic import QuadraticForm

_ANSWERS = ("project", "_project", "_interfere")  # the methods that give them


def check_codes(codes, argument="codes"):
    """Return ``codes`` as a C-contiguous uint8 array of zeros and ones.

    Parameters
    ----------
    codes : array-like, sparse matrix or Tensor of shape (n_samples, n_bits)
        Booleans or numbers that are all 0 or 1. Tensors stay so, where they are.
    argument : str, default="codes"
        How the message calls them.

    Returns
    -------
    codes : ndarray or Tensor of shape (n_samples, n_bits), dtype uint8

    Raises
    ------
    NotBinaryError
        If any value is neither 0 nor 1; the message shows some of them.
    ValueError
        If the array is not two-dimensional.
    """
    if sparse.issparse(codes):
        codes = codes.toarray()
    place = place_of(codes)
    codes = place.put(codes)
    if codes.ndim != 2:
        raise ValueError(
            f"{argument} must have shape (n_samples, n_bits), got {codes.ndim} dimension(s); "
            "use codes.reshape(1, -1) for a single code."
        )
    if codes.dtype == bool:
        return np.ascontiguousarray(codes).view(np.uint8)
    if not is_binary(codes):
        strange = to_host(codes[(codes != 0) & (codes != 1)])
        examples = ", ".join(str(value) for value in np.unique(strange[:1000].astype(str))[:3])
        raise NotBinaryError(
            f"{argument} must hold only 0 and 1, because a device displays binary patterns; "
            f"found {strange.size} other value(s), such as {examples}. Binarize first: "
            "SupervisedBinarizer learns codes with the task, HyperplaneBinarizer needs no "
            "targets, OPURandomFeatures(binarize=0.0) thresholds each column."
        )
    if place.is_card:
        return place.cast(codes, "uint8").contiguous()
    return np.ascontiguousarray(codes, dtype=np.uint8)


def is_binary(X):
    """Whether every value of a dense or sparse numeric array is 0 or 1."""
    if is_tensor(X):
        return bool(((X == 0) | (X == 1)).all())
    values = X.data if sparse.issparse(X) else np.asarray(X)
    if values.dtype == bool:
        return True
    if values.dtype.kind == "u":
        return values.size == 0 or values.max() <= 1
    return bool(np.isin(values, (0, 1)).all())


class OPUDevice(Metered, Documented):
    r"""Base class of devices: codes in, raw intensities :math:`|Rz|^2` out.

    :math:`R` is the transmission matrix, complex of shape (D, k), with independent
    :math:`\mathcal{CN}(0, 1)` entries (:math:`E|R_{ij}|^2 = 1`); for a machine it is unknown.
    It belongs to the device, not to an estimator: the same device gives the same features to
    every estimator that uses it. The gain of a camera is the adapter's to calibrate:
    intensities are in units in which their average is the number of ones in z.

    A device is a parameter object: the constructor only stores, ``clone`` and ``repr`` work as
    for estimators. The adapter of a machine derives from :class:`MachineOPU`.

    A subclass implements ``_project``, and overrides the attributes that do not fit. The codes
    that it is given are a copy, and its answer is copied: it may change the one and keep the
    other, as drivers do.

    Calls from several threads wait for each other. What ``_project`` raises or returns in a
    wrong shape is a fault: the call is repeated ``n_retries`` times, then a ``DeviceFault``
    tells what was answered before.

    Attributes
    ----------
    max_bits, max_components : int or None
        Largest k and D that the device accepts; None: no limit.
    max_batch : int or None
        Most codes that ``_project`` is given at a time.
    max_passes : int or None
        Budget: a call that would make ``n_passes`` larger is refused before it is sent.
    known_matrix : bool
        Whether ``matrix`` gives R, which closed forms need, and gradients that look into the
        device.
    computable : bool
        Whether the answers *are* :math:`|Rz|^2` of that matrix, so that arithmetic may give them
        in the device's place; passes are then counted and not made. False for a machine, however
        well its matrix is known: it is to be asked. A subclass that writes ``_project`` says so
        itself if its answers are computable; it is never inherited from another's answers.
    takes_tensors : bool
        Whether ``_project`` is given torch tensors as they are, and answers with such on the same
        torch device; else it is given arrays, and a tensor is made of its answer. Never inherited
        either.
    n_passes : int
        Codes projected so far, the cost of using a machine. Failed attempts do not count.
        Clones that scikit-learn makes share the count and the budget: they are one device.
    n_retries : int
        How often a batch is tried again after a fault.
    retry_wait : float
        Seconds before the first of these attempts; each next one waits twice as long.
    timeout : float or None
        Seconds after which a call that has not returned is a fault. None: wait for ever.
    checks_frames : bool
        Whether frames are looked at: dark or saturated ones of lit codes, repeated ones, and
        values that are no intensities are faults.
    count : float
        Intensity of one count of the camera. Frames that are dark because a code has too little
        light for it are none.
    full_scale : float or None
        Intensity at which the camera saturates; a frame with more than half of its pixels there
        is a fault.
    floor : float
        Least intensity that can be; what is below is a fault. 0, unless the device takes off light
        of its own, as the structured medium of :class:`SimulatedOPU` does.
    fault_types : tuple of Exception
        What ``_project`` raises if the device fails; other exceptions are passed on.
    """

    max_bits: object = None
    max_components: object = None
    max_batch: object = None
    known_matrix = False
    computable = False
    takes_tensors = False
    n_retries = 0
    retry_wait = 0.1
    timeout: object = None
    checks_frames = False
    count = 0.0
    full_scale = None
    floor = 0.0
    fault_types: tuple[type[Exception], ...] = (OSError, RuntimeError, EOFError)

    # Whether _project may change what it is given, or keep what it answers: then both are copied.
    _is_foreign = True
    _sleep = staticmethod(time.sleep)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # Whoever changes the answers has to say again that arithmetic may take their place.
        places = {
            name: number for number, c in reversed([*enumerate(cls.__mro__)]) for name in vars(c)
        }
        for name, caution in (
            ("computable", False),
            ("_is_foreign", True),
            ("takes_tensors", False),
        ):
            if places[name] > min(places[answer] for answer in _ANSWERS):
                setattr(cls, name, caution)

    def __sklearn_clone__(self):
        twin = super().__sklearn_clone__()
        twin._kept_meter = self._meter
        return twin

    @property
    def max_passes(self):
        """Budget of this object and its clones."""
        return self._meter.max_passes

    @max_passes.setter
    def max_passes(self, budget):
        self._meter.max_passes = budget

    def project(self, codes, n_components) -> np.ndarray:
        r"""Project codes.

        Parameters
        ----------
        codes : array-like, sparse matrix or torch.Tensor of shape (n_samples, n_bits)
            Zeros and ones.
        n_components : int
            D, how many intensities to read; a larger D starts with the same ones.

        Returns
        -------
        intensities : ndarray or Tensor of shape (n_samples, n_components), dtype float32
            Raw :math:`|Rz|^2`, without the factor :math:`1/\sqrt{D}` of the features; float64
            where the device answers in more digits. The memory is the caller's. A tensor, where
            the codes are, if they are one.

        Raises
        ------
        NotBinaryError
            If a value is neither 0 nor 1.
        DeviceLimitError
            If the device is too small.
        PassBudgetError
            If ``max_passes`` does not allow so many codes.
        DeviceFault
            If the device fails, after all attempts.
        """
        if is_tensor(codes) and not self.takes_tensors:
            return place_of(codes).put(self.project(to_host(codes), n_components))
        codes = check_codes(codes)
        self.check_size(codes.shape[1], n_components)
        return acquire(
            self, lambda shown, rows: self._project(shown, n_components), codes, n_components
        )

    def interfere(self, codes, n_components, reference, oversampling=1) -> np.ndarray:
        r"""Project codes and let the light interfere with a reference beam before the camera.

        Only devices with a reference arm can; :class:`OffAxisHolography` and
        :class:`PhaseShiftingHolography` need it. The field :math:`Rz` has D speckle grains, its
        D components, along a line of :math:`P = \lceil D \cdot oversampling \rceil` pixels: E
        is the band-limited (periodic) interpolation through them.

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_frames, n_bits)
            Zeros and ones; one frame each.
        n_components : int
            D.
        reference : complex or ndarray broadcastable to (n_frames, P)
            r, the field of the reference at each pixel.
        oversampling : float, default=1
            Pixels per component, at least 1.

        Returns
        -------
        intensities : ndarray of shape (n_frames, P), float32 or float64
            :math:`|E + r|^2` as the camera gives it.
        """
        codes = check_codes(to_host(codes))
        n_pixels = int(np.ceil(n_components * oversampling))
        self.check_size(codes.shape[1], n_pixels)
        # One row of the reference for each frame, or one for all.
        own = np.ndim(reference) == 2 and len(reference) == len(codes)

        def ask(shown, rows):
            beam = reference[rows] if own else reference
            if self._is_foreign:
                beam = np.array(beam)
            return self._interfere(shown, n_components, beam, n_pixels)

        return acquire(self, ask, codes, n_pixels, has_reference=True)

    def count_passes(self, n_codes):
        """Count passes whose answers were computed without projecting the codes.

        Parameters
        ----------
        n_codes : int

        Raises
        ------
        PassBudgetError
            If ``max_passes`` does not allow so many.
        """
        with self._meter.lock:
            self._check_budget(n_codes)
            self._meter.add(n_codes)

    def check_passes(self, n_codes):
        """Raise if the budget does not allow so many codes from now on: none is sent.

        For who plans several calls. Passes that a machine takes for itself before its first
        codes, as for a gain, are counted in.

        Parameters
        ----------
        n_codes : int

        Raises
        ------
        PassBudgetError
            If ``max_passes`` does not allow so many.
        """
        self._check_budget(n_codes)

    @contextmanager
    def reserving(self, n_passes):
        """Set passes of the budget aside for later, as a context.

        Parameters
        ----------
        n_passes : int
        """
        meter = self._meter
        with meter.lock:
            meter.n_reserved += n_passes
        try:
            yield
        finally:
            with meter.lock:
                meter.n_reserved -= n_passes

    def check_size(self, n_bits, n_components, n_free=0):
        """Raise ``DeviceLimitError`` if the device lacks that many bits or components.

        Parameters
        ----------
        n_bits, n_components : int
            k and D.
        n_free : int, default=0
            How many of the components will not be asked of the device.
        """
        for asked, limit, free, argument in (
            (n_bits, self.max_bits, 0, "n_bits"),
            (n_components, self.max_components, n_free, "n_components"),
        ):
            if limit is not None and asked > limit + free:
                word = argument.removeprefix("n_")
                raise DeviceLimitError(
                    f"{type(self).__name__} has at most {limit} {word}, which is not enough for "
                    f"{argument}={asked}: use {argument}={limit + free} or less, or a larger "
                    "device."
                )

    def matrix(self, n_bits, n_components) -> np.ndarray:
        """Return R, complex of shape (n_components, n_bits), where it is known."""
        raise AttributeError(
            f"the matrix of {type(self).__name__} is not known (known_matrix is False); "
            "use a SimulatedOPU, a method that treats the device as a black box, or measure it "
            "with skopu.devices.calibrate."
        )

    def expected_intensities(self, probabilities, n_components):
        r"""Return mean intensities of codes with independent bits, without a pass.

        :math:`E\,|Rz|^2 = |Rp|^2 + |R|^2 v` with bit probabilities p and :math:`v = p(1 - p)`.

        Parameters
        ----------
        probabilities : array-like of shape (n_samples, n_bits)
            Each bit's probability of being 1.
        n_components : int
            D.

        Returns
        -------
        intensities : ndarray of shape (n_samples, n_components), dtype float64

        Raises
        ------
        AttributeError
            If the matrix is not known.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        R = self.matrix(p.shape[1], n_components)
        # Two real products: a complex one would cost twice as much for a real p.
        real, imaginary = R.real.T.astype(np.float64), R.imag.T.astype(np.float64)
        squares = np.square(real) + np.square(imaginary)
        return np.square(p @ real) + np.square(p @ imaginary) + (p * (1 - p)) @ squares

    def intensity_form(self, weights, n_bits):
        """Return the quadratic form of the bits that combinations of intensities are.

        Parameters
        ----------
        weights : ndarray of shape (n_components, q)
            Factors of the first components.
        n_bits : int
            k.

        Returns
        -------
        form : QuadraticForm
            Of q outputs, float64; its ``mean`` of probabilities is that of
            ``expected_intensities``, times the factors.

        Raises
        ------
        AttributeError
            If the matrix is not known.
        """
        R = self.matrix(n_bits, len(weights))
        parts = np.concatenate([R.real, R.imag]).astype(np.float64)  # a sum of two squares
        pairs = np.stack([(parts * w[:, None]).T @ parts for w in np.tile(weights, (2, 1)).T])
        zeros = np.zeros_like(pairs[..., 0])
        return QuadraticForm.from_bits(zeros[:, 0], zeros, pairs)

    def _check_budget(self, n_codes):
        self._meter.check(n_codes, self.max_passes, type(self).__name__)

    def _mark(self):
        """Return what ``_take_back`` needs to know the calls that come from now on."""

    def _take_back(self, mark):
        """Hear that answers since a mark were not accepted; for those who write them down."""

    def _interfere(self, codes, n_components, reference, n_pixels):
        """Interferograms of checked uint8 codes; for subclasses with a reference arm."""
        raise NotImplementedError(
            f"{type(self).__name__} has no reference arm (it does not implement _interfere); "
            "AnchorRetrieval needs only intensities."
        )

    def _project(self, codes, n_components):
        """Intensities of checked uint8 codes; the part that a subclass writes."""
        raise NotImplementedError(f"{type(self).__name__} must implement _project")
