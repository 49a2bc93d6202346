"""What comes before a ridge readout of features: a binarizer, and a device or Fourier features."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils import gen_batches
from sklearn.utils.validation import has_fit_parameter

from skopu._core.chunks import Portions
from skopu._core.places import HOST, is_tensor, place_of, rows_of, to_host
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.devices.base import is_binary
from skopu.devices.registry import resolve_device
from skopu.kernel_ridge.features import OPURandomFeatures
from skopu.ridge.normal_equations import MAX_CHUNK_ROWS, bytes_of_a_row


def rows_at_a_time(n_columns, gram="auto", chunk_size=None, place=HOST):
    """Rows whose features are held at a time: ``chunk_size``, or what memory allows."""
    if chunk_size is not None:
        return chunk_size
    memory = get_config()["working_memory"] * 2**20
    return int(np.clip(memory // bytes_of_a_row(n_columns, gram, place), 1, MAX_CHUNK_ROWS))


class FeatureMap(NamedTuple):
    """From validated rows to features: through a binarizer and a transformer, if there are any.

    Attributes
    ----------
    binarizer, features : fitted transformer or None
    place : Host
        Where features of arrays are made; those of tensors are made where these are.
    """

    binarizer: object
    features: object
    place: object = HOST

    def transform(self, X):
        """Return features (n, D)."""
        place = self.place_for(X)
        if self.binarizer is not None:
            X = np.asarray(self.binarizer.transform(to_host(X)))
        if not place.is_card:
            return X if self.features is None else np.asarray(self.features.transform(X))
        if self.features is not None and not isinstance(self.features, OPURandomFeatures):
            return place.put(self.features.transform(to_host(X)))
        X = place.put(X.toarray() if issparse(X) else X)
        return X if self.features is None else self.features.transform(X)

    def place_for(self, X):
        """Return where the features of X are made."""
        return place_of(X) if is_tensor(X) else self.place

    def n_columns(self, X):
        """Return D for rows of X."""
        return X.shape[1] if self.features is None else self.features.n_components

    def pieces(self, X, Y, weights, max_rows, rows=slice(None)):
        """Yield the pieces of ``X[rows]``, ``Y[rows]`` and their ``weights``."""

        def make(part):
            chosen = part if isinstance(rows, slice) else rows[part]
            return self.transform(rows_of(X, chosen)), Y[chosen], weights[part]

        yield from Portions(self.place_for(X), max_rows).results(make, slice(0, len(weights)))


def fit_fourier_map(X, gamma, n_components, seed):
    """Return the ``FeatureMap`` of random Fourier features; it looks at the shape of X only."""
    gamma = 1 / X.shape[1] if gamma is None else gamma
    sampler = RBFSampler(n_components=n_components, gamma=gamma, random_state=seed)
    return FeatureMap(None, sampler.fit(to_host(X[:1])))


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
        given = to_host(rows_of(X, rows)), y[rows], weights
        fitted = _fit_binarizer(clone(binarizer), *given, opu, n_components, seed)
        codes = np.asarray(fitted.transform(to_host(codes)))
    features = OPURandomFeatures(
        n_components, opu=opu, gamma=1.0 if gamma is None else gamma, binarize=None
    )
    return FeatureMap(fitted, features.fit(codes))


def _all_binary(X, rows, n_rows):
    """Whether all values of ``X[rows]`` are 0 or 1, looking at a chunk of rows at a time."""
    parts = gen_batches(n_rows, MAX_CHUNK_ROWS)
    return all(
        is_binary(rows_of(X, part if isinstance(rows, slice) else rows[part])) for part in parts
    )


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
