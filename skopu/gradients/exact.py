"""The exact loss in the place of an estimated gradient: no draws, no device."""

from skopu.gradients.base import WayOfTraining


class Exact(WayOfTraining):
    r"""Train on the objective itself, on a free quadratic form in place of the device.

    Every linear readout of OPU features is a quadratic form of the bits (see
    :mod:`skopu.forms.quadratic`), whatever the matrix. So encoder and quadratic form are trained
    jointly on the closed form of the objective's mean and variance, without a draw and without a
    pass, and the readout is fitted afterwards, to features of any device, known or not. For
    squared error the objective is exact; for cross-entropy it is

    .. math:: L(y, E[f]) + \tfrac14 \kappa \sum_q \mathrm{Var}[f_q],

    an upper bound of the one for :math:`\kappa = 1`.

    The form is free, while a device's features have D of its k(k + 1)/2 dimensions: for D far
    below that, codes trained through the device can fit it better.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import SupervisedBinarizer
    >>> X, y = load_diabetes(return_X_y=True)
    >>> binarizer = SupervisedBinarizer(n_bits=16, gradient="exact", max_iter=100)
    >>> binarizer.fit(X, y).n_passes_
    0
    """

    uses_device = False
