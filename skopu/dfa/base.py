"""What the classifier and the regressor share: parameters, start, training, prediction."""

from copy import copy
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from scipy.special import expit
from sklearn.base import clone
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.documented import Documented
from skopu._core.fitting import keep_despite
from skopu._core.parameters import (
    COUNT,
    EARLY_STOPPING,
    LAYERS,
    NOT_NEGATIVE,
    POSITIVE,
    SCALER,
    TRAINING,
)
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu._core.validation import REAL, StrOptions, check_layer_sizes, validate_data
from skopu.dfa.projection import FEEDBACK, check_projector, draw_feedbacks

_ACTIVATIONS = {
    "identity": lambda A: A,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda A: np.maximum(A, 0),
}
# What "auto" stands for. A small set gets smaller minibatches, or an epoch would hold too few steps
# to get anywhere: at 200 rows each, 40 epochs of 1347 digits are 240 steps, and end at 92 % where
# 97 % can be had. Smooth targets go on gaining for 10 000 steps, noisy ones are overfitted long
# before (german credit: error .25 after 1000 steps, .33 after 3000), so rows held out decide. Adam
# moves all weights alike, and the sum over a layer by as much as it is wide: its rate follows.
_MIN_BATCH, _MAX_BATCH, _BATCHES = 32, 200, 20
_EPOCHS, _ITERATIONS = 100, 10000
_MAX_RATE = 0.01
_ROWS_TO_HOLD_OUT_FROM = 100


