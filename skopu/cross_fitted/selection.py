"""From trained encoders to one model: what is averaged, and the forms that it amounts to."""

from typing import NamedTuple

import numpy as np

from skopu._core.places import HOST
from skopu.cross_fitted.averaging import N_PICKS, greedy_average
from skopu.cross_fitted.fold_models import FoldForms, fold_forms
from skopu.cross_fitted.readouts import Codes, GroupReadouts
from skopu.cross_fitted.trees import TreeCodes, TreeReadouts, tree_parts
from skopu.forms.quadratic import QuadraticForm


class Selection(NamedTuple):
    """What was chosen.

    Attributes
    ----------
    encoders : ndarray of shape (E, 3)
        Fold, scaling and strength of each encoder in use, the strength by its place among those
        that are left.
    form : QuadraticForm
        Of these encoders, (E, ...); their biases are zero.
    bias : ndarray of shape (q,)
        Of the sum of the forms.
    candidates : dict of lists
        Columns kind, members, alpha, error and share.
    error : float
        Of the average, on rows left out.
    predictions : ndarray of shape (n, q)
        Of the average, each row by models that have not seen it.
    folds : FoldForms
        What each fold's models make of new rows.
    trees : list of TreePart
        In use, besides the encoders.
    """

    encoders: np.ndarray
    form: QuadraticForm
    bias: np.ndarray
    candidates: dict
    error: float
    predictions: np.ndarray
    folds: FoldForms
    trees: list


class Candidate(NamedTuple):
    """Something that may enter the average, with its predictions of rows it has not seen."""

    kind: str  # "net", an encoder with the form it was trained with, "ridge", or one of trees
    members: tuple
    alpha: float | None
    predictions: np.ndarray


