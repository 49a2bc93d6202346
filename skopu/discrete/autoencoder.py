"""Codes from a denoising autoencoder."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from scipy.sparse import issparse

from skopu._core.parameters import BOP, COUNT, LAYERS, NOT_NEGATIVE, POSITIVE, TRAINING
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.validation import (
    Interval,
    StrOptions,
    check_layer_sizes,
)
from skopu.binarizers.base import RestoringMixin, RowBinarizer


@dataclass(eq=False, repr=False)
class BinaryAutoencoder(RestoringMixin, RowBinarizer):
    r"""Codes from which a decoder restores the row, learned without labels.

    Encoder and decoder are perceptrons whose layers are a matrix of weights in {-1, 1}, a batch
    normalisation and the sign; the last layer ends in tanh (section 5 of [1]_, with dense
    layers in the place of convolutions). The signs in the middle are the code. With rows
    scaled to [-1, 1], training minimises

    .. math::

        \frac{1}{nd} \sum_i \big\| x_i - g\big(\mathrm{clip}_{[-1, 1]}(x_i + \nu \epsilon_i)\big)
        \big\|^2, \qquad \epsilon_i \sim N(0, I).

    Equation 4 of [1]_ clips to [0, 1], although the rows are in [-1, 1]: that would
    erase half of the signal, and is taken for a misprint.

    Parameters
    ----------
    n_bits : int, default=64
        k, length of the codes.
    hidden_layer_sizes : int or tuple of int, default=()
        Sizes of layers between input and code; the decoder has the same in reverse.
    noise : float, default=0.1
        :math:`\nu`, standard deviation of the noise in training, for rows in [-1, 1].
    weights : {"binary", "real"}, default="binary"
        "real": real weights trained by Adam. The code is binary all the same.
    weight_optimizer : {"bop", "ste"}, default="bop"
        How binary weights are trained: flips by :class:`~skopu.optim.Bop`, or Adam on latent
        weights with the gradient of the binary ones.
    feature_range : tuple (low, high) or None, default=None
        Values that become -1 and 1, for all columns alike, as (0, 255) for images. None: the
        minimum and maximum of each column.
    learning_rate : float, default=0.01
        First learning rate of Adam (cosine decay to a thousandth).
    gamma : float, default=1e-3
        :math:`\gamma` of Bop.
    tau : float, default=1e-8
        :math:`\tau` of Bop.
    max_iter : int, default=2000
        Number of minibatches.
    batch_size : int, default=64
        Rows in a minibatch, two or more; all rows if there are fewer.
    torch_device : str, default="cpu"
        Where torch computes: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of the start, the noise and the minibatches.
    verbose : int, default=0
        Above 0: a progress bar with the loss.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        Weights of the layers, int8 if binary; those of the encoder come first.
    scales_, intercepts_ : list of ndarray of shape (n_outputs,)
        A layer is ``activation(x @ coef * scale + intercept)``: its batch normalisation.
    low_, high_ : ndarray of shape (n_features,)
        Values of each column that become -1 and 1.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
    n_iter_ : int
        Minibatches done.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    SupervisedBinarizer : Codes that are learned with the task.
    HyperplaneBinarizer : Random codes, no training.

    References
    ----------
    .. [1] Nayak, Raj, Kalyani, "[Re] A comprehensive study on binary optimizer and its
       applicability", ReScience C, 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skopu import BinaryAutoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = BinaryAutoencoder(
    ...     n_bits=64, feature_range=(0, 16), max_iter=200, random_state=0
    ... ).fit(X)
    >>> codes = model.transform(X)
    >>> codes.shape, codes.dtype.name
    ((1797, 64), 'uint8')
    >>> model.inverse_transform(codes).shape
    (1797, 64)
    >>> bool(model.score(X) > 10)  # decibels
    True
    """

    _min_rows = 2  # that batch normalisation has something to measure
    _parameter_constraints = {
        **LAYERS,
        **BOP,
        **TRAINING,
        "n_bits": COUNT,
        "noise": NOT_NEGATIVE,
        "weights": [StrOptions({"binary", "real"})],
        "weight_optimizer": [StrOptions({"bop", "ste"})],
        "feature_range": [tuple, None],
        "learning_rate": POSITIVE,
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }

    n_bits: int = 64
    _: KW_ONLY
    hidden_layer_sizes: object = ()
    noise: float = 0.1
    weights: str = "binary"
    weight_optimizer: str = "bop"
    feature_range: tuple | None = None
    learning_rate: float = 0.01
    gamma: float = 1e-3
    tau: float = 1e-8
    max_iter: int = 2000
    batch_size: int = 64
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _fit_rows(self, X, weights):
        # torch is loaded by the first fit, not by importing the package.
        from skopu.discrete.autoencoder_training import train_autoencoder

        check_layer_sizes(self.hidden_layer_sizes)
        X = _dense(X)
        (seed,) = draw_seeds(self.random_state, 1)
        rows, _, weights, _ = merge_repeated_rows(X, np.zeros((len(X), 1)), weights)
        if len(rows) == 1:  # batch normalisation wants two
            rows, weights = rows.repeat(2, axis=0), weights.repeat(2)
        self._set_range(rows)
        trained = train_autoencoder(self._scaled(rows), weights, settings=self, seed=seed)
        self.coefs_, self.scales_ = trained.coefs, trained.scales
        self.intercepts_ = trained.shifts
        self.history_, self.n_iter_ = trained.history, trained.n_iter

    def _set_range(self, X):
        if self.feature_range is None:
            self.low_, self.high_ = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
            return
        if len(self.feature_range) != 2 or not self.feature_range[0] < self.feature_range[1]:
            raise ValueError(
                f"feature_range={self.feature_range!r} must be (low, high) with low < high, or "
                "None for the range of each column."
            )
        self.low_, self.high_ = (np.full(X.shape[1], float(v)) for v in self.feature_range)

    def _scaled(self, X):
        """Return rows in [-1, 1]; what lies beyond the range is clipped."""
        half = self.high_ / 2 - self.low_ / 2
        centred = X - (self.low_ / 2 + self.high_ / 2)
        return np.divide(centred, half, out=np.zeros(X.shape), where=half > 0).clip(-1, 1)

    def _apply(self, H, layers):
        """Apply layers to activations, with the sign after each but the last of all."""
        for number in layers:
            if number:
                H = np.where(H >= 0, 1.0, -1.0)
            H = H @ self.coefs_[number].astype(float) * self.scales_[number]
            H += self.intercepts_[number]
        return H

    def _bits(self, X):
        n_encoder = len(self.coefs_) // 2
        return self._apply(self._scaled(_dense(X)), range(n_encoder)) >= 0

    def _restored(self, codes):
        n_encoder = len(self.coefs_) // 2
        # The decoder starts by taking the sign: 0 must come out as -1.
        restored = self._apply(codes - 0.5, range(n_encoder, len(self.coefs_)))
        return self._original(np.tanh(restored))

    def _original(self, restored):
        return self.low_ + (restored + 1) * (self.high_ / 2 - self.low_ / 2)

    def score(self, X, y=None) -> float:
        r"""Return the peak signal-to-noise ratio of restored rows, in decibels.

        :math:`10 \log_{10}(P^2 / \mathrm{mse})`, where mse is the mean squared error of
        ``inverse_transform(transform(X))`` and :math:`P = 2` the peak-to-peak range, both for
        rows scaled to [-1, 1]. Section 5 of [1]_ takes the maximum, 1, for the range of such
        rows, which makes all ratios smaller by 6.02 dB.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
        """
        restored = self.inverse_transform(self.transform(X))
        return psnr(self._scaled(_dense(self._validate(X))), self._scaled(restored))

    @property
    def _n_features_out(self):
        return self.coefs_[len(self.coefs_) // 2 - 1].shape[1]


def _dense(X):
    """Return rows as an array, since what is restored is one."""
    return X.toarray() if issparse(X) else X


def psnr(clean, restored):
    """Return the peak signal-to-noise ratio, in decibels, of rows in [-1, 1]."""
    error = np.mean(np.square(clean - restored))
    return float(10 * np.log10(4 / error)) if error > 0 else float("inf")
