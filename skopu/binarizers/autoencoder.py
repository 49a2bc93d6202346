"""Codes from which a row can be restored, learned without targets."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.extmath import safe_sparse_dot

from skopu._core.parameters import COUNT, NOT_NEGATIVE, POSITIVE, SCALER, TRAINING
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu.binarizers.base import RestoringMixin, RowBinarizer

_DTYPES = (np.float64, np.float32)
_REACH = 3.0  # standard deviations that become 1, the reach of tanh


@dataclass(eq=False, repr=False)
class AutoencoderBinarizer(RestoringMixin, RowBinarizer):
    r"""Binarize by an autoencoder whose encoder and decoder share their weights.

    The model of [1]_: codes :math:`b = 1[Wx > 0]`, restored rows
    :math:`\hat x = \tanh(W^\top b + c)`, trained on

    .. math:: \frac{1}{nd} \sum_i \|x_i - \hat x_i\|^2 + \frac{\lambda}{2} \|W^\top W - I\|^2.

    The step has no gradient, and the encoder needs none: W learns through the decoder, and the
    encoder changes with it. The second term keeps bits from saying the same twice. (With fewer
    bits than columns it equals :math:`\frac{\lambda}{2} \|W W^\top - I\|^2` plus a constant:
    the hyperplanes are driven to right angles.) No targets are used: the codes keep what varies
    much, whether or not it matters for the task. They are what [2]_ compares with.

    tanh reaches from -1 to 1, and so must the rows: scaled columns are divided by 3 and clipped
    to [-1, 1]. With ``scaler=None`` they are clipped to [-1, 1] as they are, as in [1]_.

    Parameters
    ----------
    n_bits : int, default=64
        k, length of the codes.
    lambda_reg : float, default=0.01
        :math:`\lambda`. Larger values make the bits more different from one another and the
        restored rows worse: [1]_ takes 1 and more, which on scaled columns of tables costs
        half of the variance.
    scaler : {"standard", "quantile"} or None, default="standard"
        Scaling of the inputs; see :class:`SupervisedBinarizer`.
    learning_rate : float, default=0.01
        First learning rate of Adam (cosine decay to a thousandth).
    max_iter : int, default=2000
        Number of minibatches.
    batch_size : int, default=128
        Rows in a minibatch; all rows if there are fewer.
    torch_device : str, default="cpu"
        Where torch trains: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of the start and the minibatches.
    verbose : int, default=0
        Above 0: a progress bar with the loss.

    Attributes
    ----------
    coef_ : ndarray of shape (n_bits, n_features)
        W, for scaled inputs.
    intercept_ : ndarray of shape (n_features,)
        c, of the decoder.
    scaler_ : transformer or None
        The fitted scaling of the inputs.
    n_iter_ : int
        Minibatches done.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
        The loss is the first term alone.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    BinaryAutoencoder : Another autoencoder: deeper, denoising, with binary weights.
    SupervisedBinarizer : Codes that are learned with the task.

    References
    ----------
    .. [1] Tissier, Gravier, Habrard, "Near-lossless binarization of word embeddings",
       AAAI 2019.
    .. [2] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import AutoencoderBinarizer
    >>> X, _ = load_diabetes(return_X_y=True)
    >>> binarizer = AutoencoderBinarizer(n_bits=64, max_iter=300, random_state=0).fit(X)
    >>> codes = binarizer.transform(X)
    >>> codes.shape, codes.dtype.name
    ((442, 64), 'uint8')
    >>> restored = binarizer.inverse_transform(codes)
    >>> bool(((restored - X) ** 2).mean() < 0.5 * X.var())
    True
    """

    _parameter_constraints = {
        **SCALER,
        **TRAINING,
        "n_bits": COUNT,
        "lambda_reg": NOT_NEGATIVE,
        "learning_rate": POSITIVE,
    }

    n_bits: int = 64
    _: KW_ONLY
    lambda_reg: float = 0.01
    scaler: str | None = "standard"
    learning_rate: float = 0.01
    max_iter: int = 2000
    batch_size: int = 128
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _fit_rows(self, X, weights):
        # torch is loaded by the first fit, not by importing the package.
        from skopu.binarizers.tied_autoencoder import train_tied_autoencoder

        scaler_seed, train_seed = draw_seeds(self.random_state, 2)
        rows, _, weights, _ = merge_repeated_rows(X, np.zeros((X.shape[0], 1)), weights)
        self.scaler_ = fit_scaler(self.scaler, rows, weights, scaler_seed)
        trained = train_tied_autoencoder(self._scaled(rows), weights, self, train_seed)
        self.coef_, self.intercept_ = trained.coef, trained.intercept
        self.history_, self.n_iter_ = trained.history, trained.n_iter

    @property
    def _unit(self):
        return 1.0 if self.scaler_ is None else _REACH

    def _scaled(self, X):
        """Return rows in [-1, 1], float64; sparse ones stay sparse."""
        scaled = apply_scaler(self.scaler_, X).astype(np.float64) / self._unit
        if issparse(scaled):
            scaled.data = scaled.data.clip(-1, 1)
            return scaled
        return scaled.clip(-1, 1)

    def _bits(self, X):
        return safe_sparse_dot(self._scaled(X), self.coef_.T, dense_output=True) > 0

    def _restored(self, codes):
        restored = np.tanh(codes @ self.coef_ + self.intercept_) * self._unit
        return restored if self.scaler_ is None else self.scaler_.inverse_transform(restored)
