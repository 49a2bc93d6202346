r"""How sure a ridge readout is: the Bayesian linear model that it is the mean of.

With weights :math:`W \sim N(0, \sigma^2 / \alpha)` and noise of variance :math:`\sigma^2 / w_i`, a
new target is normal about the ridge prediction, with variance

.. math::

    \sigma^2 (1 + h(x)), \qquad h(x) = z^\top (Z^\top Z + \alpha)^{-1} z + \frac{1}{\sum_i w_i}

for centred features z, the last term being that of an intercept. The leave-one-out residuals
:math:`e_i = r_i / (1 - H_{ii})` have variance :math:`\sigma^2 / (w_i (1 - H_{ii}))`, whence

.. math:: \sigma^2 = \frac{\sum_i w_i e_i^2 (1 - H_{ii})}{\sum_i w_i}.
"""

import numpy as np

from skopu._core.places import to_host


class Posterior:
    """What remains of a fit for variances: an eigendecomposition of its system.

    Parameters
    ----------
    scan : LeaveOneOut
        Of the system that was solved.
    alpha : float or ndarray of shape (q,), above 0
    pieces : iterable of (Phi, Y, weights), or None
        The rows, for a system of sums; None: every row is taken to have the mean leverage.

    Attributes
    ----------
    noise : ndarray of shape (q,)
        Variance of the noise of each target, sigma^2.
    """

    def __init__(self, scan, alpha, pieces=None):
        system = scan.system
        n_targets = system.targets.shape[1]
        self._alpha = np.unique(np.atleast_1d(np.asarray(alpha, dtype=np.float64)))
        which = np.searchsorted(self._alpha, alpha)
        self._which = np.broadcast_to(which, n_targets)
        sums = np.array([scan.noise(value, pieces) for value in self._alpha])
        self.noise = sums[self._which, np.arange(n_targets)] / system.weight
        self._shrink = 1 / (scan.values + self._alpha[:, None])
        self._share = 1 / system.weight if system.fit_intercept else 0.0
        self._rotation = system.rotation(to_host(scan.vectors))

    def variances(self, Phi, own=None):
        """Return the variance (n, q) of a new target of each row.

        Parameters
        ----------
        Phi : ndarray or sparse matrix of shape (n, D) or (n, m)
            Features, or kernels with the rows that were fitted.
        own : ndarray of shape (n,) or None
            Kernel of each row with itself, if it is kernels.
        """
        given = (Phi,) if own is None else (Phi, own)
        rotated, norms = self._rotation.rotate(*given)
        leverage = np.square(rotated) @ self._shrink.T
        if norms is not None:
            # The directions that no fitted row has are as the prior says.
            leverage = np.maximum(norms[:, None] - leverage, 0) / self._alpha
        return self.noise * (1 + self._share + leverage[:, self._which])

    def scatter(self, places, n_rows):
        """Take kernels with ``n_rows`` rows from now on, of which the fitted are at ``places``."""
        self._rotation = self._rotation.scattered(places, n_rows)
