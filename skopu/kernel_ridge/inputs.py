"""What comes before a ridge readout of features: a binarizer, and a device or Fourier features."""

from typing import NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils import gen_batches
from sklearn.utils.validation import has_fit_parameter

from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.devices.base import is_binary
from skopu.devices.registry import resolve_device
from skopu.kernel_ridge.features import OPURandomFeatures
from skopu.ridge.normal_equations import MAX_CHUNK_ROWS, bytes_of_a_row


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
