"""Random features computed by an Optical Processing Unit."""

import warnings
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import binarize as threshold
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.dask import is_dask, map_rows
from skopu._core.documented import Documented
from skopu._core.fitting import whole
from skopu._core.parts import PartsMixin, resolve_part
from skopu._core.places import dtype_name, is_tensor, place_of, to_host
from skopu._core.targets import encode_targets, keep_labels
from skopu._core.validation import HasMethods, Interval, StrOptions, fit_context, validate_data
from skopu.devices.base import check_codes, is_binary
from skopu.devices.registry import DEVICES, resolve_device
from skopu.forms.products import expand, n_products
from skopu.kernel_ridge.origin import OPUFeatures, mark_as_features
from skopu.ridge.leave_one_out import leave_out

_CONSTANT_SHARE = 0.5  # of the bits, from which on a threshold is taken for wrong


@dataclass(eq=False, repr=False)
class OPURandomFeatures(ClassNamePrefixFeaturesOutMixin, PartsMixin, TransformerMixin, Documented):
    r"""Random features of binary codes, read from an Optical Processing Unit.

    The device shines a code z through a scattering medium and reads
    :math:`I_j = |r_j^\top z|^2`. Features in the three forms are

    .. math::

        \text{raw:}\quad & \phi_j(z) = \gamma^2 I_j / \sqrt{D}, \qquad j = 1..D \\
        \text{centered:}\quad & \phi_j(z) = \gamma^2 (I_j - \|z\|^2) / \sqrt{D - 1},
        \qquad \phi_D(z) = \gamma^2 \|z\|^2 \\
        \text{exact:}\quad & \phi_i(z) = \gamma^2 \Big(z_i +
        \frac{\|z\|^2}{1 + \sqrt{1 + k}}\Big), \qquad
        \phi_{ij}(z) = \gamma^2 \sqrt{2}\, z_i z_j, \quad i < j

    (equations 1 and 13 of [1]_). Inner products of the first two are unbiased estimates of
    :math:`k(x, y) = \gamma^4(\|x\|^2\|y\|^2 + (x^\top y)^2)`. With
    :math:`N = \|x\|^2\|y\|^2` and :math:`P = (x^\top y)^2`, their variance times D is
    :math:`3N^2 + 14NP + 3P^2` (raw) and :math:`N^2 + 4NP + 3P^2` (centered): taking out the
    popcount, which is known exactly, saves a factor of 2.5 to 3.1 in components. The last of
    the D centered features is that popcount; it needs no component of the device.

    Intensities are quadratic forms of the bits, so that no more than k(k + 1)/2 of them are
    linearly independent. The exact form has that many features: the popcount and all products
    of two bits, whose inner products *are* the kernel. Prefer it where ``n_components`` would
    be as large; it makes no pass through the device.

    Parameters
    ----------
    n_components : int, default=1024
        D, the number of features. With ``form="exact"``, the most that are accepted.
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device. Its matrix belongs to its own seed: for other features use
        ``SimulatedOPU(random_state=...)``. None is ``"simulated"``.
    gamma : float, array-like of shape (n_features_out,) or "learn", default=1.0
        Features are multiplied by ``gamma**2``. A scalar is redundant with the alpha of a
        ridge readout (gamma times 10 is alpha divided by 10^4). ``"learn"`` finds it from y, by
        gradient on the leave-one-out error of a ridge readout with this ``alpha``; it
        solves a system of size min(n, D) fifty times or so.
    gamma_per : {"scalar", "feature"}, default="scalar"
        What ``gamma="learn"`` learns: one number, or one for each feature. The latter can
        overfit when n is not well above D.
    alpha : float, default=1.0
        The alpha of the readout for which ``gamma="learn"`` learns; not used otherwise.
    form : {"centered", "raw", "exact"}, default="centered"
        Form of the features, see above. The first two have ``n_components`` columns, exact
        ones k(k + 1)/2.
    binarize : float or None, default=0.0
        Input above this threshold becomes 1, the rest 0, as in
        :class:`~sklearn.naive_bayes.BernoulliNB`; codes of zeros and ones pass unchanged.
        None: the input must be binary already and anything else is refused.

    Attributes
    ----------
    opu_ : OPUDevice
        The device used; ``opu_.n_passes`` counts its projections.
    gamma_ : float or ndarray of shape (n_features_out,)
        Gamma as given or learned.
    n_features_in_ : int
        Number of bits k seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X had any.

    See Also
    --------
    SupervisedBinarizer : Learns codes for real inputs together with the task.
    OPUKernelRidge : Ridge regression on these features.
    opu_kernel : The kernel in closed form.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skopu import OPURandomFeatures, opu_kernel
    >>> codes = np.random.default_rng(0).integers(0, 2, size=(5, 20))
    >>> features = OPURandomFeatures(n_components=20_000).fit_transform(codes)
    >>> features.shape, features.dtype.name
    ((5, 20000), 'float32')
    >>> error = features @ features.T - opu_kernel(codes)
    >>> bool(abs(error).max() < 0.05 * opu_kernel(codes).max())
    True
    >>> features = OPURandomFeatures(form="exact").fit_transform(codes)
    >>> features.shape, bool(np.allclose(features @ features.T, opu_kernel(codes)))
    ((5, 210), True)
    """

    _part_names = ("opu",)
    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "opu": [str, HasMethods(["project"]), None],
        "gamma": [Interval(Real, 0, None, closed="neither"), "array-like", StrOptions({"learn"})],
        "gamma_per": [StrOptions({"scalar", "feature"})],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "form": [StrOptions({"centered", "raw", "exact"})],
        "binarize": [Interval(Real, None, None, closed="both"), None],
    }

    n_components: int = 1024
    _: KW_ONLY
    opu: object = "simulated"
    gamma: float | str = 1.0
    gamma_per: str = "scalar"
    alpha: float = 1.0
    form: str = "centered"
    binarize: float | None = 0.0

    def _make_part(self, name):
        return resolve_part(self.opu, DEVICES, "opu")

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit(self, X, y=None) -> Self:
        """Open the device, check that it is large enough, and learn gamma if asked.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_bits)
            Codes, or values to be thresholded at ``binarize``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Needed by ``gamma="learn"`` only: floats, or class labels.

        Returns
        -------
        self : object
        """
        self._fit(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit_transform(self, X, y=None):
        """Fit, and compute the features of the same rows, which are validated once.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_bits)
            Codes, or values to be thresholded at ``binarize``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            As for :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), dtype float32
            As :meth:`transform` gives them.
        """
        validated = self._fit(X, y)
        return self.transform(X) if is_dask(X) else self._transform(validated)

    def _fit(self, X, y):
        """Set the fitted attributes; return validated X (of a dask array one block)."""
        if self._learns():
            X, y = self._validate_targets(X, y)
        else:
            # Of a dask array the columns of one block tell all that is asked here.
            X = self._validate(X.blocks[0].compute() if is_dask(X) else X, reset=True)
        self._check_threshold(X)
        self.opu_ = self._open(X.shape[1])
        self.gamma_ = self._learn_gamma(X, y) if self._learns() else self._given_gamma()
        return X

    def _fit_bits(self, n_bits, device):
        """Set the fitted attributes for codes of a length and an open device; gamma is given."""
        self.n_features_in_, self.opu_ = n_bits, device
        self.gamma_ = self._given_gamma()
        return self

    def _open(self, n_bits):
        """Return the device, after checking the sizes."""
        if self.form == "exact":
            self._check_size(n_bits)
            return self._make_part("opu")
        return resolve_device(self.opu, n_bits, self.n_components, self._n_free())

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_bits)
            Codes, or values to be thresholded at ``binarize``.

        Returns
        -------
        features : ndarray or Tensor of shape (n_samples, n_features_out), dtype float32
            An ndarray subclass, by which ``OPUKernelRidge(kernel="auto")`` knows not to
            project again. Of a tensor, a tensor on the same device that says so likewise.
        """
        check_is_fitted(self)
        if is_dask(X):
            meta = np.empty((0, 0), dtype=np.float32).view(OPUFeatures)
            return map_rows(self, "transform", X, self._n_features_out, meta)
        return self._transform(self._validate(X, reset=False))

    def _transform(self, X):
        """Features of validated X."""
        return mark_as_features(self._features(self._codes(X), self.gamma_))

    def expectation(self, probabilities) -> np.ndarray:
        r"""Return the expected features of random codes with independent bits.

        With bit probabilities p and variances :math:`v = p(1 - p)`,
        :math:`E\,I = |Rp|^2 + |R|^2 v` and :math:`E\|z\|^2 = \sum_i p_i`.

        Parameters
        ----------
        probabilities : array-like of shape (n_samples, n_bits)
            Each bit's probability of being 1.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), dtype float32

        Raises
        ------
        AttributeError
            If the device's matrix is not known and the form not exact;
            :func:`~skopu.devices.calibrate` measures it.
        """
        check_is_fitted(self)
        # In float64: the last digits of a matrix product change with the number of its rows, and
        # what is rounded to float32 must not.
        p = np.asarray(probabilities, dtype=np.float64)
        if self.form == "exact":
            # They are linear in every single bit.
            return expand(p, np.square(self.gamma_)).view(OPUFeatures)
        features = np.empty((len(p), self.n_components), dtype=np.float32)
        for rows in row_chunks(len(p)):
            intensities = self.opu_.expected_intensities(p[rows], self._n_projected())
            features[rows] = self._assemble(intensities, p[rows].sum(axis=1), self.gamma_)
        return features.view(OPUFeatures)

    @property
    def _n_features_out(self):
        return n_products(self.n_features_in_) if self.form == "exact" else self.n_components

    def _check_size(self, n_bits):
        if n_products(n_bits) > self.n_components:
            raise ValueError(
                f"form='exact' has k(k + 1)/2 = {n_products(n_bits)} features for k = {n_bits} "
                f"bits, more than n_components={self.n_components}: raise n_components to accept "
                "them, or use form='centered'."
            )

    def _n_free(self):
        """Features that need no component of the device: the popcount, in the centered form."""
        return int(self.form == "centered")

    def _n_projected(self):
        """Components asked of the device."""
        return 0 if self.form == "exact" else self.n_components - self._n_free()

    def _features(self, codes, gamma):
        return self._of_frames(codes, self._frames(codes), gamma)

    def _frames(self, codes):
        """Return what the device answers: raw intensities (n, n_projected) of codes."""
        if not self._n_projected():
            return place_of(codes).empty((len(codes), 0), "float32")
        return self.opu_.project(codes, self._n_projected())

    def _of_frames(self, codes, frames, gamma):
        """Features of codes that the device has answered."""
        place = place_of(codes)
        if self.form == "exact":
            return place.put(expand(to_host(codes), np.square(gamma)))
        frames = place.put(frames, "float32")
        popcounts = codes.sum(axis=1, dtype=place.xp.float32)
        return self._assemble(frames, popcounts, gamma)

    def _assemble(self, intensities, popcounts, gamma):
        """Features (n, D) from raw intensities (n, D or D - 1) and popcounts (n,)."""
        place = place_of(intensities)
        scale = np.broadcast_to(np.float32(np.square(gamma)), (self.n_components,))
        if self.form == "raw":
            # Not in place: a device that answers from memory would give another answer next time.
            return intensities * place.put(scale / np.float32(np.sqrt(self.n_components)))
        shape = len(intensities), self.n_components
        features = place.empty(shape, dtype_name(intensities))
        place.xp.subtract(intensities, popcounts[:, None], out=features[:, :-1])
        rest = scale[:-1] / np.float32(np.sqrt(max(1, self.n_components - 1)))
        features[:, :-1] *= place.put(rest)
        features[:, -1] = popcounts * scale[-1]
        return features

    def _check_threshold(self, X):
        """Warn if it leaves most bits the same in all rows."""
        if self.binarize is None or X.shape[0] < 2:
            return
        if is_tensor(X):
            low, high = to_host(X.amin(0)), to_host(X.amax(0))
        else:
            low, high = _dense(X.min(axis=0)), _dense(X.max(axis=0))
        share = np.mean((low > self.binarize) | (high <= self.binarize))
        if share >= _CONSTANT_SHARE and not is_binary(X):
            warnings.warn(
                f"binarize={self.binarize} makes {share:.0%} of the bits the same in all rows, so "
                "that they tell nothing: put a binarizer in front (HyperplaneBinarizer, "
                "ThermometerBinarizer; SupervisedBinarizer learns codes with the task), centre the "
                "columns by StandardScaler, or choose a threshold among the values.",
                stacklevel=2,
            )

    def _learns(self):
        return isinstance(self.gamma, str)

    def _given_gamma(self):
        if isinstance(self.gamma, Real):
            return float(self.gamma)
        gamma = np.asarray(self.gamma, dtype=np.float64)
        if gamma.shape != (self._n_features_out,) or not (gamma > 0).all():
            name = "k(k + 1)/2" if self.form == "exact" else "n_components"
            raise ValueError(
                f"gamma must be a positive number or {name}={self._n_features_out} positive "
                f"numbers, got an array of shape {gamma.shape}: {str(gamma)[:80]}."
            )
        return gamma

    def _validate_targets(self, X, y):
        if y is None:
            raise ValueError("gamma='learn' needs y: pass targets to fit, or a number as gamma.")
        given = y
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype="numeric", multi_output=True, y_numeric=False
        )
        return X, keep_labels(y, given)

    def _learn_gamma(self, X, y):
        # torch is loaded here, by those who ask for it.
        from skopu.kernel_ridge.gamma import learn_gamma

        weights = np.ones(len(y))
        targets = encode_targets(y, "auto", weights).values
        features = to_host(self._features(self._codes(X), 1.0))
        # The best alpha for gamma = 1 is alpha / gamma^4 for the best scalar gamma.
        choice, _ = leave_out(features, targets, weights, fit_intercept=True)
        start = (self.alpha / choice.alpha) ** 0.25
        return learn_gamma(features, targets, self.alpha, self.gamma_per == "feature", start)

    def _validate(self, X, reset):
        return validate_data(
            self, X, takes_tensors=True, reset=reset, accept_sparse="csr", dtype="numeric"
        )

    def _codes(self, X):
        """Uint8 codes (n, k) of validated input."""
        if self.binarize is None:
            return check_codes(X, "X (with binarize=None)")
        if issparse(X):
            return check_codes(threshold(X, threshold=self.binarize))
        xp = place_of(X).xp
        return xp.greater(X, self.binarize).view(xp.uint8)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _dense(row):
    """Return a row of a sparse matrix, or one that is dense already, as an array (d,)."""
    return (row.toarray() if issparse(row) else np.asarray(row)).ravel()
