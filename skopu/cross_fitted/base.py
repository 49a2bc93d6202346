"""What the regressor and the classifier share: training, selection and prediction."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.model_selection import check_cv
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.documented import Documented
from skopu._core.parameters import COUNT, POSITIVE, TRAINING
from skopu._core.places import find_place
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, fit_scaler
from skopu._core.validation import StrOptions, validate_data
from skopu.cross_fitted.directions import few_directions
from skopu.cross_fitted.folds import assign_folds, assign_groups
from skopu.cross_fitted.importances import importances
from skopu.cross_fitted.selection import Selector

# Where rows are few each counts for the encoders, and more folds leave more of them to learn from.
_FEW_ROWS, _FOLDS_OF_FEW, _FOLDS_OF_MANY = 1000, 8, 4

_CHUNK_ROWS = 512  # predicted at a time: their codes by all encoders stay in the cache


class HeldOut(NamedTuple):
    """The rows that were fitted, each predicted by models that have not seen it.

    Attributes
    ----------
    kept : ndarray of shape (m,)
        Their places in X.
    weights : ndarray of shape (m,)
    predictions : ndarray of shape (m, q)
    folds : ndarray of shape (m,) of int
    groups : ndarray of shape (m,) of int, or None
    """

    kept: np.ndarray
    weights: np.ndarray
    predictions: np.ndarray
    folds: np.ndarray
    groups: np.ndarray | None


@dataclass(eq=False, repr=False)
class CrossFitted(Documented):
    """Parameters, training and prediction common to both."""

    _parameter_constraints = {
        **TRAINING,
        "n_bits": COUNT,
        "cv": ["cv_object"],
        "n_best": COUNT,
        "scaler": [StrOptions({"auto", "both", "standard", "quantile"})],
        "learning_rate": POSITIVE,
        "max_iter": [*COUNT, StrOptions({"auto"})],
        "batch_size": [*COUNT, StrOptions({"auto"})],
    }

    n_bits: int = 64
    _: KW_ONLY
    cv: object = None
    n_best: int = 3
    scaler: str = "auto"
    learning_rate: float = 0.05
    max_iter: int | str = "auto"
    batch_size: int | str = "auto"
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _fit_ensemble(self, X, Y, weights, classes=None):
        """Train, select and set the fitted attributes.

        Returns
        -------
        held_out : HeldOut
        """
        # torch is loaded by the first fit, not by importing the package.
        from skopu.cross_fitted.training import STRENGTHS, train_fold_models

        scaler_seed, fold_seed, train_seed, centre_seed = draw_seeds(self.random_state, 4)
        given, groups = self._given_folds(X, Y, classes), self._groups
        X, Y, weights, kept = merge_repeated_rows(X, Y, weights)
        self._check_enough(len(Y))
        groups = None if groups is None else np.unique(groups[kept], return_inverse=True)[1]
        if given is not None:
            folds = np.unique(given[kept], return_inverse=True)[1]
        elif groups is not None:
            folds = assign_groups(groups, self._n_folds(len(Y)), fold_seed)
        else:
            classes = None if classes is None else classes[kept]
            folds = assign_folds(len(Y), self._n_folds(len(Y)), classes, fold_seed)
        names = self._scaler_names(X)
        scalers = [fit_scaler(name, X, weights, scaler_seed) for name in names]
        copies = [apply_scaler(scaler, X) for scaler in scalers]
        targets = few_directions(Y, weights, centre_seed)
        models = train_fold_models(
            copies, targets, weights, folds, STRENGTHS, self.n_best, self, train_seed
        )
        rows, place = (targets, Y, weights, folds), find_place(self.torch_device)
        selection = Selector(copies, models, *rows, self.n_best, centre_seed, place).select()
        self._keep(selection, models, scalers, names)
        self.feature_importances_ = importances(copies, self, Y, weights)
        return HeldOut(kept, weights, selection.predictions, folds, groups)

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
        """Return the fold of each row of X from a splitter or an iterable of splits, if any."""
        if self.cv is None or isinstance(self.cv, Integral):
            return None
        splitter = check_cv(self.cv, classes, classifier=classes is not None)
        folds, visits = np.zeros(len(Y), dtype=int), np.zeros(len(Y), dtype=int)
        for number, (_, held_out) in enumerate(splitter.split(X, classes, self._groups)):
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
        self.encoder_coef_, self.encoder_intercept_ = models.coef[used], models.intercept[used]
        self.bias_, (_, self.linear_, self.pairs_) = selection.bias, selection.form
        self._fold_forms_ = selection.folds
        self.n_iter_, self.history_ = models.n_iter, models.history
        self.validation_error_ = selection.error
        columns = dict(selection.candidates)
        members = columns.pop("members")
        columns["encoders"] = [
            [{"scaler": names[s], **STRENGTHS[models.strengths[s, c]]._asdict()} for s, c in group]
            for group in members
        ]
        self.candidates_ = columns

    def bit_probabilities(self, X) -> np.ndarray:
        """Return each bit's probability of being 1, for every encoder in use.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in the units of ``fit``.

        Returns
        -------
        probabilities : ndarray of shape (n_encoders, n_samples, n_bits), dtype float64
        """
        copies = self._copies(X)
        logits = [
            safe_sparse_dot(copies[scaler], W.T, dense_output=True) + b
            for scaler, W, b in zip(
                self.encoder_scaler_, self.encoder_coef_, self.encoder_intercept_
            )
        ]
        return expit(logits)

    def _copies(self, X):
        """Return X, validated, in each scaling."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        return [apply_scaler(scaler, X) for scaler in self.scalers_]

    def _outputs(self, X):
        """Return predictions (n, q) in the units of training."""
        copies = self._copies(X)
        total = np.tile(self.bias_, (copies[0].shape[0], 1))
        self._add_all(copies, self.encoder_scaler_ >= 0, self.linear_, self.pairs_, total)
        return total

    def _outputs_of_folds(self, X):
        """Return predictions (K, n, q) by the models of each fold, in the units of training."""
        copies, forms = self._copies(X), self._fold_forms_
        totals = np.repeat(forms.bias[:, None], copies[0].shape[0], axis=1)
        for fold, total in enumerate(totals):
            self._add_all(copies, forms.fold == fold, forms.linear, forms.pairs, total)
        return totals

    def _add_all(self, copies, is_used, linear, pairs, total):
        """Add what forms of the encoders in use predict to ``total`` (n, q)."""
        for scaler, copy in enumerate(copies):
            group = np.flatnonzero(is_used & (self.encoder_scaler_ == scaler))
            if len(group):
                self._add_predictions(copy, group, linear[group], pairs[group], total)

    def _add_predictions(self, X, encoders, linear, pairs, total):
        """Add what the forms of encoders of one scaling predict from scaled X to ``total``."""
        W, b = np.vstack(self.encoder_coef_[encoders]), np.hstack(self.encoder_intercept_[encoders])
        n_bits = self.encoder_coef_.shape[1]
        for rows in gen_batches(X.shape[0], _CHUNK_ROWS):
            c = safe_sparse_dot(X[rows], W.T, dense_output=True) + b
            # The sigmoid less one half, in a form that processors compute many of at a time.
            np.tanh(np.multiply(c, 0.5, out=c), out=c)
            c *= 0.5
            for number, (own, crossed) in enumerate(zip(linear, pairs)):
                part = np.ascontiguousarray(c[:, number * n_bits : (number + 1) * n_bits])
                for output, (a, Q) in enumerate(zip(own, crossed)):
                    slopes = part @ Q
                    slopes += a
                    slopes *= part
                    total[rows, output] += slopes.sum(axis=1)

    @property
    def _takes_sparse(self):
        return self.scaler in ("auto", "standard")
