"""Intensities of a device as quadratic forms of the bits, found by calibration."""

import numpy as np
from sklearn.utils import gen_batches

from skopu.forms.quadratic import QuadraticForm

_CHUNK_VALUES = 2**22  # of a temporary array
_MAX_ITER = 500
_TOLERANCE = 1e-7


class IntensityForms:
    r"""Quadratic forms of k bits, one for each of D components, and what follows from them.

    With signs :math:`t_i = 1 - 2 z_i`,
    :math:`I(z) = b + \sum_i a_i t_i + \sum_{i<j} q_{ij} t_i t_j`. It is linear in each bit, so
    the mean over independent bits is I at their probabilities. Not to be changed once made:
    copies are the object itself.

    Parameters
    ----------
    coefficients : ndarray of shape (1 + k(k+1)/2, D), dtype float32
        b, then a, then q, row by row above the diagonal.
    n_bits : int
        k.
    unexplained : float
        Share of the intensities' variance over random codes that the coefficients' errors
        make; NaN if the calibration could not tell.
    """

    def __init__(self, coefficients, n_bits, unexplained=np.nan):
        self.coefficients = coefficients
        self.n_bits = n_bits
        self.unexplained = unexplained

    def __repr__(self):
        return f"<IntensityForms of {self.n_bits} bits and {self.n_components} components>"

    def __deepcopy__(self, memo):
        return self

    @property
    def n_components(self):
        """D."""
        return self.coefficients.shape[1]

    def mean(self, probabilities, n_components):
        """Return mean intensities of codes with independent bits.

        Parameters
        ----------
        probabilities : ndarray of shape (n_samples, n_bits)
            Each bit's probability of being 1; zeros and ones are codes. Bits that are left out
            at the end are 0.
        n_components : int
            How many components, from the first.

        Returns
        -------
        intensities : ndarray of shape (n_samples, n_components), dtype float32
        """
        # In float64: the last digits of a product depend on how many rows there are, and a row's
        # intensities must not, once they are rounded.
        p = np.asarray(probabilities, dtype=np.float64)
        signs = np.ones((len(p), self.n_bits))
        signs[:, : p.shape[1]] -= 2 * p
        first, second = np.triu_indices(self.n_bits, 1)
        weights = self.coefficients[:, :n_components].astype(np.float64)
        intensities = np.empty((len(p), n_components), dtype=np.float32)
        for rows in gen_batches(len(p), max(1, _CHUNK_VALUES // len(weights))):
            t = signs[rows]
            terms = np.hstack([np.ones_like(t[:, :1]), t, t[:, first] * t[:, second]])
            intensities[rows] = terms @ weights
        return intensities

    def combine(self, weights):
        """Return the ``QuadraticForm`` of combinations of intensities, float64.

        Parameters
        ----------
        weights : ndarray of shape (m, q)
            Of the first m components.
        """
        coefficients = weights.T @ self.coefficients[:, : len(weights)].T.astype(np.float64)
        bias, linear, products = np.split(coefficients, [1, 1 + self.n_bits], axis=1)
        pairs = np.zeros((*linear.shape, self.n_bits))
        first, second = np.triu_indices(self.n_bits, 1)
        pairs[:, first, second] = pairs[:, second, first] = products
        # A sign is -2 times the bit less one half, and each pair is there twice.
        return QuadraticForm(bias[:, 0], -2 * linear, 2 * pairs)

    def matrix(self):
        r"""Return R, for which the forms are nearest to :math:`|Rz|^2`.

        With the field in signs, :math:`r^\top z = \rho_0 + \sum_i \rho_i t_i` where
        :math:`\rho_i = -r_i / 2` and all :math:`\rho` add up to zero,

        .. math::

            a_i = 2\, \mathrm{Re}(\bar\rho_0 \rho_i), \qquad
            q_{ij} = 2\, \mathrm{Re}(\bar\rho_i \rho_j),

        so a and q are what is off the diagonal of a symmetric matrix of rank 2, all with the
        same error. The rank-2 matrix nearest to them has 2k unknowns instead of
        :math:`k^2/2`; so R is less noisy than the forms by up to k/4 in variance, where the
        device is true to it. Intensities do not tell a row's phase, nor a row from its
        conjugate: here the first entry is real and positive and the second has a positive
        imaginary part.

        Returns
        -------
        R : ndarray of shape (n_components, n_bits), dtype complex64
        """
        if not hasattr(self, "_matrix"):
            size = max(1, _CHUNK_VALUES // self.n_bits**2)
            chunks = gen_batches(self.n_components, size)
            self._matrix = np.vstack([self._factor(chunk) for chunk in chunks])
            self._matrix.flags.writeable = False
        return self._matrix

    def _factor(self, components):
        """Rows of R for some components."""
        coefficients = self.coefficients[1:, components].T.astype(np.float64)
        first, second = np.triu_indices(self.n_bits + 1, 1)  # a are pairs with the constant
        forms = np.zeros((len(coefficients), self.n_bits + 1, self.n_bits + 1))
        forms[:, first, second] = forms[:, second, first] = coefficients / 2
        return _turn(-2 * _rank_two(forms)[:, 1:]).astype(np.complex64)


def _rank_two(forms):
    """Complex rows rho (m, k), each of sum zero, with Re(conj(rho) rho') nearest to forms.

    Orthogonal iteration for the leading two eigenvectors of forms (m, k, k) whose diagonal is
    not given. The sums of the rows are zero, which tells the diagonal, with an error k times
    that of the rest in variance: it has that weight, and the rest is had from the rank.
    """
    told = -forms.sum(axis=2)
    share = 1 / forms.shape[1]
    basis = np.random.default_rng(0).standard_normal((*told.shape, 2))
    filled = told
    for _ in range(_MAX_ITER):
        basis = np.linalg.qr(basis - basis.mean(axis=1, keepdims=True))[0]
        image = forms @ basis + filled[:, :, None] * basis
        inner = basis.mT @ image
        previous, low_rank = filled, np.sum(basis @ inner * basis, axis=2)
        filled = share * told + (1 - share) * low_rank
        if np.abs(filled - previous).max() <= _TOLERANCE * np.abs(filled).max():
            break
        basis = image
    return _roots(basis, inner)


def _roots(basis, inner):
    """Complex rows rho with Re(conj(rho) rho') = basis inner basis'."""
    values, vectors = np.linalg.eigh(inner)
    return basis @ vectors * np.sqrt(np.maximum(values, 0))[:, None] @ np.array([1, 1j])


def _turn(rows):
    """Give rows the phase that the docstring of ``matrix`` states."""
    rows = rows * np.exp(-1j * np.angle(rows[:, :1]))
    rows[:, 0] = rows[:, 0].real
    flipped = rows[:, 1:2].imag < 0
    return np.where(flipped.any(axis=1, keepdims=True), rows.conj(), rows)
