"""The choice of what to average."""

import numpy as np

N_PICKS = 25


def greedy_average(predictions, Y, weights, n_picks):
    """Choose what to average: one candidate at a time, with replacement.

    Every pick is the candidate with which the average so far has the least squared error
    (Caruana et al., "Ensemble selection from libraries of models", ICML 2004). Picking
    several times gives weight; a candidate never picked costs nothing.

    Parameters
    ----------
    predictions : ndarray of shape (c, n, q)
        Of rows that a candidate has not seen.
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    n_picks : int

    Returns
    -------
    shares : ndarray of shape (c,)
        Share of each candidate in the average; they add up to 1.
    error : float
        Weighted mean squared error of the average, over rows and outputs.
    """
    scale = np.sqrt(weights / (weights.sum() * Y.shape[1]))[:, None]
    residuals = ((predictions - Y) * scale).reshape(len(predictions), -1)
    gram = residuals @ residuals.T
    counts, crossed, total = np.zeros(len(gram)), np.zeros(len(gram)), 0.0
    for picks in range(1, n_picks + 1):
        errors = (total + 2 * crossed + np.diag(gram)) / picks**2
        best = int(np.argmin(errors))
        total = errors[best] * picks**2
        crossed += gram[best]
        counts[best] += 1
    return counts / n_picks, float(max(total, 0.0) / n_picks**2)
