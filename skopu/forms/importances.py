r"""How much a prediction depends on each input: mean squared gradients, in closed form.

The mean of a readout over codes of probabilities :math:`p = \sigma(Wx + b)` is smooth in x, with

.. math:: \frac{\partial E[F]}{\partial x} = \sum_i \frac{\partial F}{\partial p_i}
          p_i (1 - p_i) W_i

and :math:`\partial F / \partial p_i` is what bit i changes, the others being as likely as they
are. Gradients are taken for a standard deviation of each column, so that a column which does not
vary has no importance, whatever its weights.
"""

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from skopu._core.chunks import cached_chunks

_MAX_ROWS = 512  # over which gradients are averaged: four per cent of their mean square


def few_rows(n_rows, max_rows=_MAX_ROWS):
    """Return the numbers of at most so many rows, at equal steps."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, max_rows)).astype(int))


def deviations(X, weights):
    """Return the weighted standard deviation of each column of a dense or sparse X, (d,)."""
    if issparse(X):
        X = X.astype(np.float64)
        return np.sqrt(mean_variance_axis(X.tocsr(), axis=0, weights=weights)[1])
    mean = np.average(X, axis=0, weights=weights)
    return np.sqrt(np.average(np.square(X - mean), axis=0, weights=weights))


def encoder_gradients(form, p, W):
    """Return the gradients (q, n, d) of E[F] by the inputs of an encoder.

    Parameters
    ----------
    form : QuadraticForm
        Of one encoder.
    p : ndarray of shape (n, k)
        Bit probabilities.
    W : ndarray of shape (k, d)
        By which they answer to the inputs.
    """
    return (form.slopes(p) * (p * (1 - p))) @ W


def mean_squares(gradients_of, weights, n_columns):
    """Return the weighted mean over rows, summed over outputs, of squared gradients, (d,).

    Parameters
    ----------
    gradients_of : callable
        From a slice of rows to their gradients (q, m, d).
    weights : ndarray of shape (n,)
    n_columns : int
        d, by which the rows of a slice are counted.
    """
    total = np.zeros(n_columns)
    for rows in cached_chunks(len(weights), n_columns, min_rows=16):
        total += weights[rows] @ np.square(gradients_of(rows)).sum(axis=0)
    return total / weights.sum()
