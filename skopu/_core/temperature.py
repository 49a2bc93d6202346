"""Probabilities from the scores of a least-squares classifier."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax


def fit_temperature(scores, codes, weights):
    """Return the factor of scores that minimises the log loss of class numbers.

    Parameters
    ----------
    scores : ndarray of shape (n, q)
        Of rows that the model has not seen; q is 1 for two classes.
    codes : ndarray of shape (n,)
        Class numbers.
    weights : ndarray of shape (n,)

    Returns
    -------
    temperature : float
    """
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])

    def log_loss(log_factor):
        log_proba = log_softmax(np.exp(log_factor) * scores, axis=1)
        return -np.average(log_proba[np.arange(len(codes)), codes], weights=weights)

    return float(np.exp(minimize_scalar(log_loss, bounds=(-5, 5), method="bounded").x))


def probabilities_of_scores(scores):
    """Return probabilities (n, n_classes): the sigmoid of one score a row, or the softmax."""
    if scores.ndim == 1:
        return np.column_stack([expit(-scores), expit(scores)])
    return softmax(scores, axis=1)
