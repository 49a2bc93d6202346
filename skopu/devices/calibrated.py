"""A device together with the quadratic forms of its intensities."""

import numpy as np

from skopu.devices.wrapper import WrappedOPU
from skopu.forms.calibrated import IntensityForms


class CalibratedOPU(WrappedOPU):
    r"""A device together with what a calibration found out about it.

    Codes go to the device itself. The closed forms that need its matrix have it from the
    calibration: ``prediction="mean"`` of the end-to-end estimators and
    ``OPURandomFeatures.expectation`` by the quadratic forms, which any device has whose
    intensities are sums of squares; gradients such as "rebar" by the matrix, nearest to them.
    All is in the units of the device, whatever its gain.

    Parameters
    ----------
    opu : OPUDevice
        The device, used itself; codes shorter than the calibration's are padded with zeros.
    forms : IntensityForms
        As :func:`calibrate` makes them. They are right for this device only; copies of this
        object share them. A clone is the same object.

    Attributes
    ----------
    n_passes : int
        Codes projected so far through this object.
    known_matrix : bool
        True.
    computable : bool
        False: what is known of a machine does not answer in its place.
    max_bits, max_components : int
        Those of the calibration.

    See Also
    --------
    calibrate : Makes one.

    Examples
    --------
    >>> from skopu import EndToEndOPURegressor, SupervisedBinarizer
    >>> from skopu.devices import Camera, SimulatedOPU, calibrate
    >>> opu = calibrate(SimulatedOPU(camera=Camera()), n_bits=16, n_components=64)
    >>> model = EndToEndOPURegressor(
    ...     SupervisedBinarizer(16, n_components=64, gradient="exact", opu=opu), prediction="mean"
    ... )
    """

    known_matrix = True
    computable = False
    _parameter_constraints = {**WrappedOPU._parameter_constraints, "forms": [IntensityForms]}

    def __init__(self, opu, forms):
        self.opu = opu
        self.forms = forms

    @property
    def max_bits(self):
        """Bits of the calibration."""
        return self.forms.n_bits

    @property
    def max_components(self):
        """Components of the calibration."""
        return self.forms.n_components

    def matrix(self, n_bits, n_components):
        """Return R, up to what intensities do not tell.

        Parameters
        ----------
        n_bits, n_components : int
            k and D.

        Returns
        -------
        R : ndarray of shape (n_components, n_bits), dtype complex64
            Each row up to a phase and a conjugation: its first entry is real and positive, the
            second has a positive imaginary part. In units of the square root of the
            intensities'.
        """
        self.check_size(n_bits, n_components)
        return self.forms.matrix()[:n_components, :n_bits].copy()

    def expected_intensities(self, probabilities, n_components):
        """Return mean intensities of codes with independent bits, without a pass.

        Parameters
        ----------
        probabilities : array-like of shape (n_samples, n_bits)
            Each bit's probability of being 1.
        n_components : int
            D.

        Returns
        -------
        intensities : ndarray of shape (n_samples, n_components), dtype float32
        """
        p = np.asarray(probabilities, dtype=np.float64)
        self.check_size(p.shape[1], n_components)
        return self.forms.mean(p, n_components)

    def intensity_form(self, weights, n_bits):
        """Return the quadratic form of combinations of intensities, as they were calibrated.

        Parameters
        ----------
        weights : ndarray of shape (n_components, q)
            Factors of the first components.
        n_bits : int
            k.

        Returns
        -------
        form : QuadraticForm
            Of q outputs; its ``mean`` of probabilities is that of ``expected_intensities``, times
            the factors.
        """
        self.check_size(n_bits, len(weights))
        return self.forms.combine(weights).with_last_zero(n_bits)

    def _project(self, codes, n_components):
        return super()._project(self._padded(codes), n_components)

    def _interfere(self, codes, n_components, reference, n_pixels):
        return super()._interfere(self._padded(codes), n_components, reference, n_pixels)

    def _padded(self, codes):
        return np.pad(codes, ((0, 0), (0, self.max_bits - codes.shape[1])))
