"""What comes before a ridge readout: from rows to features, or to kernels with other rows."""

from typing import NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, pairwise_kernels
from sklearn.utils import gen_batches
from sklearn.utils.validation import has_fit_parameter

from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.devices import resolve_device
from skopu.devices.base import is_binary
from skopu.kernel_ridge.features import OPURandomFeatures
from skopu.kernels import opu_kernel
from skopu.ridge.normal_equations import MAX_CHUNK_ROWS, bytes_of_a_row

KERNEL_NAMES = set(PAIRWISE_KERNEL_FUNCTIONS)
# Up to here the "rbf" kernel is exact if nothing else is asked: on one busy core with alpha given
# 0.5 s, with alpha chosen 10 s and 0.5 GB; twice the rows would take eight times as long.
MAX_EXACT_ROWS = 4096


def rows_at_a_time(n_columns, gram="float64", chunk_size=None):
    """Rows whose features are held at a time: ``chunk_size``, or what memory allows."""
    if chunk_size is not None:
        return chunk_size
    memory = get_config()["working_memory"] * 2**20
    return int(np.clip(memory // bytes_of_a_row(n_columns, gram), 1, MAX_CHUNK_ROWS))


class FeatureMap(NamedTuple):
    """From validated rows to features: through a binarizer and a transformer, if there are any.

    Attributes
    ----------
    binarizer, features : fitted transformer or None
    """

    binarizer: object
    features: object

    def transform(self, X):
        """Return features (n, D)."""
        if self.binarizer is not None:
            X = np.asarray(self.binarizer.transform(X))
        return X if self.features is None else np.asarray(self.features.transform(X))

    def n_columns(self, X):
        """Return D for rows of X."""
        return X.shape[1] if self.features is None else self.features.n_components

    def pieces(self, X, Y, weights, max_rows, rows=slice(None)):
        """Yield the pieces of ``X[rows]``, ``Y[rows]`` and their ``weights``."""
        for part in gen_batches(len(weights), max_rows):
            chosen = part if isinstance(rows, slice) else rows[part]
            yield self.transform(X[chosen]), Y[chosen], weights[part]


class KernelMap(NamedTuple):
    """From validated rows to their kernel with the rows that were fitted.

    Attributes
    ----------
    kernel : str or callable
        Any that ``pairwise_kernels`` takes, or "precomputed".
    params : dict
        Its parameters.
    X : {ndarray, sparse matrix} of shape (m, d) or None
        The rows that were fitted; None for "precomputed".
    """

    kernel: object
    params: dict
    X: object = None

    def transform(self, X):
        """Return the kernel (n, m)."""
        return X if self.kernel == "precomputed" else self.between(X, self.X)

    def between(self, X, Y=None):
        """Return the kernel (n, m) of rows of X with rows of Y, or with each other."""
        if self.kernel is opu_kernel:
            # A function of two rows to pairwise_kernels, which would call it for every pair.
            return opu_kernel(X, Y, **self.params)
        return pairwise_kernels(X, Y, metric=self.kernel, filter_params=True, **self.params)


def fit_fourier_map(X, gamma, n_components, seed):
    """Return the ``FeatureMap`` of random Fourier features; it looks at the shape of X only."""
    gamma = 1 / X.shape[1] if gamma is None else gamma
    sampler = RBFSampler(n_components=n_components, gamma=gamma, random_state=seed)
    return FeatureMap(None, sampler.fit(X[:1]))


def fit_device_map(X, y, weights, rows, opu, gamma, n_components, binarizer, seed):
    """Return the ``FeatureMap`` of a device, with a binarizer in front if X is not binary.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n, d)
    y : ndarray
        What the binarizer learns.
    weights : ndarray of shape (m,), all positive
        Of ``X[rows]``.
    rows : ndarray of int, or slice
        What to fit to.
    opu : str, OPUDevice or None
    gamma : float or None
    n_components : int
    binarizer : transformer
    seed : int
        For a binarizer that has no random state.
    """
    codes, fitted = X[:1], None
    if not _all_binary(X, rows, len(weights)):
        fitted = _fit_binarizer(
            clone(binarizer), X[rows], y[rows], weights, opu, n_components, seed
        )
        codes = np.asarray(fitted.transform(codes))
    features = OPURandomFeatures(
        n_components, opu=opu, gamma=1.0 if gamma is None else gamma, binarize=None
    )
    return FeatureMap(fitted, features.fit(codes))


def _all_binary(X, rows, n_rows):
    """Whether all values of ``X[rows]`` are 0 or 1, looking at a chunk of rows at a time."""
    parts = gen_batches(n_rows, MAX_CHUNK_ROWS)
    return all(is_binary(X[part if isinstance(rows, slice) else rows[part]]) for part in parts)


def _fit_binarizer(binarizer, X, y, weights, opu, n_components, seed):
    if isinstance(binarizer, SupervisedBinarizer):
        # Codes are trained through the device that will project them. The features need one
        # component less than they have columns, and a device may have no more.
        device = resolve_device(opu, binarizer.n_bits, n_components, n_free=1)
        limit = device.max_components or n_components
        binarizer.set_params(opu=opu, n_components=min(n_components, limit))
    if binarizer.get_params(deep=False).get("random_state", 0) is None:
        binarizer.set_params(random_state=seed)
    if has_fit_parameter(binarizer, "sample_weight"):
        return binarizer.fit(X, y, sample_weight=weights)
    return binarizer.fit(X, y)
