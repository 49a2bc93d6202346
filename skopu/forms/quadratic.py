r"""Quadratic forms of random codes: what every linear readout of OPU features is.

A readout :math:`w^\top \phi(z)` is :math:`z^\top Q z` with
:math:`Q = \mathrm{Re} \sum_j w_j \bar r_j r_j^\top / \sqrt{D}`, since :math:`\phi_j(z) =
|r_j^\top z|^2 / \sqrt{D}`. Bits are 0 or 1, so the diagonal of Q is a linear term. About the
centre :math:`\tfrac12`, with :math:`c = p - \tfrac12` and :math:`v = p(1 - p)` for bit
probabilities p, and :math:`Q_0` symmetric with zero diagonal,

.. math::

    F(z) &= b + a^\top (z - \tfrac12) + (z - \tfrac12)^\top Q_0 (z - \tfrac12) \\
    E[F] &= b + a^\top c + c^\top Q_0 c \\
    \mathrm{Var}[F] &= \sum_i v_i (a_i + 2 (Q_0 c)_i)^2 + 2 v^\top (Q_0 \circ Q_0) v

so losses of the mean, and squared error in full, can be trained without a device and without
draws. F is linear in each bit, and its mean is F at the probabilities.
"""

from typing import NamedTuple

import torch
from torch import nn


class QuadraticForms(NamedTuple):
    """Forms of k bits with q outputs; a leading axis M, if any, is one of models.

    Attributes
    ----------
    bias : Tensor of shape ([M,] q)
    linear : Tensor of shape ([M,] q, k)
    pairs : Tensor of shape ([M,] q, k, k)
        Symmetric, with zero diagonal.
    """

    bias: torch.Tensor
    linear: torch.Tensor
    pairs: torch.Tensor

    @classmethod
    def from_bits(cls, bias, linear, pairs):
        """Return the forms b + l'z + z'Qz of bits, rewritten about one half.

        The diagonal of ``pairs`` is taken for the linear term that it is.
        """
        diagonal = pairs.diagonal(dim1=-2, dim2=-1)
        linear, pairs = linear + diagonal, pairs - torch.diag_embed(diagonal)
        row_sums = pairs.sum(-1)
        bias = bias + linear.sum(-1) / 2 + row_sums.sum(-1) / 4
        return cls(bias, linear + row_sums, pairs)

    def plus_popcount(self, slope, bias):
        """Return the forms plus slope times the number of ones plus bias, both (q,)."""
        bias = self.bias + bias + slope * (self.linear.shape[-1] / 2)
        return self._replace(bias=bias, linear=self.linear + slope[..., None])

    def mean(self, p):
        """Return F at p of shape (..., n, k), binary or not: values (..., n, q)."""
        c = p - 0.5
        return self._mean(c, self._halves(c))

    def slopes(self, p):
        """Return dF/dp, shape (..., q, n, k): what each bit changes, the others being p."""
        return self.linear[..., None, :] + 2 * self._halves(p - 0.5)

    def moments(self, p):
        """Return mean and variance over codes of probabilities p, each (..., n, q)."""
        c, v = p - 0.5, p * (1 - p)
        halves = self._halves(c)
        slopes = self.linear[..., None, :] + 2 * halves
        # Of 2 v'(Q o Q)v: squares are taken of the forms, not of anything with rows.
        crossed = (v[..., None, :, :] @ self.pairs.square() * v[..., None, :, :]).sum(-1)
        variance = (v[..., None, :, :] * slopes.square()).sum(-1) + 2 * crossed
        return self._mean(c, halves), variance.mT

    def variance_of_mixture(self, p, weights):
        """Variance, shape (n,), of sum_q weights_q F_q, with weights (n, q) of each row."""
        c, v = p - 0.5, p * (1 - p)
        linear = weights @ self.linear
        pairs = torch.einsum("nq,qij->nij", weights, self.pairs)
        slopes = linear + 2 * (pairs @ c[..., None])[..., 0]
        crossed = (v[:, None] @ pairs.square() @ v[..., None])[:, 0, 0]
        return (v * slopes.square()).sum(-1) + 2 * crossed

    def _halves(self, c):
        """Return Q0 c, half the slope of the quadratic term, shape (..., q, n, k)."""
        return c[..., None, :, :] @ self.pairs

    def _mean(self, c, halves):
        weighted = (self.linear[..., None, :] + halves) * c[..., None, :, :]
        return self.bias[..., None, :] + weighted.sum(-1).mT


class QuadraticReadout(nn.Module):
    """M free quadratic readouts of k bits with q outputs, as one batched tensor.

    Parameters
    ----------
    n_models, n_bits, n_outputs : int
        M, k and q.
    """

    def __init__(self, n_models, n_bits, n_outputs):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_models, n_outputs))
        self.linear = nn.Parameter(torch.zeros(n_models, n_outputs, n_bits))
        # The part above the diagonal counts; the rest follows from symmetry.
        self.upper = nn.Parameter(torch.zeros(n_models, n_outputs, n_bits, n_bits))

    def forms(self):
        """Return the forms, with their graph."""
        upper = self.upper.triu(1)
        return QuadraticForms(self.bias, self.linear, upper + upper.mT)

    def squared_norms(self):
        """Return the squared norm of the weights of each model, shape (M,)."""
        forms = self.forms()
        return forms.linear.square().sum((1, 2)) + forms.pairs.square().sum((1, 2, 3))
