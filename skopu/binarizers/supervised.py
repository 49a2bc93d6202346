"""Binarization learned together with the task: the encoder of all that is trained through a device.

``fit`` makes rows and opens the device; ``_train`` takes both from whoever has them already.
"""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from skopu._core.fitting import keep_despite, whole
from skopu._core.parameters import (
    BOP,
    COUNT,
    EARLY_STOPPING,
    NOT_NEGATIVE,
    POSITIVE,
    TRAINING,
)
from skopu._core.parts import PartsMixin, resolve_part
from skopu._core.random import draw_seeds
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu._core.validation import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from skopu.binarizers.base import LinearBinarizer, TaskBinarizer
from skopu.binarizers.relevance import MIN_ROWS, check_dense, weigh_columns
from skopu.devices.registry import DEVICES, resolve_device


class _Left(NamedTuple):
    """What a fit leaves for the next one to go on from.

    ``model`` is what must stay the same; ``state`` is that of ``train_encoder``, None if there is
    nothing to go on from. ``is_whole`` says that the fit ended well: the next one adds a run if
    this one's was finished, and otherwise only completes it. ``was_cut``: by Ctrl-C.
    """

    model: dict
    seeds: tuple | None = None
    scaler: object = None
    state: bytes | None = None
    is_whole: bool = False
    was_cut: bool = False


_PARTS_OF_MODEL = ("n_bits", "n_components", "weights", "weight_optimizer", "learn_gamma")


