r"""Mean and variance of quadratic forms with their gradients, written out.

With :math:`c = p - \tfrac12`, :math:`v = p(1 - p)`, slopes :math:`s = a + 2 Q_0 c` and
:math:`P = Q_0 \circ Q_0` (see :mod:`skopu.forms.quadratic`):

.. math::

    \frac{\partial F}{\partial p} &= s, \qquad
    \frac{\partial V}{\partial p} = -2 c \circ (s^2 + 4 P v) + 4 Q_0 (v \circ s) \\
    \frac{\partial F}{\partial a} &= c, \qquad
    \frac{\partial V}{\partial a} = 2 v \circ s \\
    \frac{\partial F}{\partial Q_0} &= c c^\top, \qquad
    \frac{\partial V}{\partial Q_0} = 4 (v \circ s) c^\top + 4 (v v^\top) \circ Q_0

All are products of matrices of many rows and models at a time. Automatic differentiation finds
the same numbers, but makes some thirty new arrays a step: at these sizes (a megabyte or two) the
memory for them has to be got from the system each time, which takes longer than the arithmetic.
Here every array is written into memory that was allocated once.
"""

from typing import Any, NamedTuple

import torch

from skopu.forms.quadratic import QuadraticForm


class PackedForm(NamedTuple):
    """Forms of M models with the outputs of a bit side by side: one product serves all of them.

    Attributes
    ----------
    bias : Tensor of shape (M, 1, q)
    linear : Tensor of shape (M, 1, q k)
    pairs : Tensor of shape (M, k, q k)
        Entry (i, q k + j) is that of bits i and j.
    """

    bias: Any
    linear: Any
    pairs: Any

    @staticmethod
    def size(n_bits, n_outputs):
        """Return how many numbers a model has."""
        return n_outputs * (1 + n_bits + n_bits**2)

    @classmethod
    def of(cls, flat, n_bits, n_outputs):
        """Return a form whose numbers lie in the rows of ``flat``, (M, size)."""
        bias, linear, pairs = flat.split_with_sizes(
            [n_outputs, n_outputs * n_bits, n_outputs * n_bits**2], 1
        )
        return cls(bias[:, None], linear[:, None], pairs.unflatten(1, (n_bits, -1)))

    def unpacked(self):
        """Return the ``QuadraticForm`` of these numbers."""
        n_models, n_bits, _ = self.pairs.shape
        pairs = self.pairs.unflatten(2, (-1, n_bits)).permute(0, 2, 1, 3)
        linear = self.linear.reshape(n_models, -1, n_bits)
        return QuadraticForm(self.bias[:, 0], linear, pairs)


