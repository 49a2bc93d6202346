r"""The kernel whose functions are the means of OPU readouts.

.. math::

    k(p, q) = c^\top e + (c^\top e)^2 - (c \circ c)^\top (e \circ e),
    \quad c = p - \tfrac12,\ e = q - \tfrac12

Kernel ridge with it finds forms of bit probabilities (see :mod:`skopu.forms.quadratic`):
:math:`\sum_i \beta_i k(p, p_i) = a^\top c + c^\top Q_0 c` with :math:`a = \sum_i \beta_i c_i` and
:math:`Q_0 = \sum_i \beta_i c_i c_i^\top` without its diagonal.
"""

from skopu._core.chunks import cached_chunks
from skopu._core.places import dtype_name, place_of


def form_kernel(P, Q):
    """Return the kernel (n, m) of bit probabilities (n, k) and (m, k)."""
    return mean_kernel([P - 0.5], [Q - 0.5])


def mean_kernel(left, right, is_lower=False):
    """Return the mean of the kernels of several codes.

    A sum of kernels is a concatenation of features: several codes through one device.

    Parameters
    ----------
    left, right : lists of ndarrays or Tensors of shape (n, k) and (m, k)
        Bit probabilities less one half, of each code.
    is_lower : bool, default=False
        Whether what lies above the diagonal may be left out; for n = m.

    Returns
    -------
    K : ndarray or Tensor of shape (n, m)
        Of the dtype of the codes.
    """
    place, n_left, n_right = place_of(left[0]), len(left[0]), len(right[0])
    xp = place.xp
    K = place.zeros((n_left, n_right), dtype_name(left[0]))
    squares = [xp.square(xp.hstack(codes)) for codes in (left, right)]
    # Twice as many rows as stay in the cache with their products: fewer, longer products. A card
    # makes the whole.
    chunks = cached_chunks(n_left, n_right, min_rows=64)
    for rows in [slice(0, n_left)] if place.is_card else chunks:
        stop = rows.stop if is_lower else n_right
        total = K[rows, :stop]
        xp.matmul(squares[0][rows], squares[1][:stop].T, out=total)
        xp.negative(total, out=total)
        for one, other in zip(left, right):
            product = one[rows] @ other[:stop].T
            total += product
            product *= product
            total += product
        total /= len(left)
    return K
