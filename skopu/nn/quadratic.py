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
draws.
"""

import torch
from torch import nn


class QuadraticReadout(nn.Module):
    """M quadratic readouts of k bits with q outputs, as one batched tensor.

    Parameters
    ----------
    n_models, n_bits, n_outputs : int
        M, k and q.
    """

    def __init__(self, n_models, n_bits, n_outputs):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_models, 1, n_outputs))
        self.linear = nn.Parameter(torch.zeros(n_models, n_outputs, n_bits))
        # The part above the diagonal counts; the rest follows from symmetry.
        self.pairs = nn.Parameter(torch.zeros(n_models, n_outputs, n_bits, n_bits))

    def matrices(self):
        """Return the symmetric matrices with zero diagonal, shape (M, q, k, k)."""
        upper = self.pairs.triu(1)
        return upper + upper.mT

    def forward(self, probabilities):
        """Return mean and variance, each (M, n, q), for bit probabilities (M, n, k)."""
        Q = self.matrices()
        c = probabilities - 0.5
        v = probabilities * (1 - probabilities)
        Qc = c[:, None] @ Q  # (M, q, n, k)
        mean = self.bias + c @ self.linear.mT + (Qc * c[:, None]).sum(-1).mT
        slopes = self.linear[:, :, None] + 2 * Qc
        crossed = (v[:, None] @ Q.square() * v[:, None]).sum(-1)
        variance = (v[:, None] * slopes.square()).sum(-1) + 2 * crossed
        return mean, variance.mT

    def squared_norms(self):
        """Return the squared norm of the weights of each model, shape (M,)."""
        return self.linear.square().sum((1, 2)) + self.matrices().square().sum((1, 2, 3))
