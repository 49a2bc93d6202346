"""What the classifier and the regressor share: parameters, start, training, prediction."""

from itertools import pairwise
from numbers import Integral, Real

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, clone
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.fitting import keep_despite
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_layer_sizes,
    validate_data,
)
from skopu.exceptions import IncompatiblePartsError

_ACTIVATIONS = {
    "identity": lambda A: A,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda A: np.maximum(A, 0),
}
FEEDBACK_CONSTRAINTS = {
    "projector": [HasMethods(["project"]), None],
    "error_encoding": [StrOptions({"ternary", "sign"}), None],
    "threshold": [Interval(Real, 0, None, closed="left")],
}


class DFANetwork(BaseEstimator):
    """Parameters and training common to both."""

    _parameter_constraints = {
        **FEEDBACK_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(_ACTIVATIONS))],
        "algorithm": [StrOptions({"dfa", "backprop", "frozen"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate": [StrOptions({"linear", "cosine", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "compute_alignment": ["boolean"],
        "warm_start": ["boolean"],
        "torch_device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="tanh",
        *,
        algorithm="dfa",
        projector=None,
        error_encoding=None,
        threshold=0.1,
        alpha=1e-4,
        batch_size="auto",
        learning_rate="linear",
        learning_rate_init=1e-3,
        max_iter=100,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=20,
        compute_alignment=False,
        warm_start=False,
        torch_device="cpu",
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.algorithm = algorithm
        self.projector = projector
        self.error_encoding = error_encoding
        self.threshold = threshold
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.compute_alignment = compute_alignment
        self.warm_start = warm_start
        self.torch_device = torch_device
        self.random_state = random_state
        self.verbose = verbose

    def _goes_on(self):
        """Whether ``fit`` goes on from the last one."""
        return self.warm_start and hasattr(self, "coefs_")

    def _train(self, X, targets, weights, *, is_partial):
        """Train on checked rows; start anew unless there is something to go on from."""
        # torch is loaded by the first fit, not by importing the package.
        from skopu.dfa.network import FeedbackNetwork, affine
        from skopu.dfa.training import train_network

        hidden = check_layer_sizes(self.hidden_layer_sizes, min_layers=1)
        check_projector(self)
        n_outputs = targets.values.shape[1]
        goes_on = self._goes_on() or (is_partial and hasattr(self, "coefs_"))
        if not goes_on:
            self._start([X.shape[1], *hidden, n_outputs])
        self._check_unchanged([X.shape[1], *hidden, n_outputs])
        rows, values, weights, _ = merge_repeated_rows(X, targets.values, weights)
        layers = [affine(*layer) for layer in zip(self.coefs_, self.intercepts_)]
        feedback = self._feedback(hidden)
        (seed,) = self._draw_seeds(1)
        trained = train_network(
            FeedbackNetwork(layers, self.activation),
            feedback,
            rows,
            targets._replace(values=values),
            weights,
            self,
            seed,
            n_epochs=1 if is_partial else self.max_iter,
            decay="constant" if is_partial else self.learning_rate,
            moments=self._moments if is_partial else None,
        )
        self._keep(trained, feedback, goes_on)
        return self

    def _start(self, sizes):
        """Draw the first weights and the feedback matrices."""
        self._seeds = np.random.SeedSequence(draw_seeds(self.random_state, 1))
        coef_seed, feedback_seed = self._draw_seeds(2)
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
        # A sequence of its own: what an interruption leaves goes on with new minibatches.
        return [int(child.generate_state(1)[0] >> 1) for child in self._seeds.spawn(n_seeds)]

    def _check_unchanged(self, sizes):
        found = [len(self.coefs_[0]), *(len(intercept) for intercept in self.intercepts_)]
        if found != sizes:
            raise ValueError(
                f"the network to go on from has layers of {found} and this one would have "
                f"{sizes}: use the same hidden_layer_sizes and as many classes or targets, or "
                "fit with warm_start=False."
            )

    def _feedback(self, hidden):
        from skopu.dfa.network import DeviceFeedback, MatrixFeedback

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
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        return np.concatenate([self._forward(X[c]) for c in row_chunks(X.shape[0])])

    def _forward(self, X):
        for number, (coef, intercept) in enumerate(zip(self.coefs_, self.intercepts_)):
            if number:
                X = _ACTIVATIONS[self.activation](X)
            X = safe_sparse_dot(X, coef, dense_output=True) + intercept
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def draw_feedbacks(hidden, n_outputs, seed):
    """Return a matrix (h, q) for each hidden layer, with independent entries N(0, 1/h).

    That is the size of the entries of an output layer's weights, so that the penalty means the
    same as with backpropagation.
    """
    matrix = np.random.default_rng(seed).standard_normal((sum(hidden), n_outputs))
    slices = np.split(matrix, np.cumsum(hidden)[:-1])
    return [part / np.sqrt(len(part)) for part in slices]


def check_projector(estimator):
    """Raise ``IncompatiblePartsError`` if errors that are not ternary would go to a device."""
    if estimator.projector is not None and estimator.error_encoding is None:
        raise IncompatiblePartsError(
            f"projector={estimator.projector!r} displays binary patterns, and error_encoding=None "
            "leaves the errors real: use error_encoding='ternary' or 'sign', or projector=None."
        )
