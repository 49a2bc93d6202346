"""What retrievals of the complex field have in common."""

import numpy as np
from sklearn.utils import gen_batches

from skopu._core.documented import Documented
from skopu._core.parts import resolve_part
from skopu._core.validation import HasMethods
from skopu.devices.base import check_codes
from skopu.devices.meter import Metered
from skopu.devices.registry import DEVICES

_CHUNK_PIXELS = 2**18  # of a batch of frames, so that they stay in the cache


class LinearRetrieval(Metered, Documented):
    """Base class: a device that answers with intensities, made to answer with R z.

    A subclass has a parameter ``opu`` and implements ``_retrieve``; ``_n_pixels`` counts the
    pixels that a code needs, over all of its frames.

    Attributes
    ----------
    n_passes : int
        Frames taken so far.
    """

    _parameter_constraints = {"opu": [HasMethods("project"), str, None]}

    def project(self, codes, n_components):
        """Project codes linearly.

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_samples, n_bits)
            Zeros and ones.
        n_components : int
            D, how many components of the field to retrieve.

        Returns
        -------
        field : ndarray of shape (n_samples, n_components), dtype complex64
            R z in the units and phases that the class describes; complex128 if the device
            answers in float64, as a simulated interferometer without a camera does.

        Raises
        ------
        NotBinaryError
            If a value is neither 0 nor 1.
        DeviceLimitError
            If the device has too few bits or components.
        NotImplementedError
            If the device has no reference arm and the method needs one.
        """
        self._validate_params()
        codes = check_codes(codes)
        if not len(codes):
            return np.empty((0, n_components), dtype=np.complex64)
        device = self._device()
        n_codes = max(1, _CHUNK_PIXELS // self._n_pixels(n_components))
        brightest = max(1, int(codes.sum(axis=1, dtype=np.intp).max()))
        # One call at a time: frames of different calls, or anchors of another size, do not mix.
        with self._meter.lock, device.counting() as tally:
            try:
                self._prepare(device, codes.shape[1], n_components)
                fields = [
                    self._retrieve(device, codes[rows], n_components, brightest)
                    for rows in gen_batches(len(codes), n_codes)
                ]
            finally:
                self._meter.add(tally.n_passes)
        return np.vstack(fields)

    def _device(self):
        """Return the device, not a clone: noise and passes go on from call to call."""
        if self.opu is not None and not isinstance(self.opu, str):
            return self.opu
        kept_name, device = getattr(self, "_kept_device", (None, None))
        if device is None or kept_name != self.opu:
            device = resolve_part(self.opu, DEVICES, "opu")
            self._kept_device = (self.opu, device)
        return device

    def _prepare(self, device, n_bits, n_components):
        """Frames needed once."""

    def _n_pixels(self, n_components):
        """Pixels that a code needs, over all of its frames."""
        raise NotImplementedError(f"{type(self).__name__} must implement _n_pixels")

    def _retrieve(self, device, codes, n_components, brightest):
        """Fields of some codes; ``brightest`` is the largest popcount of the call."""
        raise NotImplementedError(f"{type(self).__name__} must implement _retrieve")
