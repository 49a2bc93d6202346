"""The quadratic form of the bits that a readout of features is.

Features by the thousand are then never made: predictions of n rows take n k^2 operations in the
place of n k D.
"""

import numpy as np

from skopu.forms.quadratic import QuadraticForm


def form_of_readout(features, readout):
    """Return the ``QuadraticForm`` whose values at codes are those of a readout of their features.

    Parameters
    ----------
    features : OPURandomFeatures
        Fitted; its device has a matrix or forms, or its form is exact.
    readout : LinearReadout
        With float64 coefficients (D, q).
    """
    coef = readout.coef * np.broadcast_to(np.square(features.gamma_), len(readout.coef))[:, None]
    if features.form == "exact":
        form = _of_products(features.n_features_in_, coef)
    elif features.form == "raw":
        form = _of_intensities(features, coef / np.sqrt(len(coef)))
    else:
        weights = coef[:-1] / np.sqrt(max(1, len(coef) - 1))
        form = _of_intensities(features, weights)
        form = form.plus_popcount(coef[-1] - weights.sum(axis=0), 0.0)
    return form._replace(bias=form.bias + readout.intercept)


def _of_intensities(features, weights):
    """Return the forms of combinations (D, q) of the device's intensities."""
    device, n_bits = features.opu_, features.n_features_in_
    if hasattr(device, "intensity_form"):
        return device.intensity_form(weights, n_bits)
    R = device.matrix(n_bits, len(weights))
    parts = np.concatenate([R.real, R.imag]).astype(np.float64)  # |r'z|^2 is a sum of two squares
    pairs = np.stack([(parts * w[:, None]).T @ parts for w in np.tile(weights, (2, 1)).T])
    zeros = np.zeros_like(pairs[..., 0])
    return QuadraticForm.from_bits(zeros[:, 0], zeros, pairs)


def _of_products(n_bits, coef):
    """Return the forms of combinations of the features of ``skopu.forms.products.expand``."""
    single, double = coef[:n_bits].T, coef[n_bits:].T
    linear = single + single.sum(axis=1, keepdims=True) / (1 + np.sqrt(1 + n_bits))
    pairs = np.zeros((*linear.shape, n_bits))
    first, second = np.triu_indices(n_bits, 1)
    pairs[:, first, second] = pairs[:, second, first] = double / np.sqrt(2)
    return QuadraticForm.from_bits(np.zeros(len(linear)), linear, pairs)
