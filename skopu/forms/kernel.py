"""The kernel whose functions are the means of OPU readouts."""

import numpy as np


def form_kernel(P, Q):
    r"""Kernel of all quadratic forms of expected codes, for bit probabilities.

    .. math::

        k(p, q) = c^\top e + (c^\top e)^2 - (c \circ c)^\top (e \circ e),
        \quad c = p - \tfrac12,\ e = q - \tfrac12

    Kernel ridge with it has the means of OPU readouts as its functions, whatever the matrix
    (see :mod:`skopu.forms.quadratic`): :math:`\sum_i \beta_i k(p, p_i) = a^\top c + c^\top Q_0 c`
    with :math:`a = \sum_i \beta_i c_i` and :math:`Q_0 = \sum_i \beta_i c_i c_i^\top` without its
    diagonal.

    Parameters
    ----------
    P : ndarray of shape (n, k)
    Q : ndarray of shape (m, k)

    Returns
    -------
    K : ndarray of shape (n, m)
    """
    C, E = P - 0.5, Q - 0.5
    K = C @ E.T
    K += np.square(K) - np.square(C) @ np.square(E).T
    return K
