"""Scaling of inputs before an encoder."""

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted

_MAX_QUANTILES = 1000


class Clip(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Clip values to [-limit, limit]."""

    def __init__(self, limit=3.0):
        self.limit = limit

    def fit(self, X, y=None):
        """Do nothing."""
        return self

    def transform(self, X):
        """Return the clipped values."""
        return np.clip(X, -self.limit, self.limit)

    def __sklearn_is_fitted__(self):
        return True


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
    return make_pipeline(quantiles, Clip()).set_output(transform="default").fit(X)


def _fit_standard(X, weights):
    # The output is an array whatever the user's global configuration asks of transformers.
    scaler = StandardScaler(with_mean=not issparse(X)).set_output(transform="default")
    with np.errstate(over="ignore", invalid="ignore"):
        scaler.fit(X, sample_weight=weights)
    if not np.isfinite(scaler.scale_).all():
        columns = np.flatnonzero(~np.isfinite(scaler.scale_))[:5].tolist()
        raise ValueError(
            f"X cannot be standardised: the squares of column(s) {columns} overflow; divide "
            "these columns by their largest value first."
        )
    return scaler


def apply_scaler(scaler, X):
    """Return scaled X; X itself if there is no scaler."""
    if scaler is None:
        return X
    check_is_fitted(scaler)
    return scaler.transform(X)
