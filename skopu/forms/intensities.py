"""Intensities as quadratic forms of the bits: of a known matrix, or fitted to past answers."""

from copy import copy

import torch

from skopu.forms.quadratic import QuadraticForm

_MAX_ANSWERS = 2048
_GROWTH = 4  # passes made between two fits grow by this factor: codes change ever more slowly


class KnownIntensities:
    """Forms of the intensities of a device whose matrix is known.

    Parameters
    ----------
    matrix : ndarray of shape (D, k), complex
    like : Tensor
        Of the dtype and on the device that are wanted.
    """

    def __init__(self, matrix, like):
        R = torch.from_numpy(matrix)
        # Of the real above the imaginary parts, |r'z|^2 is a sum of two squares.
        self._parts = torch.cat([R.real, R.imag]).to(like)

    def combine(self, codes, weights):
        """Return combinations (m, q) of the intensities of codes (m, k), weights (D, q).

        Differentiable in the weights; the intensities themselves are never made.
        """
        columns = [_Collapsed.apply(w, self._parts, codes) for w in weights.repeat(2, 1).unbind(1)]
        return torch.stack(columns, 1)

    def forms(self, weights):
        """Return the forms of combinations of intensities with weights (D, q)."""
        columns = weights.repeat(2, 1).unbind(1)
        pairs = torch.stack([_weighted_gram(self._parts, w) for w in columns])
        zeros = torch.zeros_like(pairs[..., 0])
        return QuadraticForm.from_bits(zeros[:, 0], zeros, pairs)


def _weighted_gram(matrix, weights):
    """Return A' diag(w) A, shape (k, k)."""
    return (matrix * weights[:, None]).T @ matrix


class _Collapsed(torch.autograd.Function):
    """The form z' A' diag(w) A z of codes z, with the gradient for w only.

    Both ways pass through a k by k matrix: A' diag(w) A, and the weighted sum of zz'. Left to
    itself, autograd would also keep and traverse every step in between.
    """

    @staticmethod
    def forward(ctx, weights, matrix, codes):
        ctx.save_for_backward(matrix, codes)
        return torch.linalg.vecdot(codes @ _weighted_gram(matrix, weights), codes)

    @staticmethod
    def backward(ctx, slope):
        matrix, codes = ctx.saved_tensors
        return torch.linalg.vecdot(matrix @ _weighted_gram(codes, slope), matrix), None, None


# What FittedIntensities has learned.
_KEPT = ("_codes", "_intensities", "_next_collection", "_fitted_codes", "_weights")


class FittedIntensities:
    r"""Forms of a device's intensities, by kernel ridge regression on its answers.

    An intensity :math:`|r^\top z|^2` is a quadratic form of the bits, of which nothing is known
    but :math:`r \sim CN(0, I)`. So it is a random function of codes whose mean is
    :math:`\|z\|^2` and whose covariance is :math:`(z^\top z')^2`: the squares :math:`|r_i|^2` have
    variance 1, the products :math:`2 \mathrm{Re}(\bar r_i r_j)` have mean 0 and variance 2, and
    none is correlated with another. A camera has a gain and a dark level, so the kernel

    .. math:: (z^\top z')^2 + \|z\|^2 \|z'\|^2 + k^2

    lets the mean's scale and level be free, too. One factorisation for M answers serves all D
    intensities, and the form of any linear combination of them follows from M numbers. Once
    there are more than k(k + 1)/2 varied codes, a device without noise is known exactly;
    before, its answers to codes like those seen are.

    Answers are taken from the passes that training makes anyway: M in a row, then a fit; when
    the passes are four times as many, M/2 new ones take the place of half of the old.

    Parameters
    ----------
    n_bits : int
        k.
    penalty : float
        Share of an intensity's variance over codes that is noise.
    """

    def __init__(self, n_bits, penalty):
        self.penalty = penalty
        self._n_answers = min(_MAX_ANSWERS, n_bits * (n_bits + 1))
        self._codes, self._intensities = [], []
        self._next_collection = 0
        self._fitted_codes = self._weights = None

    def wants_answers(self, n_passes):
        """Whether answers are to be collected once ``n_passes`` have been made."""
        return n_passes >= self._next_collection

    def with_answers(self, codes, intensities, n_passes):
        """Return what these forms become with further answers; they stay as they are themselves.

        The first answers are fitted at once, and again whenever their number has doubled, so that
        there is a model from the first step on.

        Parameters
        ----------
        codes : Tensor of shape (m, k)
        intensities : Tensor of shape (m, D)
        n_passes : int
            How many had been made before.

        Returns
        -------
        forms : FittedIntensities
        """
        forms = copy(self)
        forms._add(codes, intensities, n_passes)
        return forms

    def _add(self, codes, intensities, n_passes):
        # New lists, since the old ones may be those of other forms.
        self._codes = [*self._codes, codes]
        self._intensities = [*self._intensities, intensities]
        n_held = sum(map(len, self._codes))
        n_fitted = 0 if self._fitted_codes is None else len(self._fitted_codes)
        if n_held >= self._n_answers:
            self._fit()
            # Half of the answers stay: early codes are more varied than those of a sharp encoder.
            self._codes = [torch.cat(self._codes)[: self._n_answers : 2]]
            self._intensities = [torch.cat(self._intensities)[: self._n_answers : 2]]
            self._next_collection = _GROWTH * n_passes
        elif n_held >= 2 * n_fitted and n_fitted < self._n_answers:
            self._fit()

    def state(self):
        """Return numbers, lists and tensors that ``load`` takes."""
        return {name: getattr(self, name) for name in _KEPT}

    def load(self, state):
        """Go on from what ``state`` returned."""
        vars(self).update(state)

    def forms(self, weights):
        """Return the forms of combinations of intensities with weights (D, q)."""
        shares, z = self._weights @ weights, self._fitted_codes
        slope = shares.T @ z.sum(1)
        linear = slope[:, None].expand(-1, z.shape[1])
        pairs = (shares.T[:, None] * z.T) @ z
        return QuadraticForm.from_bits(z.shape[1] ** 2 * shares.sum(0), linear, pairs)

    def _fit(self):
        """Solve for the weights (M, D) of the answers held."""
        codes = torch.cat(self._codes)[: self._n_answers]
        intensities = torch.cat(self._intensities)[: self._n_answers]
        z = codes.double()
        n_bits, popcounts = z.shape[1], z.sum(1)
        kernel = (z @ z.T).square() + torch.outer(popcounts, popcounts) + n_bits**2
        # The variance of an intensity over codes: k(k + 1)/8 of single bits about one half, and
        # k(k - 1)/16 of their products.
        noise = self.penalty * (3 * n_bits + 1) * n_bits / 16
        kernel.diagonal().add_(noise)
        weights = torch.cholesky_solve(intensities.double(), torch.linalg.cholesky(kernel))
        self._fitted_codes, self._weights = codes.to(intensities), weights.to(intensities)
