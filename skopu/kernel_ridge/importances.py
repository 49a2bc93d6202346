"""How much each column matters to a readout, where the gradient of the prediction is known."""

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.utils.extmath import safe_sparse_dot

from skopu._core.places import to_host
from skopu._core.scaling import apply_scaler
from skopu.forms.importances import deviations, encoder_gradients, few_rows, mean_squares
from skopu.kernel_ridge.readout_form import form_of_readout

_MAX_SPREAD_ROWS = 4096  # that tell the spread of columns
# Bits whose forms are made for this: k^2 numbers for each component, k^2 for each target.
_MAX_BITS = 1024


def set_importances(model, slopes, X, Y, weights):
    """Set ``feature_importances_`` of a fitted model where the gradients are known.

    Parameters
    ----------
    model : estimator
    slopes : (callable, transformer or None) or None
        From scaled rows (m, d) to the gradients (q, m, d) of the predictions, with the scaler;
        None: they are not known.
    X : {ndarray, sparse matrix} of shape (n, d)
        Rows that it was fitted to, validated.
    Y : ndarray of shape (n, q)
        Targets, for their units.
    weights : ndarray of shape (n,)
    """
    vars(model).pop("feature_importances_", None)  # of another fit that goes on
    if slopes is None:
        return
    gradients, scaler = slopes
    weights = to_host(weights)
    rows = np.flatnonzero(weights > 0)
    rows = rows[few_rows(len(rows), _MAX_SPREAD_ROWS)]
    X, Y, weights = to_host(X[rows]), to_host(Y[rows]), weights[rows]
    X = apply_scaler(scaler, X)
    spread, units = deviations(X, weights), deviations(Y, weights)
    factors = spread / np.where(units > 0, units, 1.0)[:, None, None]
    chosen = few_rows(len(weights))
    X, weights = X[chosen], weights[chosen]
    X = (X.toarray() if issparse(X) else X).astype(np.float64)
    model.feature_importances_ = mean_squares(
        lambda rows: gradients(X[rows]) * factors, weights, X.shape[1]
    )


def slopes_of_ridge(model):
    """Return the ``slopes`` of a kernel ridge, as ``set_importances`` takes them."""
    if model.kernel_ == "opu":
        return slopes_of_codes(model.binarizer_, model.features_, model._readout_)
    if model.kernel_approximation_ == "fourier":
        return _slopes_of_waves(model.features_, model._readout_.coef), None
    make = _SLOPES_OF_KERNELS.get(model.kernel_) if isinstance(model.kernel_, str) else None
    if make is None:
        return None
    kernel, gamma = model._map(), model._kernel_params_.get("gamma", 1 / model.n_features_in_)
    return (lambda X: make(kernel, gamma, X, model._readout_.coef)), None


def slopes_of_codes(encoder, features, readout):
    """Return the ``slopes`` of a readout of features of codes.

    Parameters
    ----------
    encoder : binarizer or None
        With bit probabilities, whose means are smooth; None: the rows are codes, and what a bit
        changes is taken.
    features : OPURandomFeatures
    readout : LinearReadout
    """
    n_bits = features.n_features_in_
    is_known = features.form == "exact" or features.opu_.known_matrix
    is_smooth = encoder is None or hasattr(encoder, "bit_probabilities")
    if not is_known or not is_smooth or n_bits > _MAX_BITS:
        return None
    form = form_of_readout(features, readout)
    if encoder is None:
        return form.slopes, None

    def gradients(X):
        p = expit(X @ encoder.coef_.T + encoder.intercept_)
        return encoder_gradients(form, p, encoder.coef_)

    return gradients, encoder.scaler_


def _slopes_of_waves(sampler, coef):
    waves = sampler.random_weights_

    def gradients(X):
        phases = np.sin(X @ waves + sampler.random_offset_)
        weights = coef * np.sqrt(2 / len(coef))
        return -(phases * weights.T[:, None]) @ waves.T

    return gradients


def _slopes_of_rbf(kernel, gamma, X, dual):
    K = kernel.transform(X)
    pulls = [
        safe_sparse_dot(K * own, kernel.X, dense_output=True) - (K @ own)[:, None] * X
        for own in dual.T
    ]
    return 2 * gamma * np.stack(pulls)


def _slopes_of_polynomial(kernel, gamma, X, dual):
    degree, coef0 = kernel.params["degree"], kernel.params["coef0"]
    inner = safe_sparse_dot(X, kernel.X.T, dense_output=True)
    steep = gamma * degree * (gamma * inner + coef0) ** (degree - 1)
    return np.stack([safe_sparse_dot(steep * own, kernel.X, dense_output=True) for own in dual.T])


_SLOPES_OF_KERNELS = {
    "rbf": _slopes_of_rbf,
    "poly": _slopes_of_polynomial,
    "polynomial": _slopes_of_polynomial,
}
