"""What the regressor and the classifier share: training, selection and prediction."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.model_selection import check_cv
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu._core.validation import Interval, StrOptions, validate_data
from skopu.cross_fitted.folds import assign_folds
from skopu.cross_fitted.selection import Selector, evaluate_form

# Where rows are few each counts for the encoders, and more folds leave more of them to learn from.
_FEW_ROWS, _FOLDS_OF_FEW, _FOLDS_OF_MANY = 1000, 8, 4


class CrossFitted(BaseEstimator):
    """Parameters, training and prediction common to both."""

    _parameter_constraints = {
        "n_bits": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "n_best": [Interval(Integral, 1, None, closed="left")],
        "scaler": [StrOptions({"auto", "both", "standard", "quantile"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "torch_device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_bits=64,
        *,
        cv=None,
        n_best=3,
        scaler="auto",
        learning_rate=0.05,
        max_iter="auto",
        batch_size=128,
        torch_device="cpu",
        random_state=None,
        verbose=0,
    ):
        self.n_bits = n_bits
        self.cv = cv
        self.n_best = n_best
        self.scaler = scaler
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.torch_device = torch_device
        self.random_state = random_state
        self.verbose = verbose

    def _fit_ensemble(self, X, Y, weights, classes=None):
        """Train, select and set the fitted attributes.

        Returns the rows' places in X, their weights, and their predictions (m, q) by models
        that have not seen them.
        """
        # torch is loaded by the first fit, not by importing the package.
        from skopu.cross_fitted.training import STRENGTHS, train_fold_models

        scaler_seed, fold_seed, train_seed, centre_seed = draw_seeds(self.random_state, 4)
        is_number = self.cv is None or isinstance(self.cv, Integral)
        given = None if is_number else self._given_folds(X, Y, classes)
        X, Y, weights, kept = merge_repeated_rows(X, Y, weights)
        self._check_enough(len(Y))
        if given is None:
            classes = None if classes is None else classes[kept]
            folds = assign_folds(len(Y), self._n_folds(len(Y)), classes, fold_seed)
        else:
            folds = np.unique(given[kept], return_inverse=True)[1]
        n_folds = folds.max() + 1
        names = self._scaler_names(X)
        scalers = [fit_scaler(name, X, weights, scaler_seed) for name in names]
        copies = [apply_scaler(scaler, X) for scaler in scalers]
        training_rows = [np.flatnonzero(folds != fold) for fold in range(n_folds)]
        models = train_fold_models(copies, Y, weights, training_rows, STRENGTHS, self, train_seed)
        selection = Selector(copies, models, Y, weights, folds, self.n_best, centre_seed).select()
        self._keep(selection, models, scalers, names)
        return kept, weights, selection.predictions

    def _n_folds(self, n_rows):
        n_folds = self.cv
        if n_folds is None:
            n_folds = _FOLDS_OF_FEW if n_rows < _FEW_ROWS else _FOLDS_OF_MANY
        return min(n_folds, n_rows)

    def _check_enough(self, n_rows):
        if n_rows < 2:
            raise ValueError(
                f"n_samples = {n_rows} different row(s) with a weight above zero: "
                f"{type(self).__name__} holds rows out and needs at least 2; take "
                "EndToEndOPURegressor or EndToEndOPUClassifier."
            )

    def _given_folds(self, X, Y, classes):
        """Return the fold of each row of X from a splitter or an iterable of splits."""
        splitter = check_cv(self.cv, classes, classifier=classes is not None)
        folds, visits = np.zeros(len(Y), dtype=int), np.zeros(len(Y), dtype=int)
        for number, (_, held_out) in enumerate(splitter.split(X, classes)):
            folds[held_out] = number
            visits[held_out] += 1
        if len(np.unique(folds)) < 2 or (visits != 1).any():
            raise ValueError(
                f"cv={self.cv!r} must hold every row out exactly once, in two folds or more; "
                f"{np.sum(visits != 1)} row(s) of {len(Y)} are held out never or more than "
                "once: give an int, or a splitter such as KFold."
            )
        return folds

    def _scaler_names(self, X):
        if self.scaler == "auto":
            return ["standard"] if issparse(X) else ["standard", "quantile"]
        return ["standard", "quantile"] if self.scaler == "both" else [self.scaler]

    def _keep(self, selection, models, scalers, names):
        """Set the fitted attributes."""
        from skopu.cross_fitted.training import STRENGTHS

        used = tuple(selection.encoders.T)
        self.scalers_ = scalers
        self.encoder_scaler_ = selection.encoders[:, 1]
        self.coef_, self.intercept_ = models.coef[used], models.intercept[used]
        self.bias_, self.linear_, self.pairs_ = selection.forms
        self.n_iter_, self.history_ = models.n_iter, models.history
        self.validation_error_ = selection.error
        columns = dict(selection.candidates)
        members = columns.pop("members")
        columns["encoders"] = [
            [{"scaler": names[s], **STRENGTHS[c]._asdict()} for s, c in group] for group in members
        ]
        self.candidates_ = columns

    def bit_probabilities(self, X):
        """Return each bit's probability of being 1, for every encoder in use.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_encoders, n_samples, n_bits), dtype float64
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        copies = [apply_scaler(scaler, X) for scaler in self.scalers_]
        return np.array(
            [
                expit(safe_sparse_dot(copies[scaler], W.T, dense_output=True) + b)
                for scaler, W, b in zip(self.encoder_scaler_, self.coef_, self.intercept_)
            ]
        )

    def _predict_targets(self, X):
        """Return predictions (n, q) in the units of training."""
        probabilities = self.bit_probabilities(X)
        total = np.tile(self.bias_, (probabilities.shape[1], 1))
        for p, linear, pairs in zip(probabilities, self.linear_, self.pairs_):
            total += evaluate_form(p, linear, pairs)
        return total

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.scaler in ("auto", "standard")
        return tags
