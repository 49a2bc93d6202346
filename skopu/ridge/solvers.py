"""Solutions of ridge systems: for one alpha, and for many.

One alpha takes a Cholesky factorisation. For many of which the best is judged elsewhere, one
reduction to a tridiagonal matrix serves all and takes a quarter of the time of the
eigendecomposition that leave-one-out errors need (:mod:`skopu.ridge.leave_one_out`).
"""

import warnings

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from skopu._core.places import is_tensor, place_of
from skopu.exceptions import RidgeConditionWarning
from skopu.ridge.algebra import diagonal_of, least_squares, restore_lower, try_cholesky
from skopu.ridge.normal_equations import check_finite

_NOISE = 1e-4  # of predictions, relative to the targets
_JITTERS = 10.0 ** np.arange(-14, -5)  # relative to the mean of the diagonal


def solve(system, alpha):
    """Return the ``LinearReadout`` of a system.

    Parameters
    ----------
    system : FeatureSystem or KernelSystem
        Its matrix is overwritten.
    alpha : float or ndarray of shape (q,)
        One for each target, if they are several. What rounding to 7 bits has added to the
        diagonal acts as a penalty: it is taken off alpha, down to zero.
    """
    matrix, targets = system.matrix, system.targets
    alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), tuple(targets.shape[1:]))
    place = place_of(matrix)
    solution = place.empty(targets.shape, "float64")
    diagonal = diagonal_of(matrix)
    if float(abs(diagonal).sum()) < system.rounding_of_constants:
        # Nothing varies but by rounding, which a small alpha would make coefficients of 1e14 of.
        solution[...] = 0.0
        return system.readout(solution)
    own, distinct = place.copy(diagonal), np.unique(alpha)
    for value in distinct:
        columns = place.put(np.flatnonzero(alpha == value))
        diagonal[...] = own + place.xp.clip(value - system.excess, 0, None)
        solution[:, columns] = solve_positive(matrix, targets[:, columns], len(distinct) == 1)
    return system.readout(solution)


def solve_path(system, alphas):
    """Return the ``LinearReadout`` of a system for each alpha, as a list.

    Parameters
    ----------
    system : FeatureSystem or KernelSystem
        Its matrix is overwritten.
    alphas : sequence of float
    """
    shifted = ShiftedSystem(system.matrix, system.targets)
    return [system.readout(shifted.solve(alpha)) for alpha in alphas]


def solve_positive(A, B, overwrite_A=False):
    """Solve ``A X = B`` for a symmetric A that should be positive definite, by Cholesky.

    Parameters
    ----------
    A : ndarray of shape (m, m)
    B : ndarray of shape (m, q)
    overwrite_A : bool, default=False
        Whether the factor may be made in the place of A.

    Returns
    -------
    X : ndarray of shape (m, q)

    Raises
    ------
    ValueError
        If A holds NaN or infinity.

    Warns
    -----
    RidgeConditionWarning
        If A is numerically singular, with the amount added to the diagonal; if that would leave
        noise, or A is indefinite, that the least-squares solution was taken.
    """
    check_finite(A)
    A = _prepared(A, overwrite_A)
    diagonal = diagonal_of(A)
    own = place_of(A).copy(diagonal)
    size = float(own.mean()) or 1.0
    for jitter in (0.0, *_JITTERS):
        diagonal[...] = own + jitter * size
        X = try_cholesky(A, B)
        if X is None:
            continue
        if _is_noise(X, B, size):
            restore_lower(A)
            diagonal[...] = own
            _warn(
                "singular ridge system: the shortest least-squares solution is taken; a larger "
                "alpha avoids this."
            )
            return least_squares(A, B)
        if jitter:
            _warn(
                f"singular ridge system: solved after adding {jitter * size:.1e} to its "
                "diagonal; a larger alpha avoids this."
            )
        return X
    diagonal[...] = own
    _warn(
        "indefinite ridge system: the least-squares solution is taken; a kernel must have "
        "non-negative eigenvalues, or alpha must outweigh the negative ones."
    )
    return least_squares(A, B)


def _is_noise(X, B, size):
    """Whether a solution is so large that rounding shows in what is made of it.

    Where equal rows have different targets, and alpha is 0, rounding decides how large it is.
    """
    largest = float(abs(X).max()) * size * np.finfo(np.float64).eps
    return largest > _NOISE * float(abs(B).max())


def _prepared(A, may_overwrite):
    """Return A as ``try_cholesky`` takes it, a copy unless it may be overwritten."""
    if is_tensor(A):
        return A if may_overwrite else A.clone()
    # A symmetric matrix is its own transpose: this way LAPACK finds it in its order.
    return np.array(A.T, dtype=np.float64, order="F", copy=None if may_overwrite else True)


def _warn(message):
    warnings.warn(message, RidgeConditionWarning, stacklevel=4)


class ShiftedSystem:
    """Solves (A + shift) X = B for a symmetric A and many shifts, from A = Q T Q'.

    Each solution takes one product with Q and a solution of the tridiagonal T + shift.

    Parameters
    ----------
    A : ndarray of shape (m, m)
        It is overwritten.
    B : ndarray of shape (m, q)
    """

    def __init__(self, A, B):
        A = np.asfortranarray(A.T)  # which is no copy, and the same matrix
        size, _ = lapack.dsytrd_lwork(len(A), lower=1)
        reduced, self._diagonal, self._beside, self._tau, _ = lapack.dsytrd(
            A, lower=1, lwork=int(size), overwrite_a=1
        )
        # The reflectors leave the first row alone and are stored like those of a QR.
        self._reflectors = reduced[1:, :-1]
        self._rotated = self._rotate(B, "T")

    def solve(self, shift):
        """Return X, shape (m, q)."""
        bands = np.zeros((3, len(self._diagonal)))
        bands[0, 1:], bands[2, :-1] = self._beside, self._beside
        bands[1] = self._diagonal + shift
        return self._rotate(linalg.solve_banded((1, 1), bands, self._rotated), "N")

    def _rotate(self, B, transposed):
        """Return Q B, or Q'B."""
        out = np.array(B, dtype=np.float64, order="F")
        if len(out) > 1:
            side = ("L", transposed, self._reflectors, self._tau)
            _, work, _ = lapack.dormqr(*side, out[1:], lwork=-1)
            out[1:], _, _ = lapack.dormqr(*side, out[1:], lwork=int(work[0]))
        return out
