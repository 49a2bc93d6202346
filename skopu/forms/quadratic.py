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

Nothing here imports an array library: numpy arrays and torch tensors have the operations in use
under the same names, so that a prediction does not load torch and training can differentiate.
"""

from typing import Any, NamedTuple


class QuadraticForm(NamedTuple):
    """A form of k bits with q outputs; leading axes, if any, are those of models.

    Attributes
    ----------
    bias : array of shape (..., q)
    linear : array of shape (..., q, k)
    pairs : array of shape (..., q, k, k)
        Symmetric, with zero diagonal.
    """

    bias: Any
    linear: Any
    pairs: Any

    @classmethod
    def from_bits(cls, bias, linear, pairs):
        """Return the form b + l'z + z'Qz of bits, rewritten about one half.

        The diagonal of ``pairs`` is taken for the linear term that it is.
        """
        linear = linear + _diagonal(pairs)
        pairs = _without_diagonal(pairs)
        row_sums = pairs.sum(-1)
        bias = bias + linear.sum(-1) / 2 + row_sums.sum(-1) / 4
        return cls(bias, linear + row_sums, pairs)

    @classmethod
    def from_centred(cls, shares, c, bias):
        """Return the form whose values are ``shares`` of the kernel with the rows of c.

        The kernel is that of :func:`skopu.forms.kernel.form_kernel`, so that kernel ridge
        collapses into one form, whatever the number of its rows.

        Parameters
        ----------
        shares : array of shape (n, q)
            Dual coefficients.
        c : array of shape (n, k)
            Bit probabilities less one half.
        bias : array of shape (q,)
        """
        pairs = (shares.T[:, None] * c.T) @ c
        # Large coefficients that cancel leave the two halves equal up to rounding only.
        pairs = (pairs + pairs.mT) / 2
        return cls(bias, shares.T @ c, _without_diagonal(pairs))

    def plus_popcount(self, slope, bias):
        """Return the form plus slope times the number of ones plus bias, both (q,)."""
        bias = self.bias + bias + slope * (self.linear.shape[-1] / 2)
        return self._replace(bias=bias, linear=self.linear + slope[..., None])

    def with_last_zero(self, n_bits):
        """Return the form of the first bits, where the others are 0."""
        linear, pairs = self.linear[..., :n_bits], self.pairs[..., :n_bits, :n_bits]
        # About one half, a bit of 0 is -1/2.
        rest, crossed = self.linear[..., n_bits:], self.pairs[..., :n_bits, n_bits:]
        bias = self.bias - rest.sum(-1) / 2
        bias = bias + self.pairs[..., n_bits:, n_bits:].sum((-2, -1)) / 4
        return QuadraticForm(bias, linear - crossed.sum(-1), pairs)

    def scaled(self, factor):
        """Return the form times a number."""
        return QuadraticForm(*(factor * part for part in self))

    def plus(self, other):
        """Return the sum of two forms of the same bits."""
        return QuadraticForm(*(mine + theirs for mine, theirs in zip(self, other)))

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
        crossed = (v[..., None, :, :] @ self.pairs**2 * v[..., None, :, :]).sum(-1)
        variance = (v[..., None, :, :] * slopes**2).sum(-1) + 2 * crossed
        return self._mean(c, halves), variance.mT

    def variance_of_mixture(self, p, weights):
        """Variance, shape (n,), of sum_q weights_q F_q, with weights (n, q) of each row."""
        n_outputs, n_bits = self.linear.shape
        pairs = (weights @ self.pairs.reshape(n_outputs, -1)).reshape(-1, 1, n_bits, n_bits)
        linear = (weights @ self.linear)[:, None]
        # One form with one output for each row.
        mixture = QuadraticForm(linear[..., 0], linear, pairs)
        return mixture.moments(p[:, None])[1][:, 0, 0]

    def _halves(self, c):
        """Return Q0 c, half the slope of the quadratic term, shape (..., q, n, k)."""
        return c[..., None, :, :] @ self.pairs

    def _mean(self, c, halves):
        weighted = (self.linear[..., None, :] + halves) * c[..., None, :, :]
        return self.bias[..., None, :] + weighted.sum(-1).mT


def _diagonal(pairs):
    # numpy and torch name the axes of a diagonal differently; an index is the same in both.
    bits = list(range(pairs.shape[-1]))
    return pairs[..., bits, bits]


def _without_diagonal(pairs):
    pairs = pairs + 0  # a copy in either library
    bits = list(range(pairs.shape[-1]))
    pairs[..., bits, bits] = 0
    return pairs
