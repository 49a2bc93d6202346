"""What the regressor and the classifier share: training, selection and prediction."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.model_selection import check_cv
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import slices
from skopu._core.documented import Documented
from skopu._core.parameters import COUNT, POSITIVE, TRAINING
from skopu._core.parts import PartsMixin, resolve_part
from skopu._core.places import find_place
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler
from skopu._core.validation import HasMethods, StrOptions, validate_data
from skopu.cross_fitted.directions import few_directions
from skopu.cross_fitted.folds import assign_folds, assign_groups
from skopu.cross_fitted.importances import importances
from skopu.cross_fitted.scalings import fit_scalers, make_scalings, names_of
from skopu.cross_fitted.selection import Selector
from skopu.cross_fitted.through_device import (
    answers_for,
    open_device,
    read_answers,
    reserving,
)
from skopu.cross_fitted.trees import KINDS, MIN_ROWS, grow, predict_part, splits_for
from skopu.cross_fitted.unfinished import take_up, telling_what_is_kept
from skopu.devices.registry import DEVICES

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
class CrossFitted(PartsMixin, Documented):
    """Parameters, training and prediction common to both."""

    _parameter_constraints = {
        **TRAINING,
        "n_bits": COUNT,
        "cv": ["cv_object"],
        "n_best": COUNT,
        "scaler": [StrOptions({"auto", "both", "standard", "quantile", "relevance"})],
        "learning_rate": POSITIVE,
        "max_iter": [*COUNT, StrOptions({"auto"})],
        "batch_size": [*COUNT, StrOptions({"auto"})],
        "trees": ["boolean", StrOptions({"auto"})],
        "prediction": [StrOptions({"mean", "draws", "threshold"})],
        "opu": [str, HasMethods(["project"]), None],
        "n_components": COUNT,
        "n_codes": COUNT,
        "n_draws": COUNT,
        "warm_start": ["boolean"],
    }
    _part_names = ("opu",)
    _carried = ("_unfinished",)

    n_bits: int = 64
    _: KW_ONLY
    cv: object = None
    n_best: int = 3
    scaler: str = "auto"
    learning_rate: float = 0.05
    max_iter: int | str = "auto"
    batch_size: int | str = "auto"
    trees: bool | str = "auto"
    prediction: str = "mean"
    opu: object = "simulated"
    n_components: int = 4096
    n_codes: int = 8
    n_draws: int = 10
    warm_start: bool = False
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _make_part(self, name):
        return resolve_part(self.opu, DEVICES, "opu")

    def _fit_ensemble(self, X, Y, weights, classes=None):
        """Train, select and set the fitted attributes.

        Returns
        -------
        held_out : HeldOut
        """
        given, groups = self._given_folds(X, Y, classes), self._groups
        X, Y, weights, kept = merge_repeated_rows(X, Y, weights)
        self._check_enough(len(Y))
        device = open_device(self)
        job = take_up(self, X, Y, weights, given, groups)
        groups = None if groups is None else np.unique(groups[kept], return_inverse=True)[1]
        if given is not None:
            folds = np.unique(given[kept], return_inverse=True)[1]
        elif groups is not None:
            folds = assign_groups(groups, self._n_folds(len(Y)), job.seeds[1])
        else:
            classes = None if classes is None else classes[kept]
            folds = assign_folds(len(Y), self._n_folds(len(Y)), classes, job.seeds[1])
        with telling_what_is_kept(self):
            with reserving(self, device, job, len(Y)):
                if job.trained is None:
                    job.trained = self._train(X, Y, weights, folds, job, device)
            selector, selection, scalers, _ = job.trained
            self._keep(selection, selector.models, scalers)
            self.feature_importances_ = importances(selector.codes.copies, self, Y, weights)
            found = HeldOut(kept, weights, selection.predictions, folds, groups)
            return found if device is None else self._go_through_device(device, job, found)

    def _train(self, X, Y, weights, folds, job, device):
        """Return selector, selection, scalers and bits of trees: all that takes no pass."""
        # torch is loaded by the first fit, not by importing the package.
        from skopu.cross_fitted.training import STRENGTHS, train_fold_models

        names, seeds = names_of(self.scaler, X), job.seeds
        scalers, copies = fit_scalers(names, X, weights, seeds[0])
        targets = few_directions(Y, weights, seeds[3])
        bits, kinds = {}, KINDS if device is None else splits_for(device)
        if self._takes_trees(X):
            bits = grow(copies[0], targets, weights, folds, kinds, seeds[3])
        models, rows = job.models, (targets, weights, folds)
        if models is None:
            scalings = make_scalings(names, copies, *rows, bits, seeds[3])
            models = train_fold_models(scalings, *rows, STRENGTHS, self.n_best, self, seeds[2])
        if not models.was_cut:
            job.models, self._unfinished = models, job
        place = find_place(self.torch_device)
        selector = Selector(
            copies, models, targets, Y, weights, folds, self.n_best, seeds[3], place
        )
        selection = selector.select(bits if device is None else {}, self.verbose)
        return selector, selection, scalers, bits

    def _takes_trees(self, X):
        """Whether trees are grown on rows X (m, d), different ones."""
        if self.trees == "auto":
            return not issparse(X) and X.shape[0] >= MIN_ROWS
        if self.trees and issparse(X):
            raise ValueError("trees=True needs dense X: use trees='auto' or False, or X.toarray().")
        return self.trees

    def _go_through_device(self, device, job, found):
        """Fit the readout of the device's answers; return its rows left out in their place."""
        selector, _, _, bits = job.trained
        self._unfinished = job
        answers = answers_for(self, job, selector, bits)
        self._optical_, fit = read_answers(self, answers, device, selector)
        self.n_passes_, self.validation_error_ = answers.n_passes, fit.error
        groups = None if found.groups is None else found.groups[fit.judged]
        if groups is not None:
            groups = np.unique(groups, return_inverse=True)[1]
        chosen = (part[fit.judged] for part in (found.kept, found.weights))
        return HeldOut(*chosen, fit.predictions, found.folds[fit.judged], groups)

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

    def _keep(self, selection, models, scalers):
        """Set the fitted attributes."""
        from skopu.cross_fitted.training import STRENGTHS

        used = tuple(selection.encoders.T)
        self.scalers_ = scalers
        scalings = models.scalings
        self.encoder_scaler_ = np.array([s.scaler for s in scalings])[selection.encoders[:, 1]]
        self.encoder_coef_, self.encoder_intercept_ = models.coef[used], models.intercept[used]
        self.bias_, (_, self.linear_, self.pairs_) = selection.bias, selection.form
        self._fold_forms_, self._optical_, self.n_passes_ = selection.folds, None, 0
        self._trees_ = selection.trees
        self.n_iter_, self.history_ = models.n_iter, models.history
        self.validation_error_ = selection.error
        columns = dict(selection.candidates)
        members = columns.pop("members")
        columns["encoders"] = [
            [
                {"scaler": scalings[s].name, **STRENGTHS[models.strengths[s, c]]._asdict()}
                for s, c in group
            ]
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
        """Return X, validated, by each scaler."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        return [apply_scaler(scaler, X) for scaler in self.scalers_]

    def _outputs(self, X):
        """Return predictions (n, q) in the units of training."""
        copies = self._copies(X)
        if self._optical_ is not None:
            return self._optical_.outputs(copies)
        total = np.tile(self.bias_, (copies[0].shape[0], 1))
        self._add_all(copies, self.encoder_scaler_ >= 0, self.linear_, self.pairs_, total)
        for part in self._trees_:
            total += predict_part(part.kind, part.bits, part.whole, copies[0])
        return total

    def _outputs_of_folds(self, X):
        """Return predictions (K, n, q) by the models of each fold, in the units of training."""
        copies, forms = self._copies(X), self._fold_forms_
        if self._optical_ is not None:
            return self._optical_.outputs_of_folds(copies)
        totals = np.repeat(forms.bias[:, None], copies[0].shape[0], axis=1)
        for fold, total in enumerate(totals):
            self._add_all(copies, forms.fold == fold, forms.linear, forms.pairs, total)
        for part in self._trees_:
            totals[part.fold] += predict_part(part.kind, part.bits, part.own, copies[0])
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
        for rows in slices(X.shape[0], _CHUNK_ROWS):
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