class Selector:
    """Builds candidates on trained encoders and averages the best.

    Parameters
    ----------
    copies : list of {ndarray, CSR matrix} of shape (n, d)
        The rows by each scaler.
    models : FoldModels
    targets : ndarray of shape (n, q')
        What the models were trained on.
    Y : ndarray of shape (n, q)
        What is to be predicted; the nets are candidates if it is the same.
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,)
    n_best : int
        Encoders whose codes a readout shares.
    seed : int
        Of the centres of readouts, where rows are many.
    place : Host, default=HOST
        Where kernels are made and readouts solved.
    """

    def __init__(self, copies, models, targets, Y, weights, folds, n_best, seed, place=HOST):
        self.models, self.targets, self.is_direct = models, targets, targets is Y
        self.Y, self.weights, self.folds = Y, weights, folds
        self.n_best, self.seed = n_best, seed
        self.codes = Codes(copies, models, place)
        self.n_folds, self.n_scalings, self.n_strengths = models.coef.shape[:3]

    def select(self, bits, verbose=0):
        """Return the ``Selection``, of encoders and of the bits of trees, by kind and fold."""
        # Loaded here, so that importing the package stays light.
        from tqdm.auto import tqdm

        nets = [(s, c) for s in range(self.n_scalings) for c in range(self.n_strengths)]
        values = [self.net_predictions(net) for net in nets]
        errors = [self.error_of(predictions, self.targets) for predictions in values]
        candidates = []
        if self.is_direct:
            candidates = [Candidate("net", (n,), None, v) for n, v in zip(nets, values)]
        readouts = {
            group: GroupReadouts(self.codes, group, self.Y, self.weights, self.folds, self.seed)
            for group in self._groups(nets, errors)
        }
        trees = self.tree_readouts(bits)
        # How many alphas are tried, nobody knows before.
        with tqdm(desc="choosing readouts", unit="readout", disable=not verbose) as bar:
            for name, readout in (*readouts.items(), *trees.items()):
                kind, members = (name, ()) if name in trees else ("ridge", name)
                found = readout.search(self.error_of, bar.update)
                candidates += [Candidate(kind, members, alpha, found[alpha]) for alpha in found]
        predictions = np.array([candidate.predictions for candidate in candidates])
        shares, error = greedy_average(predictions, self.Y, self.weights, N_PICKS)
        if not any(shares[i] for i, c in enumerate(candidates) if c.kind not in trees):
            # What the model is made of is encoders: one has a pick in any case.
            shares = self._with_an_encoder(candidates, shares, trees)
        columns = {
            "kind": [candidate.kind for candidate in candidates],
            "members": [candidate.members for candidate in candidates],
            "alpha": [candidate.alpha for candidate in candidates],
            "error": [self.error_of(candidate.predictions) for candidate in candidates],
            "share": shares.tolist(),
        }
        encoders, form, bias = self._combine(candidates, shares, readouts)
        average = np.tensordot(shares, predictions, 1)
        parts, tree_bias, fold_bias = tree_parts(candidates, shares, trees)
        folds = fold_forms(self, candidates, shares, readouts, encoders)
        folds = folds._replace(bias=folds.bias + fold_bias)
        return Selection(encoders, form, bias + tree_bias, columns, error, average, folds, parts)

    def tree_readouts(self, bits):
        """Return the ``TreeReadouts`` of the bits of each kind."""
        rows, X = (self.Y, self.weights, self.folds, self.seed), self.codes.copies[0]
        return {
            kind: TreeReadouts(TreeCodes(X, kind, own), (), *rows) for kind, own in bits.items()
        }

    def _with_an_encoder(self, candidates, shares, trees):
        errors = [np.inf if c.kind in trees else self.error_of(c.predictions) for c in candidates]
        shares = shares * (1 - 1 / N_PICKS)
        shares[int(np.argmin(errors))] = 1 / N_PICKS
        return shares

    def error_of(self, predictions, targets=None):
        """Return the weighted mean squared error of predictions (n, q) of rows left out."""
        squares = np.square(predictions - (self.Y if targets is None else targets)).mean(1)
        return float(np.average(squares, weights=self.weights))

    def net_predictions(self, net):
        """Predictions (n, q') of every row by the model that has not seen it."""
        out = np.empty_like(self.targets)
        for fold in range(self.n_folds):
            rows = np.flatnonzero(self.folds == fold)
            out[rows] = self.models.form(fold, *net).mean(self.codes.of(fold, net, rows) + 0.5)
        return out

    def _groups(self, nets, errors):
        """Return the best nets: of all together, and of each scaling."""
        ranked = [nets[i] for i in np.argsort(errors, kind="stable")]
        groups = [tuple(sorted(ranked[: self.n_best]))]
        for scaling in range(self.n_scalings):
            best = [net for net in ranked if net[0] == scaling][: self.n_best]
            groups.append(tuple(sorted(best)))
        return list(dict.fromkeys(groups))

    def _combine(self, candidates, shares, readouts):
        """Return the encoders in use, their forms and the bias that the average amounts to."""
        totals, bias = {}, np.zeros(self.Y.shape[1])
        chosen = [(candidate, share) for candidate, share in zip(candidates, shares) if share]
        for candidate, share in chosen:
            if candidate.kind == "net":
                for fold in range(self.n_folds):
                    index = (fold, *candidate.members[0])
                    form = self.models.form(*index).scaled(share / self.n_folds)
                    bias += form.bias
                    _add(totals, index, form)
        for group in dict.fromkeys(c.members for c, _ in chosen if c.kind == "ridge"):
            mixture = [
                (c.alpha, share) for c, share in chosen if c.kind == "ridge" and c.members == group
            ]
            bias += self._add_readout(totals, readouts[group], *zip(*mixture))
        encoders = sorted(totals)
        form = QuadraticForm(*map(np.array, zip(*(totals[index] for index in encoders))))
        return np.array(encoders), form, bias

    def _add_readout(self, totals, readouts, alphas, shares):
        """Solve a group's readout on all rows, add it to the forms, return its bias."""
        dual, intercept, centres = readouts.solve(alphas, shares)
        dual = dual / (self.n_folds * len(readouts.members))
        nothing = np.zeros(self.Y.shape[1])
        for fold in range(self.n_folds):
            for net in readouts.members:
                c = self.codes.of(fold, net, centres)
                _add(totals, (fold, *net), QuadraticForm.from_centred(dual, c, nothing))
        return intercept


def _add(totals, index, form):
    totals[index] = totals[index].plus(form) if index in totals else form
