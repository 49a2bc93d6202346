"""Classification by a network of binary weights and activations."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.classification import LabelFit, ProbabilisticClassifier
from skopu._core.documented import Documented
from skopu._core.parameters import BOP, EARLY_STOPPING, LAYERS, POSITIVE, SCALER, TRAINING
from skopu._core.parts import PartsMixin
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu._core.validation import (
    HasMethods,
    StrOptions,
    check_layer_sizes,
    validate_data,
)

_WAYS = ("bop", "ste", "binaryconnect", "xnor", "sigmoid", "gumbel", "real")
ROW_EPS = 1e-5  # under the root of a row's normalisation, as in training


@dataclass(eq=False, repr=False)
class BinaryMLPClassifier(LabelFit, ProbabilisticClassifier, PartsMixin, Documented):
    r"""Multilayer perceptron with weights and activations -1 and 1.

    Layer l computes :math:`h_l = N(W_l\, \mathrm{sign}(h_{l-1}))` with W of entries -1 and 1
    and a normalisation N with learned scale and shift; the first takes the scaled inputs as
    they are, the last gives the logits of the classes. Trained by cross-entropy with the
    gradient of the sign taken as 1 where :math:`|h| \le 1` and 0 elsewhere. Prediction takes
    additions and one multiplication for each neuron.

    The fit depends on the set of rows only: their order does not matter, and a weight of 2
    is the same as giving a row twice.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(256,)
        Neurons of each hidden layer.
    weight_optimizer : str, default="bop"
        How weights become binary. "bop": flipped by :class:`~skopu.optim.Bop` [1]_, [2]_.
        "ste": signs of latent weights clipped to [-1, 1], trained by Adam with the
        straight-through gradient; also the deterministic rule of BinaryConnect [5]_.
        "binaryconnect": its stochastic rule, where a latent weight v is drawn as 1 with the
        probability (1 + v) / 2. "xnor": signs times the mean size of a neuron's latent weights,
        as in XNOR-Net [4]_. "sigmoid" and "gumbel": a smooth step whose temperature is lowered,
        the second with logistic noise. "real": trained as real weights, to which ``penalty``
        gives two values [3]_.
    gamma : float, default=1e-4
        :math:`\gamma` of Bop.
    tau : float, default=1e-8
        :math:`\tau` of Bop.
    adaptive_noise : bool, default=False
        Learn a noise scale in [0, 1/2] for each weight of "bop" or "ste".
    penalty : str, BinaryQuantizer or None, default=None
        Added to the loss for "real" or "ste": the name of a base, as "absolute", or a
        :class:`~skopu.penalties.BinaryQuantizer`.
    activation : {"sign", "relu"}, default="sign"
        Of hidden neurons. "relu": only weights are binary, as in BinaryConnect [5]_.
    normalization : {"batch", "layer"}, default="batch"
        N: over the rows of a minibatch, or over the neurons of a row.
    recalibrate : bool, default=True
        Measure the statistics of batch norm anew, over the training rows and with the weights
        used for prediction. False keeps the running ones of training, as the papers do.
    weights : {"binary", "latent"}, default="binary"
        Which weights predict: the binary ones or, to compare, those before hardening. Read at
        prediction, so ``set_params`` after ``fit`` will do. "bop" has no latent weights.
    scaler : {"standard", "quantile"} or None, default="standard"
        Scaling of the inputs; see :class:`SupervisedBinarizer`.
    batch_size : int, default=64
        Rows in a minibatch; all rows if there are fewer.
    learning_rate : {"cosine", "constant"}, default="cosine"
        What becomes of the learning rate and of :math:`\gamma` in training: a decay to a
        thousandth, or nothing.
    learning_rate_init : float, default=0.01
        First learning rate of Adam, which trains all that Bop does not.
    max_iter : int, default=100
        Number of epochs.
    early_stopping, validation_fraction, n_iter_no_change
        Rows held out that end training and choose the state, as in :class:`SupervisedBinarizer`.
    torch_device : str, default="cpu"
        Where torch trains: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of the start, the minibatches and the noise.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_outputs), dtype int8
        Binary weights of each layer.
    classes_ : ndarray of shape (n_classes,)
        The labels of rows with a weight above zero, sorted.
    scales_, intercepts_ : list of ndarray of shape (n_outputs,)
        What N does to each neuron; for "layer" after normalising the row.
    latent_coefs_, latent_scales_, latent_intercepts_ : list of ndarray or None
        The same for the latent weights; None for "bop".
    alphas_ : ndarray of shape (n_layers - 1,) or None
        Scales of the penalty.
    scaler_ : transformer or None
        The fitted scaling of the inputs.
    loss_curve_ : list of float
        Mean loss of each epoch, penalty not included.
    loss_ : float
        The last of these.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
    n_iter_ : int
        Epochs done.
    n_layers_ : int
        Number of layers, inputs and outputs included.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Real weights.
    SupervisedBinarizer : Binary codes for a device, from real or binary weights.

    References
    ----------
    .. [1] Helwegen et al., "Latent weights do not exist: rethinking binarized neural network
       optimization", NeurIPS 2019.
    .. [2] Nayak, Raj, Kalyani, "[Re] A comprehensive study on binary optimizer and its
       applicability", ReScience C, 2020.
    .. [3] Partovi Nia, Belbahri, "Binary quantizer", 2020.
    .. [4] Rastegari, Ordonez, Redmon, Farhadi, "XNOR-Net: ImageNet classification using binary
       convolutional neural networks", ECCV 2016.
    .. [5] Courbariaux, Bengio, David, "BinaryConnect: training deep neural networks with binary
       weights during propagations", NeurIPS 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import BinaryMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    >>> model = BinaryMLPClassifier((64,), max_iter=20, random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    >>> sorted(set(model.coefs_[0].ravel().tolist()))
    [-1, 1]
    """

    _part_names = ("penalty",)
    _parameter_constraints = {
        **LAYERS,
        **BOP,
        **SCALER,
        **EARLY_STOPPING,
        **TRAINING,
        "weight_optimizer": [StrOptions(set(_WAYS))],
        "activation": [StrOptions({"sign", "relu"})],
        "adaptive_noise": ["boolean"],
        "penalty": [str, HasMethods(["value", "strength_at"]), None],
        "normalization": [StrOptions({"batch", "layer"})],
        "recalibrate": ["boolean"],
        "weights": [StrOptions({"binary", "latent"})],
        "learning_rate": [StrOptions({"cosine", "constant"})],
        "learning_rate_init": POSITIVE,
    }

    hidden_layer_sizes: object = (256,)
    _: KW_ONLY
    weight_optimizer: str = "bop"
    gamma: float = 1e-4
    tau: float = 1e-8
    adaptive_noise: bool = False
    penalty: object = None
    activation: str = "sign"
    normalization: str = "batch"
    recalibrate: bool = True
    weights: str = "binary"
    scaler: str | None = "standard"
    batch_size: int = 64
    learning_rate: str = "cosine"
    learning_rate_init: float = 0.01
    max_iter: int = 100
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 20
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _make_part(self, name):
        from skopu.penalties import BinaryQuantizer, resolve_penalty

        return BinaryQuantizer() if self.penalty is None else resolve_penalty(self.penalty)

    def _fit_codes(self, X, codes, weights):
        # torch is loaded by the first fit, not by importing the package.
        from skopu.discrete.training import train_binary_network

        hidden = check_layer_sizes(self.hidden_layer_sizes)
        self._check_pairs()
        targets = np.eye(len(self.classes_))[codes]
        scaler_seed, train_seed = draw_seeds(self.random_state, 2)
        rows, targets, weights, _ = merge_repeated_rows(X, targets, weights)
        self.scaler_ = fit_scaler(self.scaler, rows, weights, scaler_seed)
        rows = apply_scaler(self.scaler_, rows)
        self._keep(train_binary_network(rows, targets, weights, hidden, self, train_seed))

    def _check_pairs(self):
        if self.penalty is not None and self.weight_optimizer not in ("real", "ste"):
            raise ValueError(
                f"penalty={self.penalty!r} acts on latent weights, which "
                f"weight_optimizer={self.weight_optimizer!r} does not have: use 'real' or 'ste'."
            )
        if self.adaptive_noise and self.weight_optimizer not in ("bop", "ste"):
            raise ValueError(
                f"adaptive_noise=True moves weights that are binary in training, not those of "
                f"weight_optimizer={self.weight_optimizer!r}: use 'bop' or 'ste'."
            )
        if self.weight_optimizer == "xnor" and self.normalization == "layer":
            raise ValueError(
                "weight_optimizer='xnor' gives each neuron a scale, which normalization='layer' "
                "would have to keep: use normalization='batch', which takes it up, or 'ste'."
            )
        self._check_latent()

    def _check_latent(self):
        if self.weights == "latent" and self.weight_optimizer == "bop":
            raise ValueError(
                "weights='latent' needs latent weights, and weight_optimizer='bop' has none: "
                "use weights='binary', or weight_optimizer='ste'."
            )

    def _keep(self, trained):
        self.coefs_, self.scales_, self.intercepts_ = _columns(trained.layers)
        latent = (None,) * 3 if trained.latent_layers is None else _columns(trained.latent_layers)
        self.latent_coefs_, self.latent_scales_, self.latent_intercepts_ = latent
        self.alphas_, self.n_layers_ = trained.alphas, len(self.coefs_) + 1
        self.history_, self.n_iter_ = trained.history, trained.n_iter
        self.loss_curve_ = trained.loss_curve
        # None at all if it was interrupted in the first minibatch.
        self.loss_ = trained.loss_curve[-1] if trained.loss_curve else np.nan

    def _outputs(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        X = apply_scaler(self.scaler_, X)
        return np.concatenate([self._forward(X[c]) for c in row_chunks(X.shape[0])])

    def _layers_in_use(self):
        """Return (weights, scale, intercept) of each layer that predicts."""
        if self.weights == "latent":
            self._check_latent()
            return zip(self.latent_coefs_, self.latent_scales_, self.latent_intercepts_)
        return zip(self.coefs_, self.scales_, self.intercepts_)

    def _forward(self, X):
        # float64: the last bit of a sum must not decide an activation.
        H = X.astype(np.float64, copy=False)
        for number, (coef, scale, intercept) in enumerate(self._layers_in_use()):
            if number:
                H = self._activate(H)
            H = safe_sparse_dot(H, coef.astype(np.float64), dense_output=True)
            if self.normalization == "layer":
                H = H - H.mean(axis=1, keepdims=True)
                H /= np.sqrt(np.square(H).mean(axis=1, keepdims=True) + ROW_EPS)
            H = H * scale + intercept
        return H

    def _activate(self, H):
        return np.maximum(H, 0.0) if self.activation == "relu" else np.where(H >= 0, 1.0, -1.0)


def _columns(layers):
    return tuple([getattr(x, name) for x in layers] for name in ("coef", "scale", "intercept"))
