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

from typing import NamedTuple

import torch

from skopu.forms.quadratic import QuadraticForm


class PackedForm:
    """Forms of M models with the outputs of a bit side by side: one product serves all of them.

    Views of memory that is somebody else's, made once: a step has some thirty operations of a
    few microseconds each, and to make a view takes one.

    Parameters
    ----------
    flat : Tensor of shape (M, size)
        All numbers of a model in a row.
    n_bits, n_outputs : int
        k and q.

    Attributes
    ----------
    bias : Tensor of shape (M, 1, q)
    linear : Tensor of shape (M, 1, q k)
    pairs : Tensor of shape (M, k, q k)
        Entry (i, q k + j) is that of bits i and j.
    pairs_each : Tensor of shape (M, k, q, k)
        The same, with the outputs apart.
    diagonal : Tensor of shape (M, q, k)
        Its diagonal, zeros in a form.
    """

    def __init__(self, flat, n_bits, n_outputs):
        sizes = [n_outputs, n_outputs * n_bits, n_outputs * n_bits**2]
        bias, linear, pairs = flat.split_with_sizes(sizes, 1)
        self.bias, self.linear = bias[:, None], linear[:, None]
        self.pairs = pairs.unflatten(1, (n_bits, -1))
        self.pairs_each = self.pairs.unflatten(2, (n_outputs, n_bits))
        self.diagonal = self.pairs_each.diagonal(dim1=1, dim2=3)

    @staticmethod
    def size(n_bits, n_outputs):
        """Return how many numbers a model has."""
        return n_outputs * (1 + n_bits + n_bits**2)

    def unpacked(self):
        """Return the ``QuadraticForm`` of these numbers."""
        linear = self.linear.unflatten(2, self.pairs_each.shape[2:])
        return QuadraticForm(self.bias[:, 0], linear[:, 0], self.pairs_each.transpose(1, 2))


class _Wide(NamedTuple):
    """Memory for all outputs: one product writes it, and each output has its place in it."""

    flat: torch.Tensor  # (M, n, q k)
    each: torch.Tensor  # (M, n, q, k)


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

        def wide(n):
            flat = empty(n_models, n, n_outputs * n_bits)
            return _Wide(flat, flat.unflatten(2, (n_outputs, n_bits)))

        self.logits = self._c = empty(n_models, n_rows, n_bits)
        self._v, self._weighted, self._slope = (torch.empty_like(self._c) for _ in range(3))
        # The same for every output.
        self._c_each, self._v_each, self._weighted_each = (
            part[:, :, None] for part in (self._c, self._v, self._weighted)
        )
        self._slopes, self._crossed, self._scaled, self._work = (wide(n_rows) for _ in range(4))
        self._squares, self._outer = wide(n_bits), empty(n_models, n_bits, n_bits)
        self._outer_each = self._outer[:, :, None]
        self._quarter = torch.tensor(0.25).to(like)

    def mean(self, form):
        """Return the means (M, B, q) for the logits at hand."""
        c, slopes, work = self._c, self._slopes.flat, self._work
        torch.sigmoid_(c).sub_(0.5)
        torch.addcmul(self._quarter, c, c, value=-1, out=self._v)
        torch.baddbmm(form.linear, c, form.pairs, alpha=2, out=slopes)
        # The sum of a'c + c'Qc is that of c times the mean of a and s.
        torch.add(slopes, form.linear, out=work.flat)
        return work.each.mul_(self._c_each).sum(-1).mul_(0.5).add_(form.bias)

    def variance(self, form):
        """Return the variances (M, B), summed over outputs; after ``mean``."""
        squares, crossed, slopes = self._squares.flat, self._crossed.flat, self._slopes.flat
        torch.mul(form.pairs, form.pairs, out=squares)
        torch.baddbmm(crossed, self._v, squares, beta=0, alpha=2, out=crossed)
        torch.addcmul(crossed, slopes, slopes, out=self._work.flat)
        self._work.each.mul_(self._v_each)
        return self._work.flat.sum(-1)

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
        work = self._work
        each_slope = mean_slopes[..., None]
        torch.sum(mean_slopes, 1, keepdim=True, out=out.bias)
        torch.mul(self._c_each, each_slope, out=work.each)
        if variance_slopes is None:
            torch.sum(work.flat, 1, keepdim=True, out=out.linear)
            torch.bmm(self._c.mT, work.flat, out=self._squares.flat)
        else:
            self._backward_variance(form, variance_slopes, out)
        self._symmetrise(out)
        torch.mul(self._slopes.each, each_slope, out=work.each)
        torch.sum(work.each, 2, out=self._slope)
        if variance_slopes is not None:
            self._backward_codes(form, variance_slopes)
        return self._slope.mul_(self._v)

    def _backward_variance(self, form, variance_slopes, out):
        """Write the gradient of both moments for the form, that of the mean being begun.

        That for the pairs goes where their squares were, one half of it in each place.
        """
        work, scaled = self._work.flat, self._scaled
        torch.mul(self._v, variance_slopes, out=self._weighted)
        torch.mul(self._weighted_each, self._slopes.each, out=scaled.each)
        work.add_(scaled.flat, alpha=2)
        torch.sum(work, 1, keepdim=True, out=out.linear)
        work.add_(scaled.flat, alpha=2)
        torch.bmm(self._c.mT, work, out=self._squares.flat)
        torch.bmm(self._weighted.mT, self._v, out=self._outer)
        self._squares.each.addcmul_(form.pairs_each, self._outer_each, value=4)

    def _symmetrise(self, out):
        """Add the two halves and drop the diagonal: a pair of bits is one parameter."""
        halves = self._squares.each
        torch.add(halves, halves.transpose(1, 3), out=out.pairs_each)
        out.diagonal.zero_()

    def _backward_codes(self, form, variance_slopes):
        """Add the derivative of the variance with the bit probabilities to ``_slope``."""
        slope, weighted = self._slope, self._weighted
        slope.baddbmm_(self._scaled.flat, form.pairs.mT, alpha=4)
        self._crossed.flat.mul_(2).addcmul_(self._slopes.flat, self._slopes.flat)
        torch.sum(self._crossed.each, 2, out=weighted)
        weighted.mul_(variance_slopes).mul_(self._c)
        slope.add_(weighted, alpha=-2)
