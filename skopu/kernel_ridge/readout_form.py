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
    intensity_form, n_bits = features.opu_.intensity_form, features.n_features_in_
    coef = readout.coef * np.broadcast_to(np.square(features.gamma_), len(readout.coef))[:, None]
    if features.form == "exact":
        form = _of_products(n_bits, coef)
    elif features.form == "raw":
        form = intensity_form(coef / np.sqrt(len(coef)), n_bits)
    else:
        weights = coef[:-1] / np.sqrt(max(1, len(coef) - 1))
        form = intensity_form(weights, n_bits)
        form = form.plus_popcount(coef[-1] - weights.sum(axis=0), 0.0)
    return form._replace(bias=form.bias + readout.intercept)


def _of_products(n_bits, coef):
    """Return the forms of combinations of the features of ``skopu.forms.products.expand``."""
    single, double = coef[:n_bits].T, coef[n_bits:].T
    linear = single + single.sum(axis=1, keepdims=True) / (1 + np.sqrt(1 + n_bits))
    pairs = np.zeros((*linear.shape, n_bits))
    first, second = np.triu_indices(n_bits, 1)
    pairs[:, first, second] = pairs[:, second, first] = double / np.sqrt(2)
    return QuadraticForm.from_bits(np.zeros(len(linear)), linear, pairs)
