"""Devices around another device."""

import numpy as np

from skopu._core.parts import resolve_part
from skopu._core.validation import HasMethods
from skopu.devices.base import OPUDevice
from skopu.devices.registry import DEVICES


class WrappedOPU(OPUDevice):
    """Base class: hands codes on to a device ``opu`` and has its limits.

    A clone is the same object: what it counts or writes goes on from call to call.
    """

    _parameter_constraints = {"opu": [HasMethods("project"), str, None]}

    def __sklearn_clone__(self):
        return self

    @property
    def max_bits(self):
        """Largest k that the device accepts."""
        return self._inner().max_bits

    @property
    def max_components(self):
        """Largest D that the device accepts."""
        return self._inner().max_components

    @property
    def known_matrix(self):
        """Whether ``matrix`` gives R."""
        return self._inner().known_matrix

    @property
    def computable(self):
        """Whether the answers are those of the matrix, as they are within."""
        return self._inner().computable

    @property
    def count(self):
        """Intensity of one count of the camera."""
        return self._inner().count

    @property
    def full_scale(self):
        """Intensity at which the camera saturates."""
        return self._inner().full_scale

    @property
    def floor(self):
        """Least intensity that can be."""
        return self._inner().floor

    def matrix(self, n_bits, n_components):
        """Return R of the device, where it is known.

        Parameters
        ----------
        n_bits, n_components : int
            k and D.
        """
        return self._inner().matrix(n_bits, n_components)

    def expected_intensities(self, probabilities, n_components):
        """Return mean intensities; see :meth:`OPUDevice.expected_intensities`.

        Parameters
        ----------
        probabilities : array-like of shape (n_samples, n_bits)
            Each bit's probability of being 1.
        n_components : int
            D.
        """
        return self._inner().expected_intensities(probabilities, n_components)

    def intensity_form(self, weights, n_bits):
        """Return a form of combinations of intensities; see :meth:`OPUDevice.intensity_form`.

        Parameters
        ----------
        weights : ndarray of shape (n_components, q)
            Factors of the first components.
        n_bits : int
            k.
        """
        return self._inner().intensity_form(weights, n_bits)

    def count_passes(self, n_codes):
        """Count passes whose answers were computed, here and in the device.

        Parameters
        ----------
        n_codes : int

        Raises
        ------
        PassBudgetError
            If the budget of either does not allow so many.
        """
        with self._meter.lock:
            self._check_budget(n_codes)
            self._inner().count_passes(n_codes)
            self._meter.add(n_codes)

    def check_passes(self, n_codes):
        """Raise if the budget of either does not allow so many codes.

        Parameters
        ----------
        n_codes : int
        """
        super().check_passes(n_codes)
        self._inner().check_passes(n_codes)

    def project(self, codes, n_components):
        """Project codes through the device; see :meth:`OPUDevice.project`.

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_samples, n_bits)
            Zeros and ones.
        n_components : int
            D.
        """
        self._validate_params()
        return super().project(codes, n_components)

    def _inner(self):
        """Return the device itself; one given by name is made once."""
        if self.opu is not None and not isinstance(self.opu, str):
            return self.opu
        kept_name, device = getattr(self, "_kept_device", (None, None))
        if device is None or kept_name != self.opu:
            device = resolve_part(self.opu, DEVICES, "opu")
            self._kept_device = (self.opu, device)
        return device

    def _mark(self):
        return self._inner()._mark()

    def _take_back(self, mark):
        self._inner()._take_back(mark)

    def _project(self, codes, n_components):
        return self._inner().project(codes, n_components)

    def _interfere(self, codes, n_components, reference, n_pixels):
        # The device rounds up to whole pixels: a rounding error must not make one more.
        oversampling = np.nextafter(n_pixels / n_components, 0)
        return self._inner().interfere(codes, n_components, reference, oversampling)
