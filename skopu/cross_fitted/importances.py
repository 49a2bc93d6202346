"""How much each column matters to an ensemble."""

import numpy as np
from scipy.special import expit
from sklearn.utils.extmath import safe_sparse_dot

from skopu.cross_fitted.trees import predict_part
from skopu.forms.importances import deviations, encoder_gradients, few_rows, mean_squares
from skopu.forms.quadratic import QuadraticForm


def importances(copies, model, Y, weights):
    """Return the importances (d,): a step of one standard deviation of each scaler's at once.

    Steps of trees have no gradient. They add the variance of what they predict, which is a
    straight line's mean squared gradient, by the gains of their splits.

    Parameters
    ----------
    copies : list of {ndarray, CSR matrix} of shape (n, d)
        The training rows by each scaler.
    model : CrossFitted
        With its forms.
    Y : ndarray of shape (n, q)
        Targets, for their units.
    weights : ndarray of shape (n,)
    """
    chosen, units = few_rows(len(weights)), deviations(Y, weights)
    units[units == 0] = 1.0
    spreads = [deviations(copy, weights) for copy in copies]
    parts = [copy[chosen] for copy in copies]
    form = QuadraticForm(model.bias_, model.linear_, model.pairs_)
    encoders = list(zip(model.encoder_scaler_, model.encoder_coef_, model.encoder_intercept_))

    def gradients(rows):
        total = 0.0
        for own, (scaler, W, b) in enumerate(encoders):
            p = expit(safe_sparse_dot(parts[scaler][rows], W.T, dense_output=True) + b)
            one = form._replace(linear=form.linear[own], pairs=form.pairs[own])
            total = total + encoder_gradients(one, p, W) * spreads[scaler]
        return total / units[:, None, None]

    found = mean_squares(gradients, weights[chosen], copies[0].shape[1])
    for kind in {part.kind for part in model._trees_}:
        own = [part for part in model._trees_ if part.kind == kind]
        predicted = sum(predict_part(kind, part.bits, part.whole, parts[0]) for part in own)
        variance = np.square(deviations(predicted, weights[chosen]) / units).sum()
        found += variance * np.mean([part.bits.shares(len(found)) for part in own], axis=0)
    return found
