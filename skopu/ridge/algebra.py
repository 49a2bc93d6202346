"""Factorisations of symmetric matrices, by LAPACK or by torch: what the two call differently."""

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

from skopu._core.places import is_tensor


def diagonal_of(A):
    """Return the diagonal, a view to be written to."""
    return A.diagonal() if is_tensor(A) else np.einsum("ii->i", A)


def add_product(A, left, right):
    """Add ``left @ right.T`` to A in place; all are float64, A is C-ordered."""
    if is_tensor(A):
        A.addmm_(left, right.T)
    else:
        blas.dgemm(1.0, right, left, beta=1.0, c=A.T, trans_b=True, overwrite_c=True)


def eigh(A):
    """Return eigenvalues (m,), an array, and eigenvectors (m, m) where A, overwritten, is."""
    if not is_tensor(A):
        return linalg.eigh(A, overwrite_a=True)
    import torch

    values, vectors = torch.linalg.eigh(A)
    return values.cpu().numpy(), vectors


def try_cholesky(A, B):
    """Return X of ``A X = B``, or None if A is not positive definite.

    Parameters
    ----------
    A : ndarray (Fortran-ordered) or Tensor of shape (m, m), float64
        Overwritten by the factor; left as it was, but for its diagonal, if there is none.
    B : ndarray or Tensor of shape (m, q), float64
    """
    if is_tensor(A):
        import torch

        factor, failed = torch.linalg.cholesky_ex(A)
        return None if failed.item() else torch.cholesky_solve(B, factor)
    # LAPACK writes to the lower triangle and the diagonal only: the upper triangle brings the
    # matrix back for the next rung of the ladder.
    factor, failed = lapack.dpotrf(A, lower=1, clean=0, overwrite_a=1)
    if not failed:
        return linalg.cho_solve((factor, True), B, check_finite=False)
    restore_lower(A)
    return None


def solve_lower(A, B):
    """Return X of ``A X = B``, or None, from the lower triangle of A, which may be overwritten.

    Parameters
    ----------
    A : ndarray (C-ordered) or Tensor of shape (m, m), float32 or float64
    B : ndarray or Tensor of shape (m, q), of the same dtype
    """
    if is_tensor(A):
        return try_cholesky(A, B)
    potrf, potrs = lapack.get_lapack_funcs(("potrf", "potrs"), (A,))
    # LAPACK's order is by columns: to it, the lower triangle is the upper one of the transpose.
    factor, failed = potrf(A.T, lower=0, clean=0, overwrite_a=1)
    return None if failed else potrs(factor, B, lower=0)[0]


def multiply_lower(A, vector):
    """Return the product of a symmetric A, of which the lower triangle is there, with a vector."""
    if is_tensor(A):
        return (A.tril() + A.tril(-1).T) @ vector
    symv = blas.dsymv if A.dtype == np.float64 else blas.ssymv
    return symv(1.0, A.T, vector, lower=0)


def cholesky(A):
    """Return the lower factor of A, float64, or None if A is not positive definite."""
    if is_tensor(A):
        import torch

        factor, failed = torch.linalg.cholesky_ex(A)
        return None if failed.item() else factor
    factor, failed = lapack.dpotrf(A, lower=1)
    return None if failed else factor


def solve_triangular(factor, B, is_transposed=False):
    """Return X of ``L X = B``, or of ``L' X = B``, for a lower factor."""
    if is_tensor(factor):
        import torch

        left = factor.T if is_transposed else factor
        return torch.linalg.solve_triangular(left, B, upper=is_transposed)
    options = {"lower": True, "trans": "T" if is_transposed else "N"}
    return linalg.solve_triangular(factor, B, check_finite=False, **options)


def least_squares(A, B):
    """Return the shortest X (m, q) for which ``A X`` is nearest to B, but for rounding."""
    # LAPACK's own limit leaves singular values in that are sums of m roundings.
    smallest = 10 * len(A) * np.finfo(np.float64).eps
    if not is_tensor(A):
        return linalg.lstsq(A, B, cond=smallest)[0]
    # torch's own solver for cards asks for full rank.
    return A.new_tensor(linalg.lstsq(A.cpu().numpy(), B.cpu().numpy(), cond=smallest)[0])


def restore_lower(A):
    """Copy the upper triangle, which a factorisation leaves alone, to the lower one."""
    if is_tensor(A):
        return  # its factor is elsewhere
    for column in range(len(A)):
        A[column + 1 :, column] = A[column, column + 1 :]
