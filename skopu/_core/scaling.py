"""Scaling of inputs before an encoder."""

import numpy as np
from scipy.sparse import issparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer, StandardScaler
from sklearn.utils import gen_batches

_MAX_QUANTILES = 1000
_CHUNK_VALUES = 2**20  # the statistics are in float64, and their temporary arrays too
_LIMIT = 3.0  # of normal quantiles, beyond which a value is an outlier


def fit_scaler(scaler, X, weights, seed):
    """Return a fitted transformer, or None for ``scaler=None``.

    ``"standard"`` subtracts the weighted mean (dense input only) and divides by the standard
    deviation. ``"quantile"`` maps each column to normal quantiles clipped to +-3, whatever the
    weights: spikes and skewed columns lose their grip. On sparse input it is refused, since
    it would make every zero a non-zero.
    """
    if scaler is None:
        return None
    if scaler == "standard":
        return _fit_standard(X, weights)
    if issparse(X):
        raise ValueError(
            "scaler='quantile' needs dense X, since it turns every zero into another value: "
            "use scaler='standard', or X.toarray() if it fits in memory."
        )
    quantiles = QuantileTransformer(
        n_quantiles=min(_MAX_QUANTILES, X.shape[0]),
        output_distribution="normal",
        random_state=seed,
    )
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -_LIMIT, "a_max": _LIMIT})
    return make_pipeline(quantiles, clip).set_output(transform="default").fit(X)


def _fit_standard(X, weights):
    # The output is an array whatever the user's global configuration asks of transformers.
    scaler = StandardScaler(with_mean=not issparse(X)).set_output(transform="default")
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in gen_batches(X.shape[0], max(1, _CHUNK_VALUES // X.shape[1])):
            scaler.partial_fit(X[rows], sample_weight=weights[rows])
    if not np.isfinite(scaler.scale_).all():
        columns = np.flatnonzero(~np.isfinite(scaler.scale_))[:5].tolist()
        raise ValueError(
            f"X cannot be standardised: the squares of column(s) {columns} overflow; divide "
            "these columns by their largest value first."
        )
    return scaler


def apply_scaler(scaler, X):
    """Return scaled X; X itself if there is no scaler."""
    return X if scaler is None else scaler.transform(X)