@dataclass(eq=False, repr=False)
class DFANetwork(Documented):
    """Parameters and training common to both."""

    _parameter_constraints = {
        **LAYERS,
        **SCALER,
        **FEEDBACK,
        **EARLY_STOPPING,
        **TRAINING,
        "activation": [StrOptions(set(_ACTIVATIONS))],
        "algorithm": [StrOptions({"dfa", "backprop", "frozen"})],
        "alpha": NOT_NEGATIVE,
        "batch_size": [*COUNT, StrOptions({"auto"})],
        "learning_rate": [StrOptions({"linear", "cosine", "constant"})],
        "learning_rate_init": [*POSITIVE, StrOptions({"auto"})],
        "max_iter": [*COUNT, StrOptions({"auto"})],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "compute_alignment": ["boolean"],
        "warm_start": ["boolean"],
    }

    hidden_layer_sizes: object = (100,)
    activation: str = "tanh"
    _: KW_ONLY
    scaler: str | None = "standard"
    algorithm: str = "dfa"
    projector: object = None
    error_encoding: str | None = None
    threshold: float = 0.1
    alpha: float = 1e-4
    batch_size: int | str = "auto"
    learning_rate: str = "linear"
    learning_rate_init: float | str = "auto"
    max_iter: int | str = "auto"
    early_stopping: bool | str = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 20
    compute_alignment: bool = False
    warm_start: bool = False
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _goes_on(self):
        """Whether ``fit`` goes on from the last one."""
        return self.warm_start and hasattr(self, "coefs_")

    def _train(self, X, targets, weights, *, is_partial):
        """Train on checked rows; start anew unless there is something to go on from."""
        hidden = check_layer_sizes(self.hidden_layer_sizes, min_layers=1)
        check_projector(self)
        rows = merge_repeated_rows(X, targets.values, weights)
        goes_on = self._goes_on() or (is_partial and hasattr(self, "coefs_"))
        sizes = [X.shape[1], *hidden, targets.values.shape[1]]
        if not goes_on:
            self._start(rows, sizes)
        self._check_unchanged(sizes)
        scaled = rows._replace(X=apply_scaler(self.scaler_, rows.X))
        self._run(scaled, targets.loss, hidden, goes_on, is_partial)
        self._finish(rows, is_partial)
        return self

    def _finish(self, rows, is_partial):
        """Do what is left to do after training."""

    def _run(self, rows, loss, hidden, goes_on, is_partial):
        """Train from the present weights and keep what comes of it."""
        # torch is loaded by the first fit, not by importing the package.
        from skopu.dfa.network import FeedbackNetwork, affine
        from skopu.dfa.training import train_feedback_network

        layers = [affine(*layer) for layer in zip(self.coefs_, self.intercepts_)]
        feedback = self._feedback(hidden)
        (seed,) = self._draw_seeds(1)
        trained = train_feedback_network(
            FeedbackNetwork(layers, self.activation),
            feedback,
            rows,
            loss,
            self._settled(len(rows.weights), max(hidden), is_partial),
            seed,
            moments=self._moments if is_partial else None,
        )
        self._keep(trained, feedback, goes_on)

    def _settled(self, n_rows, width, is_partial):
        """Return a copy of the parameters with numbers in the place of "auto"."""
        settled = copy(self)
        if self.batch_size == "auto":
            settled.batch_size = min(_MAX_BATCH, max(_MIN_BATCH, n_rows // _BATCHES))
        if self.learning_rate_init == "auto":
            settled.learning_rate_init = min(_MAX_RATE, 1 / width)
        if self.early_stopping == "auto":
            # Who asks for a number of epochs gets them, on all rows.
            settled.early_stopping = self.max_iter == "auto" and n_rows >= _ROWS_TO_HOLD_OUT_FROM
        if self.max_iter == "auto":
            n_batches = max(1, n_rows // settled.batch_size)
            settled.max_iter = max(_EPOCHS, ceil(_ITERATIONS / n_batches))
        if is_partial:
            settled.max_iter, settled.learning_rate = 1, "constant"
            settled.early_stopping = False
        return settled

    def _start(self, rows, sizes):
        """Fit the scaling, and draw the first weights and the feedback matrices."""
        self._entropy, self._n_drawn = draw_seeds(self.random_state, 1), 0
        coef_seed, feedback_seed = self._draw_seeds(2)
        self.scaler_ = fit_scaler(self.scaler, rows.X, rows.weights, coef_seed)
        rng = np.random.default_rng(coef_seed)
        pairs = list(pairwise(sizes))
        limit = 2.0 if self.activation == "logistic" else 6.0
        limits = [np.sqrt(limit / (n_in + n_out)) for n_in, n_out in pairs]
        self.coefs_ = [rng.uniform(-a, a, pair) for a, pair in zip(limits, pairs)]
        self.intercepts_ = [rng.uniform(-a, a, n_out) for a, (_, n_out) in zip(limits, pairs)]
        is_optical = self.algorithm == "dfa" and self.projector is not None
        self.projector_ = clone(self.projector) if is_optical else None
        self.feedbacks_ = None
        if self.algorithm == "dfa" and not is_optical:
            self.feedbacks_ = draw_feedbacks(sizes[1:-1], sizes[-1], feedback_seed)
        self._moments, self.n_iter_, self.n_passes_ = None, 0, 0
        self.loss_curve_, self.alignment_ = [], None
        self.n_layers_ = len(sizes)

    def _draw_seeds(self, n_seeds):
        """Return the next seeds of a sequence that goes on from fit to fit."""
        # Numbers, not a SeedSequence: a fit that fails must not have moved on the model's own.
        keys = range(self._n_drawn, self._n_drawn + n_seeds)
        self._n_drawn += n_seeds
        children = [np.random.SeedSequence(self._entropy, spawn_key=(key,)) for key in keys]
        return [int(child.generate_state(1)[0] >> 1) for child in children]

    def _check_unchanged(self, sizes):
        found = [len(self.coefs_[0]), *(len(intercept) for intercept in self.intercepts_)]
        if found != sizes:
            raise ValueError(
                f"the network to go on from has layers of {found} and this one would have "
                f"{sizes}: use the same hidden_layer_sizes and as many classes or targets, or "
                "fit with warm_start=False."
            )

    def _feedback(self, hidden):
        from skopu.dfa.feedback import DeviceFeedback, MatrixFeedback

        if self.algorithm != "dfa":
            return None
        if self.projector_ is not None:
            return DeviceFeedback(self.projector_, hidden)
        return MatrixFeedback(self.feedbacks_, self.torch_device)

    def _keep(self, trained, feedback, goes_on):
        self.coefs_, self.intercepts_ = trained.coefs, trained.intercepts
        self._moments, self.history_ = trained.moments, trained.history
        self.n_iter_ = trained.n_iter + (self.n_iter_ if goes_on else 0)
        self.n_passes_ += feedback.n_passes if feedback else 0
        self.loss_curve_ = [*self.loss_curve_, *trained.loss_curve]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        if self.compute_alignment:
            before = [] if self.alignment_ is None else [self.alignment_]
            self.alignment_ = np.concatenate(
                [*before, trained.alignment.reshape(-1, len(self.coefs_) - 1)]
            )
        if trained.fault is not None:
            raise keep_despite(trained.fault, self)

    def _outputs(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=REAL)
        return np.concatenate([self._forward(X[c]) for c in row_chunks(X.shape[0])])

    def _forward(self, X):
        X = self._hidden(X)
        return safe_sparse_dot(X, self.coefs_[-1], dense_output=True) + self.intercepts_[-1]

    def _hidden(self, X):
        """Return what the output layer sees of rows, (n, neurons of the last hidden layer)."""
        # float64: the last bits of a sum would depend on how many rows go together.
        X = apply_scaler(self.scaler_, X).astype(np.float64, copy=False)
        for coef, intercept in zip(self.coefs_[:-1], self.intercepts_[:-1]):
            X = safe_sparse_dot(X, coef, dense_output=True) + intercept
            X = _ACTIVATIONS[self.activation](X)
        return X