class Moments:
    """Moments of forms and their gradients, for so many models, rows, bits and outputs.

    Use: write logits (M, B, k) into ``logits``, call ``mean``, then ``variance`` if it is wanted,
    then ``backward``. What they return lies in memory that the next round writes over.

    Parameters
    ----------
    n_models, n_rows, n_bits, n_outputs : int
        M, B, k and q.
    like : Tensor
        Of the dtype and on the device that are wanted.
    """

    def __init__(self, n_models, n_rows, n_bits, n_outputs, like):
        def empty(*shape):
            return torch.empty(shape, dtype=like.dtype, device=like.device)

        self._axes = n_outputs, n_bits
        wide = n_models, n_rows, n_outputs * n_bits
        self.logits = self._c = empty(n_models, n_rows, n_bits)
        self._v, self._weighted, self._slope = (torch.empty_like(self._c) for _ in range(3))
        self._slopes, self._crossed, self._scaled, self._work = (empty(*wide) for _ in range(4))
        self._squares = empty(n_models, n_bits, wide[2])
        self._outer = empty(n_models, n_bits, n_bits)
        self._off_diagonal = 1 - torch.eye(n_bits).to(like)[:, None]
        self._quarter = torch.tensor(0.25).to(like)

    def mean(self, form):
        """Return the means (M, B, q) for the logits at hand."""
        c, slopes, work = self._c, self._slopes, self._work
        torch.sigmoid_(c).sub_(0.5)
        torch.addcmul(self._quarter, c, c, value=-1, out=self._v)
        torch.baddbmm(form.linear, c, form.pairs, alpha=2, out=slopes)
        # The sum of a'c + c'Qc is that of c times the mean of a and s.
        self._each(torch.add(slopes, form.linear, out=work)).mul_(c[:, :, None])
        return self._each(work).sum(-1).mul_(0.5).add_(form.bias)

    def variance(self, form):
        """Return the variances (M, B), summed over outputs; after ``mean``."""
        torch.mul(form.pairs, form.pairs, out=self._squares)
        torch.baddbmm(self._crossed, self._v, self._squares, beta=0, alpha=2, out=self._crossed)
        torch.addcmul(self._crossed, self._slopes, self._slopes, out=self._work)
        self._each(self._work).mul_(self._v[:, :, None])
        return self._work.sum(-1)

    def backward(self, form, mean_slopes, variance_slopes, out):
        """Write the gradient for the form into ``out`` and return that for the logits.

        Parameters
        ----------
        form : PackedForm
            As in ``mean``.
        mean_slopes : Tensor of shape (M, B, q)
            Derivative of what is minimised with the means.
        variance_slopes : Tensor of shape (M, B, 1) or None
            The same with the variances, of which ``variance`` was called; None: they do not enter.
        out : PackedForm
            Both halves of ``pairs`` get the gradient for the pair of bits.

        Returns
        -------
        slopes : Tensor of shape (M, B, k)
        """
        c, work = self._c, self._work
        torch.sum(mean_slopes, 1, keepdim=True, out=out.bias)
        torch.mul(c[:, :, None], mean_slopes[..., None], out=self._each(work))
        if variance_slopes is not None:
            torch.mul(self._v, variance_slopes, out=self._weighted)
            torch.mul(
                self._weighted[:, :, None], self._each(self._slopes), out=self._each(self._scaled)
            )
            work.add_(self._scaled, alpha=2)
        torch.sum(work, 1, keepdim=True, out=out.linear)
        if variance_slopes is not None:
            work.add_(self._scaled, alpha=2)
        torch.bmm(c.mT, work, out=out.pairs)
        if variance_slopes is not None:
            torch.bmm(self._weighted.mT, self._v, out=self._outer)
            pairs = self._each(form.pairs)
            self._each(out.pairs).addcmul_(pairs, self._outer[:, :, None], value=4)
        self._symmetrise(out.pairs)
        self._backward_codes(form, mean_slopes, variance_slopes)
        return self._slope.mul_(self._v)

    def _symmetrise(self, pairs):
        """Add the other half and drop the diagonal: a pair of bits is one parameter."""
        both = self._each(self._squares)
        torch.add(self._each(pairs), self._each(pairs).transpose(1, 3), out=both)
        torch.mul(both, self._off_diagonal, out=self._each(pairs))

    def _backward_codes(self, form, mean_slopes, variance_slopes):
        """Write the derivative with the bit probabilities into ``_slope``."""
        each, slope = self._each(self._slopes), self._slope
        torch.mul(each, mean_slopes[..., None], out=self._each(self._work))
        torch.sum(self._each(self._work), 2, out=slope)
        if variance_slopes is None:
            return
        slope.baddbmm_(self._scaled, form.pairs.mT, alpha=4)
        self._crossed.mul_(2).addcmul_(self._slopes, self._slopes)
        torch.sum(self._each(self._crossed), 2, out=self._weighted)
        self._weighted.mul_(variance_slopes).mul_(self._c)
        slope.add_(self._weighted, alpha=-2)

    def _each(self, wide):
        """View (M, n, q k) as (M, n, q, k)."""
        return wide.unflatten(2, self._axes)
