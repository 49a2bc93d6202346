"""Codes from random hyperplanes."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot

from skopu._core.parameters import COUNT, SCALER
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu.binarizers.base import RowBinarizer


@dataclass(eq=False, repr=False)
class HyperplaneBinarizer(RowBinarizer):
    r"""Binarize by the side of random hyperplanes on which a row lies.

    Bit j is :math:`1[w_j^\top x > 0]` with x scaled and :math:`w_j \sim N(0, I)`: two
    rows at angle :math:`\theta` differ in a share :math:`\theta/\pi` of the bits [1]_. It uses
    neither y nor gradients, and is the simplest thing to put before an OPU.

    Parameters
    ----------
    n_bits : int, default=256
        k, length of the codes. They are not trained, so that bits are cheap: with 64, an OPU
        kernel ridge on 600 rows of naval has 2.9 times the error.
    scaler : {"standard", "quantile"} or None, default="standard"
        Scaling of the inputs; see :class:`SupervisedBinarizer`. The hyperplanes go through 0,
        so None asks for inputs that are centred already.
    random_state : int, RandomState instance or None, default=None
        Source of the hyperplanes.

    Attributes
    ----------
    coef_ : ndarray of shape (n_bits, n_features)
        Normals of the hyperplanes, in scaled inputs.
    scaler_ : transformer or None
        The fitted scaling of the inputs.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    SupervisedBinarizer : Learns the hyperplanes together with the task.
    ThermometerBinarizer : Thresholds on every column, nothing random.

    References
    ----------
    .. [1] Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import HyperplaneBinarizer
    >>> X, _ = load_diabetes(return_X_y=True)
    >>> codes = HyperplaneBinarizer(n_bits=8, random_state=0).fit_transform(X)
    >>> codes.shape, codes.dtype.name
    ((442, 8), 'uint8')
    """

    _parameter_constraints = {
        **SCALER,
        "n_bits": COUNT,
        "random_state": ["random_state"],
    }

    n_bits: int = 256
    _: KW_ONLY
    scaler: str | None = "standard"
    random_state: object = None

    def _fit_rows(self, X, weights):
        rng = check_random_state(self.random_state)
        self.coef_ = rng.standard_normal((self.n_bits, X.shape[1]))
        (scaler_seed,) = draw_seeds(rng, 1)
        rows, _, weights, _ = merge_repeated_rows(X, np.zeros((X.shape[0], 1)), weights)
        self.scaler_ = fit_scaler(self.scaler, rows, weights, scaler_seed)

    def _bits(self, X):
        return safe_sparse_dot(apply_scaler(self.scaler_, X), self.coef_.T, dense_output=True) > 0
