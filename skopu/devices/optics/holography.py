"""The complex field from its interference with a reference beam."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np
from scipy import fft

from skopu._core.validation import Interval
from skopu.devices.optics.retrieval import LinearRetrieval


class Holography(LinearRetrieval):
    """Retrieval with a reference beam, whose phase may wander from frame to frame."""

    _parameter_constraints = {
        **LinearRetrieval._parameter_constraints,
        "reference": [Interval(Real, 0, None, closed="neither")],
        "phase_drift": [Interval(Real, 0, None, closed="left")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    def _amplitude(self, brightest):
        """Return A for a call whose brightest code has that many ones."""
        return np.sqrt(self.reference * brightest)

    def _wander(self, n_frames):
        """Phase factors of the reference in the next frames, (n_frames, 1), or 1."""
        if not self.phase_drift:
            return 1.0
        if not hasattr(self, "_rng"):
            self._rng, self._phase = np.random.default_rng(self.random_state), 0.0
        phases = self._phase + np.cumsum(self._rng.normal(scale=self.phase_drift, size=n_frames))
        self._phase = phases[-1]
        return np.exp(1j * phases)[:, None]


@dataclass(eq=False, repr=False)
class OffAxisHolography(Holography):
    r"""Linear projections from one interferogram each, with a tilted reference beam.

    The camera sees :math:`|E + r|^2` on a line of P pixels, where E is the field of D speckle
    grains, s = P/D pixels wide each, and :math:`r_x = A e^{-2 \pi i c x / P}` a plane wave that
    comes in at an angle (Leith and Upatnieks; used by [1]_, section II.B):

    .. math::

       |E + r|^2 = |E|^2 + A^2 + E r^* + E^* r .

    E fills D spatial frequencies around 0, so :math:`|E|^2` fills :math:`2D - 1`. The tilt
    moves :math:`E r^*` by c, and its conjugate to the other side. With
    :math:`c = D + \lfloor D/2 \rfloor` and :math:`s \ge 4` no two terms share a frequency: a
    Fourier transform, D of its bins and a transform back give E exactly. With fewer pixels the
    terms overlap, and :math:`|E|^2` leaks into the answer.

    Scale and phase: R z itself, times the gain of the camera; with ``phase_drift``, times the
    phase of the reference in that frame.

    Parameters
    ----------
    opu : OPUDevice with a reference arm, str or None, default=None
        The device, used itself and not a clone; None: ``SimulatedOPU()``.
    oversampling : float, default=4
        s, pixels per component; at least 2, for one sideband to fit.
    reference : float, default=2.0
        Power of the reference, :math:`A^2`, relative to the average intensity of the brightest
        code in the call (its number of ones). Near 2 noise is least: a weaker one amplifies
        less, a stronger one fills the wells.
    phase_drift : float, default=0.0
        For simulation: standard deviation of the reference's random change of phase from frame
        to frame, in radians.
    random_state : int, default=0
        Seed of the phase drift.

    Attributes
    ----------
    n_passes : int
        Frames taken so far, one a code.

    References
    ----------
    .. [1] Launay et al., "Light-in-the-loop: using a photonics co-processor for scalable
       training of neural networks", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import OffAxisHolography, SimulatedOPU
    >>> opu = SimulatedOPU(0)
    >>> codes = np.array([[1, 0, 1], [0, 1, 1]])
    >>> field = OffAxisHolography(opu).project(codes, 5)
    >>> bool(np.allclose(field, codes @ opu.matrix(3, 5).T, atol=1e-6))
    True
    """

    _parameter_constraints = {
        **Holography._parameter_constraints,
        "oversampling": [Interval(Real, 2, None, closed="left")],
    }

    opu: object = None
    _: KW_ONLY
    oversampling: int = 4
    reference: float = 2.0
    phase_drift: float = 0.0
    random_state: object = 0

    def _n_pixels(self, n_components):
        return int(np.ceil(n_components * self.oversampling))

    def _retrieve(self, device, codes, n_components, brightest):
        n_pixels = self._n_pixels(n_components)
        half = n_components // 2
        # Beyond |E|^2 if there is room, else as far as the two sidebands stay apart.
        carrier = min(n_components + half, (n_pixels + 1) // 2 - (n_components - half))
        turns = carrier * np.arange(n_pixels) % n_pixels / n_pixels
        wave = np.exp(-2j * np.pi * turns)
        amplitude = self._amplitude(brightest)
        reference = amplitude * wave * self._wander(len(codes))
        frames = device.interfere(codes, n_components, reference, self.oversampling)
        bins = np.arange(n_components) - half
        sideband = fft.rfft(frames, axis=1)[:, bins + carrier]
        sideband = np.roll(sideband, -half, axis=1)
        sideband *= n_components / n_pixels / amplitude
        return fft.ifft(sideband, axis=1, overwrite_x=True)


@dataclass(eq=False, repr=False)
class PhaseShiftingHolography(Holography):
    r"""Linear projections from several frames each, between which the reference changes phase.

    Frame j of a code is taken with the reference :math:`A e^{i \theta_j}`,
    :math:`\theta_j = 2 \pi j / n`, and

    .. math::

       I_j = |E|^2 + A^2 + 2 A \, \mathrm{Re}(E e^{-i \theta_j}), \qquad
       E = \frac{1}{n A} \sum_j I_j e^{i \theta_j},

    exactly, for n of at least 3, because the phases and their doubles sum to zero. A pixel
    holds a component: n frames instead of the 4 times as many pixels of
    :class:`OffAxisHolography`. The frames of a code follow each other, and a phase that wanders
    between them is an error here, where off-axis only turns the phase of a whole frame.

    Scale and phase: R z itself, times the gain of the camera.

    Parameters
    ----------
    opu : OPUDevice with a reference arm, str or None, default=None
        The device, used itself and not a clone; None: ``SimulatedOPU()``.
    n_steps : int, default=4
        n, frames per code, at least 3.
    reference : float, default=2.0
        Power of the reference, :math:`A^2`, relative to the average intensity of the brightest
        code in the call (its number of ones).
    phase_drift : float, default=0.0
        For simulation: standard deviation of the reference's random change of phase from frame
        to frame, in radians.
    random_state : int, default=0
        Seed of the phase drift.

    Attributes
    ----------
    n_passes : int
        Frames taken so far, ``n_steps`` a code.

    References
    ----------
    .. [1] Yamaguchi and Zhang, "Phase-shifting digital holography", Optics Letters, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import PhaseShiftingHolography, SimulatedOPU
    >>> opu = SimulatedOPU(0)
    >>> codes = np.array([[1, 0, 1], [0, 1, 1]])
    >>> retrieval = PhaseShiftingHolography(opu)
    >>> field = retrieval.project(codes, 5)
    >>> bool(np.allclose(field, codes @ opu.matrix(3, 5).T, atol=1e-6)), retrieval.n_passes
    (True, 8)
    """

    _parameter_constraints = {
        **Holography._parameter_constraints,
        "n_steps": [Interval(Integral, 3, None, closed="left")],
    }

    opu: object = None
    _: KW_ONLY
    n_steps: int = 4
    reference: float = 2.0
    phase_drift: float = 0.0
    random_state: object = 0

    def _n_pixels(self, n_components):
        return self.n_steps * n_components

    def _retrieve(self, device, codes, n_components, brightest):
        phases = np.exp(2j * np.pi * np.arange(self.n_steps) / self.n_steps)
        amplitude = self._amplitude(brightest)
        reference = amplitude * np.tile(phases, len(codes))[:, None]
        reference = reference * self._wander(len(reference))
        frames = device.interfere(np.repeat(codes, self.n_steps, axis=0), n_components, reference)
        frames = frames.reshape(len(codes), self.n_steps, n_components)
        weights = (phases / (self.n_steps * amplitude)).astype(
            np.result_type(frames.dtype, np.complex64)
        )
        return np.einsum("nsd,s->nd", frames, weights)
