r"""The kernel whose functions are the means of OPU readouts.

.. math::

    k(p, q) = c^\top e + (c^\top e)^2 - (c \circ c)^\top (e \circ e),
    \quad c = p - \tfrac12,\ e = q - \tfrac12

Kernel ridge with it finds forms of bit probabilities (see :mod:`skopu.forms.quadratic`):
:math:`\sum_i \beta_i k(p, p_i) = a^\top c + c^\top Q_0 c` with :math:`a = \sum_i \beta_i c_i` and
:math:`Q_0 = \sum_i \beta_i c_i c_i^\top` without its diagonal.
"""

import numpy as np

from skopu._core.chunks import cached_chunks


def form_kernel(P, Q):
    """Return the kernel (n, m) of bit probabilities (n, k) and (m, k)."""
    return mean_kernel([P - 0.5], [Q - 0.5])


def mean_kernel(left, right, is_lower=False):
    """Return the mean of the kernels of several codes.

    A sum of kernels is a concatenation of features: several codes through one device.

    Parameters
    ----------
    left, right : lists of ndarrays of shape (n, k) and (m, k)
        Bit probabilities less one half, of each code.
    is_lower : bool, default=False
        Whether what lies above the diagonal may be left out; for n = m.

    Returns
    -------
    K : ndarray of shape (n, m)
        Of the dtype of the codes.
    """
    n_left, n_right = len(left[0]), len(right[0])
    K = np.zeros((n_left, n_right), dtype=left[0].dtype)
    squares = [np.square(np.hstack(codes)) for codes in (left, right)]
    # Twice as many rows as stay in the cache with their products: fewer, longer products.
    for rows in cached_chunks(n_left, n_right, min_rows=64):
        stop = rows.stop if is_lower else n_right
        total = K[rows, :stop]
        np.matmul(squares[0][rows], squares[1][:stop].T, out=total)
        np.negative(total, out=total)
        for one, other in zip(left, right):
            product = one[rows] @ other[:stop].T
            total += product
            product *= product
            total += product
        total /= len(left)
    return K