@dataclass(eq=False, repr=False)
class SupervisedBinarizer(PartsMixin, TaskBinarizer, LinearBinarizer):
    r"""Binary codes learned with the task, through a device that nobody can differentiate.

    Bits are independent Bernoulli variables with :math:`p = \sigma(Wx + b)` (equation 12 of
    [1]_). The encoder (W, b) and a linear readout of the device's features of the codes,
    :math:`f(z) = w^\top \phi(z)`, are trained jointly on

    .. math::

        \frac{1}{n} \sum_i \big\{ \kappa\, E_z[L(y_i, f(z))] + (1 - \kappa)\, L(y_i, E_z[f(z)])
        \big\} + \frac{\lambda_{enc}}{k} \|W\|^2 + \lambda_{read} \|w\|^2

    where :math:`\kappa = 1` is "End-to-End" (equation 6) and :math:`\kappa = 0` "Isolated"
    (equation 10). For squared error the term in braces is
    :math:`(y - m)^2 + \kappa V`, with mean and variance of the readout over codes. The gradient
    for the encoder is estimated by REINFORCE with leave-one-out control variates (equation 8),
    which asks of the device nothing but its answers.

    The fit depends on the set of rows only: their order does not matter, and a weight of 2
    is the same as giving a row twice.

    Parameters
    ----------
    n_bits : int, default=64
        k, length of the codes.
    objective : {"auto", "end_to_end", "isolated"} or float in [0, 1], default="auto"
        Names for :math:`\kappa` = 1 and 0, or :math:`\kappa` itself. End-to-End makes codes
        that work one at a time; Isolated ones that work when the features of several draws
        are averaged. "auto" is End-to-End, except for ``gradient="exact"`` inside an
        end-to-end estimator: there it is what the estimator's ``prediction`` asks for.
    gradient : str or GradientEstimator, default="loo"
        How the encoder's gradient is had; see :mod:`skopu.gradients`.

        - For any device: "loo", "reinforce", "arm", "disarm", "local_expectation", and
          "quadratic", which has hundreds of times less variance than "loo" in simulation, fifty
          to two hundred times less through a camera, and takes two to four times as long.
        - For devices whose matrix is known: "rebar", and the biased "ste", "adaptive_noise",
          "gumbel", "surrogate".
        - "exact" trains with a free quadratic form in place of the device, without draws and
          passes.

        The ``n_draws`` of an estimator (4 by default, 1 for "local_expectation") is set as
        ``gradient__n_draws``.
    loss : {"auto", "squared_error", "cross_entropy"}, default="auto"
        "auto": squared error if y holds floats, cross-entropy of class labels otherwise (whole
        numbers are labels: give quantities as floats).
    scaler : {"auto", "standard", "quantile", "relevance"} or None, default="auto"
        Scaling of the inputs. "quantile" (normal quantiles clipped to +-3) helps when columns
        are skewed or have spikes, and can hurt on smooth ones. "relevance" is "standard" with each
        column multiplied by the root of its share in what a forest explains, relative to the
        largest share: for many columns of which few matter. "auto": one of the two if it leaves a
        tenth less error than "standard" on training rows held out (see ``encoder_penalty``).
        It does not try "relevance" below 100 different rows. For ``gradient="exact"``, whose
        predictions by the mean are good to more digits than that can tell, it does not try
        "quantile", and "relevance" must leave half of the error. For sparse X it is "standard".
    start : {"hyperplanes", "thresholds", "mixed", "auto"}, default="hyperplanes"
        Where training starts: with random directions; with thresholds of single columns, as those
        of :class:`ThermometerBinarizer`, from which bits then turn; or with half of the bits at
        each. Thresholds are worth a try where columns have few different values. "auto": they, if
        they leave a tenth less error than hyperplanes on training rows held out (see
        ``encoder_penalty``), which takes twice the time of that choice and no pass. Binary weights
        start with hyperplanes only.
    weights : {"real", "binary"}, default="real"
        "binary": every row of W is a row of -1 and 1 times a positive scale. A code then takes
        additions and comparisons only, and W one bit an entry; the price is accuracy.
    weight_optimizer : {"bop", "ste"}, default="bop"
        How binary weights are trained: flipped by :class:`~skopu.optim.Bop`, or as the signs
        of latent weights by the straight-through gradient.
    bop_gamma : float, default=1e-3
        First :math:`\gamma` of Bop, with the decay of the learning rates.
    penalty : str, BinaryQuantizer or None, default=None
        Draws the latent weights of "ste" to two values: the name of a base, as "absolute", or a
        :class:`~skopu.penalties.BinaryQuantizer`.
    n_components : int, default=1024
        D, components of the device read while training.
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device trained through; use the one that the codes are meant for.
    encoder_penalty : float or "auto", default="auto"
        :math:`\lambda_{enc}`. Larger values make softer decisions: less overfitting on noisy
        targets, less accuracy on smooth ones. "auto": the best of 0.0001, 0.001, 0.01, 0.1 and 1 by
        three-fold cross-validation on the training rows; the candidates are trained side by
        side, exactly and without a device, so the choice costs no pass.
    readout_penalty : float, default=1e-3
        :math:`\lambda_{read}`, on features scaled to variance 1/D, or on the entries of the
        quadratic form if the gradient is exact.
    learning_rate : float, default=0.05
        First learning rate of the encoder (Adam, cosine decay to a thousandth).
    readout_learning_rate : float, default=0.01
        The same for the readout.
    max_iter : int or "auto", default="auto"
        Number of minibatches. "auto": 1500; if the gradient is exact 3000, or 100 epochs if
        these are more, up to 10000.
    batch_size : int, default=128
        Rows in a minibatch; all rows if there are fewer.
    early_stopping : bool, default=False
        Hold out rows, stop when their loss no longer falls, and keep the best state.
    validation_fraction : float, default=0.1
        Share of the rows held out by ``early_stopping``.
    n_iter_no_change : int, default=20
        Hundredths of ``max_iter`` without a better validation loss after which to stop.
    learn_gamma : {"scalar", "feature"} or None, default=None
        Learn a scale :math:`\gamma` of the features along with the encoder (equation 13), one
        for all or one for each component and the popcount.
    warm_start : bool, default=False
        Go on from the last fit, with its penalty and scaling of the inputs: a fit that was cut
        short is completed, as if it had not been (if rows and parameters are the same); to one
        that was finished under ``warm_start`` another ``max_iter`` minibatches are added.
        What was not kept is started anew.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the training; the codes' probabilities are float64 in any case.
    torch_device : str, default="cpu"
        Where torch computes: "cpu", "cuda", or "auto", a graphics card where there is one.
        The device of light is ``opu``.
    random_state : int, RandomState instance or None, default=None
        Source of the start, the minibatches and the draws. The device has its own seed.
    verbose : int, default=0
        Above 0: a progress bar with loss and passes.

    Attributes
    ----------
    coef_ : ndarray of shape (n_bits, n_features)
        W, for scaled inputs.
    intercept_ : ndarray of shape (n_bits,)
        b.
    scaler_ : transformer or None
        The fitted scaling of the inputs.
    opu_ : OPUDevice
        The device used.
    gradient_ : GradientEstimator
        The gradient estimator used.
    start_ : str
        Where the training started.
    encoder_penalty_ : float
        The penalty used.
    penalty_errors_ : dict of float to float
        Cross-validated loss of each penalty tried, of those given up on the way by then; empty if
        the penalty was given.
    gamma_ : float or ndarray of shape (n_components + 1,)
        Learned gamma, that of the popcount last; 1.0 if not learned.
    loss_ : str
        The loss used.
    n_iter_ : int
        Minibatches done.
    n_passes_ : int
        Codes that went through the device.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    EndToEndOPURegressor : The whole model, which predicts with draws of the codes.
    HyperplaneBinarizer : Random codes, no training.
    OPURandomFeatures : What comes next in a pipeline.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import SupervisedBinarizer
    >>> X, y = load_diabetes(return_X_y=True)
    >>> binarizer = SupervisedBinarizer(n_bits=16, max_iter=50, random_state=0)
    >>> codes = binarizer.fit_transform(X, y)
    >>> codes.shape, codes.dtype.name
    ((442, 16), 'uint8')
    >>> binarizer.sample(X[:3], n_draws=5, random_state=0).shape
    (5, 3, 16)
    """

    _part_names = ("gradient", "opu", "penalty")
    _carried = ("_unfinished",)
    _parameter_constraints = {
        "scaler": [StrOptions({"auto", "standard", "quantile", "relevance"}), None],
        **EARLY_STOPPING,
        **TRAINING,
        "n_bits": COUNT,
        "objective": [
            StrOptions({"auto", "end_to_end", "isolated"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        "gradient": [str, HasMethods(["check"])],
        "loss": [StrOptions({"auto", "squared_error", "cross_entropy"})],
        "start": [StrOptions({"hyperplanes", "thresholds", "mixed", "auto"})],
        "weights": [StrOptions({"real", "binary"})],
        "weight_optimizer": [StrOptions({"bop", "ste"})],
        "bop_gamma": BOP["gamma"],
        "penalty": [str, HasMethods(["value", "strength_at"]), None],
        "n_components": COUNT,
        "opu": [str, HasMethods(["project"]), None],
        "encoder_penalty": [*NOT_NEGATIVE, StrOptions({"auto"})],
        "readout_penalty": NOT_NEGATIVE,
        "learning_rate": POSITIVE,
        "readout_learning_rate": POSITIVE,
        "max_iter": [*COUNT, StrOptions({"auto"})],
        "learn_gamma": [StrOptions({"scalar", "feature"}), None],
        "warm_start": ["boolean"],
        "dtype": [StrOptions({"float32", "float64"})],
    }

    n_bits: int = 64
    _: KW_ONLY
    objective: str | float = "auto"
    gradient: object = "loo"
    loss: str = "auto"
    scaler: str | None = "auto"
    start: str = "hyperplanes"
    weights: str = "real"
    weight_optimizer: str = "bop"
    bop_gamma: float = 1e-3
    penalty: object = None
    n_components: int = 1024
    opu: object = "simulated"
    encoder_penalty: float | str = "auto"
    readout_penalty: float = 1e-3
    learning_rate: float = 0.05
    readout_learning_rate: float = 0.01
    max_iter: int | str = "auto"
    batch_size: int = 128
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 20
    learn_gamma: str | None = None
    warm_start: bool = False
    dtype: str = "float32"
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _make_part(self, name):
        if name == "opu":
            return resolve_part(self.opu, DEVICES, "opu")
        if name == "penalty":
            from skopu.penalties import BinaryQuantizer, resolve_penalty

            return BinaryQuantizer() if self.penalty is None else resolve_penalty(self.penalty)
        from skopu.gradients import resolve_gradient

        return resolve_gradient(self.gradient)

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit_transform(self, X, y, sample_weight=None):
        """Train the encoder and return the codes of the same rows, which are validated once.

        It takes what :meth:`fit` takes, and returns what :meth:`transform` does.
        """
        return self._codes(self._fit_given(X, y, sample_weight))

    def _fit_encoder(self, rows, loss):
        self._train(rows, loss, resolve_device(self.opu, self.n_bits, self.n_components))

    def _train(self, rows, loss, device):
        """Train on ``Rows`` with encoded targets, through a device that is open already."""
        # torch is loaded by the first fit, not by importing the package.
        from skopu.training.encoder_training import train_encoder

        left = self._take_up(rows, loss)
        seeds = left.seeds or draw_seeds(self.random_state, 2)
        scalers = [left.scaler]
        if left.state is None:
            scalers = self._fit_scalers(rows, seeds[0])
        copies = [rows._replace(X=apply_scaler(scaler, rows.X)) for scaler in scalers]

        def keep(trained):
            scaler = scalers[trained.scaling]
            kept = seeds, scaler, trained.state
            self._unfinished = _Left(left.model, *kept, was_cut=trained.was_cut)

        resume = left.state, left.is_whole
        trained = train_encoder(copies, loss, device, self, seeds[1], keep, *resume)
        # Of a fit that ends well, which this one may still not do.
        self._last_run = self._unfinished._replace(is_whole=True)
        fault = trained.fault
        if fault is not None:
            fault.add_note(
                f"SupervisedBinarizer: training stopped after {trained.n_iter} minibatches. The "
                "state is kept: fit again with warm_start=True to go on."
            )
        if trained.coef is None:  # a device that failed before there was anything to keep
            raise fault
        self.n_features_in_ = rows.X.shape[1]
        self.opu_, self.loss_, self.scaler_ = device, loss, scalers[trained.scaling]
        self._keep(trained)
        if fault is not None:
            raise keep_despite(fault, self)

    def _fit_scalers(self, rows, seed):
        """Return the scalers to choose from, the safest first."""
        names, given = self._scalings(rows.X), (rows.X, rows.weights, seed)
        scalers = {name: fit_scaler(name, *given) for name in names if name != "relevance"}
        if "relevance" in names:
            check_dense(rows.X)
            standard = scalers.get("standard") or fit_scaler("standard", *given)
            scaled = rows._replace(X=apply_scaler(standard, rows.X))
            scalers["relevance"] = weigh_columns(standard, scaled, seed)
        return list(scalers.values())

    def _scalings(self, X):
        """Names of the scalings to choose from, the safest first."""
        from skopu.gradients import resolve_gradient

        if self.scaler != "auto":
            return [self.scaler]
        if issparse(X):
            return ["standard"]
        # Without draws the naval set is learned to 1e-6 of the variance after standard scaling and
        # to 4e-3 after quantiles, which a short training tells the other way round.
        is_exact = not resolve_gradient(self.gradient).uses_device
        names = ["standard"] if is_exact else ["standard", "quantile"]
        return [*names, "relevance"] if X.shape[0] >= MIN_ROWS else names

    def _go_on_from(self, other, is_whole):
        """Take over what another binarizer left, for a fit with ``warm_start=True``.

        ``is_whole`` says that the fit ended well whose part the other was.
        """
        self._last_run = getattr(other, "_last_run", None)
        self._unfinished = None if is_whole else getattr(other, "_unfinished", None)

    def _take_up(self, rows, loss):
        """Return what the last fit left to go on from; empty unless that is wanted."""
        from skopu.gradients import resolve_gradient

        model = {
            "n_features": rows.X.shape[1],
            "n_outputs": rows.Y.shape[1],
            "loss": loss,
            "gradient": type(resolve_gradient(self.gradient)).__name__,
            **{name: getattr(self, name) for name in _PARTS_OF_MODEL},
        }
        left = getattr(self, "_unfinished", None) or getattr(self, "_last_run", None)
        if not self.warm_start or left is None or left.state is None:
            return _Left(model)
        changed = {name: value for name, value in left.model.items() if value != model[name]}
        if changed:
            raise ValueError(
                f"warm_start=True goes on from a fit with {changed}, which is different now: "
                f"{ {name: model[name] for name in changed} }. Set it back, or fit with "
                "warm_start=False."
            )
        return left

    def _keep(self, trained):
        self.gradient_ = trained.gradient
        self.coef_, self.intercept_ = trained.coef, trained.intercept
        self.gamma_ = trained.gamma
        self.encoder_penalty_, self.start_ = trained.encoder_penalty, trained.start
        self.penalty_errors_ = trained.penalty_errors
        self.history_, self.n_iter_ = trained.history, trained.n_iter
        self.n_passes_ = trained.n_passes

    def bit_probabilities(self, X) -> np.ndarray:
        """Return each bit's probability of being 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as for ``transform``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_bits), dtype float64
        """
        return self._probabilities(self._validate(X))

    def sample(self, X, n_draws=1, random_state=None) -> np.ndarray:
        """Draw random codes, independent over draws, rows and bits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        n_draws : int, default=1
            S, draws of each row.
        random_state : int, RandomState instance or None, default=None
            Source of the draws.

        Returns
        -------
        codes : ndarray of shape (n_draws, n_samples, n_bits), dtype uint8
        """
        probabilities = self.bit_probabilities(X)
        uniforms = check_random_state(random_state).random_sample((n_draws, *probabilities.shape))
        return (uniforms < probabilities).view(np.uint8)
