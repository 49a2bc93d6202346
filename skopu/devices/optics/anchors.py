"""The complex field from intensities alone, with the help of known patterns."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np

from skopu._core.validation import Interval
from skopu.devices.optics.retrieval import LinearRetrieval


@dataclass(eq=False, repr=False)
class AnchorRetrieval(LinearRetrieval):
    r"""Linear projections from intensities alone: no reference beam, any device.

    Bits beside those of the code show one of P fixed patterns, *anchors* a, so that a + z is
    again binary. What a frame with both has over the frames with either is linear in z:

    .. math::

       |R(a + z)|^2 - |Ra|^2 - |Rz|^2 = 2 \, \mathrm{Re}\big((Ra)^* Rz\big) .

    Each anchor thus gives, in every component, the inner product of the field Rz with the
    field Ra, as vectors of the plane. The same identity among the anchors gives the P x P inner
    products of their fields, and the vectors with these products follow from an
    eigendecomposition of rank 2 (classical scaling). Rz is then the least-squares solution of P
    equations in two unknowns. Two anchors are enough but for components where both have nearly
    the same phase; more make that rare.

    Scale and phase: intensities do not change when a row of R is multiplied by a phase or
    conjugated, so nothing can tell. Here the first anchor's field is real and positive, the
    second one's has a positive imaginary part: component i is
    :math:`e^{-i \phi_i} (Rz)_i` or its conjugate, always the same for a given set of anchors.
    The scale is that of R z times the square root of the camera's gain.

    Parameters
    ----------
    opu : OPUDevice, str or None, default=None
        The device, used itself and not a clone; None: ``SimulatedOPU()``. It needs room for
        ``n_anchors * anchor_bits`` bits beside those of the codes.
    n_anchors : int, default=4
        P, at least 2. A code costs P + 1 frames.
    anchor_bits : int or None, default=None
        Ones in each anchor. None: half the number of bits of the codes.
    n_repeats : int, default=16
        How often the P (P + 1) / 2 frames of the anchors are taken and averaged. They are taken
        when the numbers of bits and components are first seen.

    Attributes
    ----------
    n_passes : int
        Frames taken so far, those of the anchors included.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu.devices import AnchorRetrieval, SimulatedOPU
    >>> opu = SimulatedOPU(0)
    >>> codes = np.array([[1, 0, 1], [0, 1, 1]])
    >>> field = AnchorRetrieval(opu).project(codes, 5)
    >>> bool(np.allclose(abs(field), abs(codes @ opu.matrix(3, 5).T), atol=1e-3))
    True
    """

    _parameter_constraints = {
        **LinearRetrieval._parameter_constraints,
        "n_anchors": [Interval(Integral, 2, None, closed="left")],
        "anchor_bits": [Interval(Integral, 1, None, closed="left"), None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
    }

    opu: object = None
    _: KW_ONLY
    n_anchors: int = 4
    anchor_bits: object = None
    n_repeats: int = 16

    def _n_pixels(self, n_components):
        return (self.n_anchors + 1) * n_components

    def _prepare(self, device, n_bits, n_components):
        width = self.anchor_bits or max(1, n_bits // 2)
        key = (n_bits, n_components, self.n_anchors, width, self.n_repeats)
        kept_device, kept_key, *_ = getattr(self, "_kept", (None, None))
        if kept_device is device and kept_key == key:
            return
        patterns = np.kron(np.eye(self.n_anchors, dtype=np.uint8), np.ones(width, dtype=np.uint8))
        anchors = np.hstack([np.zeros((self.n_anchors, n_bits), dtype=np.uint8), patterns])
        # One assignment, so that Ctrl-C cannot leave the anchors of one size with another's.
        self._kept = device, key, anchors, *self._calibrate(device, anchors, n_components)

    def _calibrate(self, device, anchors, n_components):
        """Measure the anchors; return their intensities, and the equations' solution."""
        first, second = np.triu_indices(self.n_anchors)
        shown = anchors[first] | anchors[second]
        frames = device.project(np.tile(shown, (self.n_repeats, 1)), n_components)
        means = frames.reshape(self.n_repeats, len(shown), n_components).mean(axis=0, dtype=float)
        pairs = np.empty((self.n_anchors, self.n_anchors, n_components))
        pairs[first, second] = pairs[second, first] = means
        alone = np.einsum("aad->ad", pairs).copy()
        products = (pairs - alone - alone[:, None]) / 2
        np.einsum("aad->ad", products)[...] = alone
        return alone, _solution(products, 10 * np.finfo(frames.dtype).eps)

    def _retrieve(self, device, codes, n_components, brightest):
        n_bits = codes.shape[1]
        *_, anchors, alone, weights = self._kept
        beside = np.vstack([np.zeros_like(anchors[:1]), anchors])[:, n_bits:]
        shown = np.hstack([np.repeat(codes, len(beside), axis=0), np.tile(beside, (len(codes), 1))])
        frames = device.project(shown, n_components)
        dtype = np.result_type(frames.dtype, np.complex64)
        frames = frames.reshape(len(codes), self.n_anchors + 1, n_components).astype(float)
        products = (frames[:, 1:] - frames[:, :1] - alone) / 2
        return np.einsum("nad,ad->nd", products, weights).astype(dtype)


def _solution(products, precision):
    """Complex weights (P, D) that turn inner products with the anchors into the field."""
    values, vectors = np.linalg.eigh(np.moveaxis(products, 2, 0))
    # Of rank 2, up to noise: the other eigenvalues show how much of it there is.
    noise = np.abs(values[:, :-2]).max(axis=1, initial=0)[:, None]
    values, vectors = values[:, -2:], vectors[:, :, -2:]
    values = np.where(values > np.maximum(noise, precision * values.max()), values, 0)
    anchors = (vectors * np.sqrt(values)[:, None]) @ np.array([1, 1j])  # (D, P)
    anchors *= np.exp(-1j * np.angle(anchors[:, :1]))
    flipped = anchors[:, 1].imag < 0
    anchors[flipped] = anchors[flipped].conj()
    plane = np.stack([anchors.real, anchors.imag], axis=-1)  # (D, P, 2)
    inverse = np.linalg.pinv(plane)
    return (inverse[:, 0] + 1j * inverse[:, 1]).T
