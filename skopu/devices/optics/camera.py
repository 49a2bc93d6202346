"""What a camera makes of the light that falls on it."""

import warnings
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np

from skopu._core.documented import Documented
from skopu._core.places import HOST, to_host
from skopu._core.validation import Interval, StrOptions
from skopu.exceptions import CameraWarning

_LEVEL = 0.8  # of full scale: where automatic exposure puts the bright pixels
_BRIGHT = 0.999  # which of the pixels those are, as a quantile
_MOST_LOOKED_AT = 2**16  # pixels that automatic exposure looks at
_MOST_SATURATED = 0.01  # fraction of pixels at full scale that is passed over in silence
_MOST_DARK = 0.25  # the same for pixels that read zero


@dataclass(eq=False, repr=False)
class Camera(Documented):
    r"""Noise, range and resolution of the camera of a simulated device.

    A pixel lit with intensity I (in units of the device, see ``OPUDevice``) collects
    :math:`N = I t` photoelectrons, t being the exposure. It reports a count of
    :math:`2^{bits} - 1` levels, of which the last stands for a full well of W electrons:

    .. math::

       c = \mathrm{round}\Big(\frac{2^{bits} - 1}{W}
       \big[N + \sqrt{N + \sigma^2} \, \epsilon\big]_0^W\Big), \qquad
       \hat I = gain \cdot \frac{W}{(2^{bits} - 1) \, t} \, c,

    where :math:`\epsilon \sim \mathcal N(0, 1)`: the shot noise of N electrons has variance N,
    the read noise :math:`\sigma^2`, and the brackets cut at an empty and at a full well. Shot
    noise is Poisson; the normal law here has the same mean and variance, and differs
    noticeably below ten electrons, where the read noise rules anyway. Rounding adds a variance
    of 1/12 level. The signal-to-noise ratio of a pixel with N electrons is thus at most N.

    A camera is a parameter object; the state (random numbers, drift, warnings given) belongs to
    the device that it is given to. Answers depend on the seed and on all calls before: a new or
    cloned device starts afresh, a pickled one goes on where it was.

    Parameters
    ----------
    bits : int or None, default=8
        Resolution of the counts; None: not rounded.
    exposure : "auto" or float, default="auto"
        t, photoelectrons for an intensity of 1. "auto" sets it for each call so that 99.9 % of
        the pixels stay below 0.8 of the full well.
    full_well : float, default=10000.0
        W, electrons of the brightest pixel that is still measured.
    read_noise : float, default=2.0
        Standard deviation of the reading, in electrons.
    gain : float, default=1.0
        Factor of all answers, for methods that must not know it.
    drift : float, default=0.0
        The light's power is a random walk: its logarithm changes from frame to frame by a normal
        step of this standard deviation. Nothing corrects for it.
    dead_pixels : float, default=0.0
        Fraction of the pixels that always read 0, the same ones for the life of the device.
    shot_noise : bool, default=True
        Whether photoelectrons arrive at random.
    random_state : int, default=0
        Seed of the noise and of the dead pixels.

    See Also
    --------
    SimulatedOPU : The device that takes a camera.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import Camera, SimulatedOPU
    >>> codes = np.random.default_rng(0).integers(0, 2, size=(100, 64))
    >>> seen = SimulatedOPU(camera=Camera(bits=8)).project(codes, 50)
    >>> exact = SimulatedOPU().project(codes, 50)
    >>> bool(0.01 < abs(seen - exact).mean() / exact.mean() < 0.03)
    True
    """

    _parameter_constraints = {
        "bits": [Interval(Integral, 1, 16, closed="both"), None],
        "exposure": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "full_well": [Interval(Real, 0, None, closed="neither")],
        "read_noise": [Interval(Real, 0, None, closed="left")],
        "gain": [Interval(Real, 0, None, closed="neither")],
        "drift": [Interval(Real, 0, None, closed="left")],
        "dead_pixels": [Interval(Real, 0, 1, closed="left")],
        "shot_noise": ["boolean"],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    bits: int = 8
    _: KW_ONLY
    exposure: str = "auto"
    full_well: float = 1e4
    read_noise: float = 2.0
    gain: float = 1.0
    drift: float = 0.0
    dead_pixels: float = 0.0
    shot_noise: bool = True
    random_state: object = 0


class Sensor:
    """A camera at work: its parameters and the state that goes with them.

    Parameters
    ----------
    camera : Camera
        What to be; later changes of its parameters, but for the seed, take effect.
    place : Host, default=HOST
        Where the light is, whose generator makes the noise.
    """

    def __init__(self, camera, place=HOST):
        self.camera, self.place = camera, place
        self._rng = np.random.default_rng(camera.random_state)
        self._noise = self._rng if not place.is_card else place.generator(camera.random_state)
        self._log_power = 0.0
        self._warned = set()

    def read(self, intensities):
        """Return what the camera reports of frames.

        Parameters
        ----------
        intensities : ndarray or Tensor of shape (n_frames, n_pixels)
            True ones, not changed.

        Returns
        -------
        intensities : ndarray or Tensor of shape (n_frames, n_pixels), dtype float32
        """
        camera, place = self.camera, self.place
        camera._validate_params()
        dead = place.put(self._dead(intensities.shape[1]))
        power = place.put(self._power(len(intensities)))
        electrons = place.cast(intensities * power, "float32")
        exposure = camera.exposure
        if exposure == "auto":
            exposure = _automatic(electrons, camera.full_well)
        electrons *= np.float32(exposure)
        lit = electrons.any(axis=1)  # a frame without light is dark for no fault of the exposure
        self._add_noise(electrons)
        electrons[:, dead] = 0
        wells = self._digitize(electrons)
        self._diagnose(wells[lit][:, ~dead])
        wells *= np.float32(camera.gain * camera.full_well / exposure)
        return wells

    def _power(self, n_frames):
        """Power of the light in each frame, (n_frames, 1)."""
        if not self.camera.drift:
            return np.exp(np.float32([[self._log_power]]))
        steps = self._rng.normal(scale=self.camera.drift, size=n_frames)
        walk = self._log_power + np.cumsum(steps)
        self._log_power = walk[-1]
        return np.exp(walk)[:, None].astype(np.float32)

    def _dead(self, n_pixels):
        """Mask of dead pixels; its own stream, so that more pixels start with the same ones."""
        if not self.camera.dead_pixels:
            return np.zeros(n_pixels, dtype=bool)
        rng = np.random.default_rng([self.camera.random_state, 1])
        return rng.random(n_pixels) < self.camera.dead_pixels

    def _add_noise(self, electrons):
        variance = np.float32(self.camera.read_noise**2)
        if self.camera.shot_noise:
            deviation = self.place.xp.sqrt(electrons + variance)
        elif variance:
            deviation = np.sqrt(variance)
        else:
            return
        noise = self.place.normal(self._noise, electrons.shape)
        noise *= deviation
        electrons += noise

    def _digitize(self, electrons):
        """Fractions of a full well as counted, in place."""
        camera, xp = self.camera, self.place.xp
        electrons /= np.float32(camera.full_well)
        xp.clip(electrons, 0, 1, out=electrons)
        if camera.bits is not None:
            levels = np.float32(2**camera.bits - 1)
            electrons *= levels
            xp.round(electrons, out=electrons)
            electrons /= levels
        return electrons

    def _diagnose(self, wells):
        """Warn, once of each kind, when the exposure does not fit the light."""
        if not len(wells) or not wells.shape[1]:
            return
        n_pixels = len(wells) * wells.shape[1]
        if (saturated := float((wells >= 1).sum()) / n_pixels) > _MOST_SATURATED:
            self._tell("saturated", saturated, "full scale", "shorter exposure or larger full_well")
        if (dark := float((wells <= 0).sum()) / n_pixels) > _MOST_DARK:
            self._tell("too dark", dark, "zero", "longer exposure or more bits")

    def _tell(self, kind, fraction, reading, remedy):
        if kind in self._warned:
            return
        self._warned.add(kind)
        automatic = "" if self.camera.exposure == "auto" else "exposure='auto', or "
        warnings.warn(
            f"The camera is {kind}: {fraction:.1%} of the lit frames' pixels read {reading} with "
            f"exposure={self.camera.exposure!r}, full_well={self.camera.full_well} and "
            f"bits={self.camera.bits}. Use {automatic}a {remedy}. This is said once for a device.",
            CameraWarning,
            stacklevel=6,
        )


def _automatic(intensities, full_well):
    """Exposure that puts the bright pixels just below the full well."""
    pixels = intensities.reshape(-1)
    # An odd step does not stay on one phase of a fringe pattern.
    pixels = to_host(pixels[:: (len(pixels) // _MOST_LOOKED_AT) | 1])
    bright = np.quantile(pixels, _BRIGHT)
    return _LEVEL * full_well / bright if bright > 0 else 1.0
