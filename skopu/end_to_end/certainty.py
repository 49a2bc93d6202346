"""How sure a joint model is: the readout's variance, and that of its draws."""

import numpy as np

from skopu.end_to_end.averaging import MeanFeatures


def mean_and_std(model, probabilities):
    """Return predictions (n, q) of a chunk of rows and the standard deviations of new targets.

    An average over S draws would be another with other draws: its variance is a share 1/S of that
    of a readout of one. The passes are those of a prediction.

    Parameters
    ----------
    model : EndToEndOPURegressor
    probabilities : ndarray of shape (n, k)
    """
    features, read_out = model.features_, model.ridge_._read_out_with_std
    if model.prediction == "mean":
        return read_out(features.expectation(probabilities))
    thresholds = model._used_thresholds(model.thresholds_)
    draws = [MeanFeatures().of(features, probabilities, own[None]) for own in thresholds]
    mean, std = read_out(sum(draws[1:], np.asarray(draws[0])) / np.float32(len(draws)))
    if len(draws) == 1:
        return mean, std
    readouts = [model.ridge_._read_out(draw) for draw in draws]
    return mean, np.sqrt(std**2 + np.var(readouts, axis=0, ddof=1) / len(draws))
