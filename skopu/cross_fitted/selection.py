"""From trained encoders to one model: readouts judged on rows left out, and their average."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.utils.extmath import safe_sparse_dot

from skopu.cross_fitted.averaging import greedy_average
from skopu.forms.kernel import form_kernel
from skopu.ridge.held_out import ridge_path

ALPHAS = 10.0 ** np.arange(-12, 1)  # relative to the trace of the kernel
_N_PICKS = 25


class Forms(NamedTuple):
    """Quadratic forms of expected bits, one for each encoder, and the bias of their sum.

    Attributes
    ----------
    bias : ndarray of shape (q,)
    linear : ndarray of shape (E, q, k)
    pairs : ndarray of shape (E, q, k, k)
        Symmetric, with zero diagonal.
    """

    bias: np.ndarray
    linear: np.ndarray
    pairs: np.ndarray


class Selection(NamedTuple):
    """What was chosen.

    Attributes
    ----------
    encoders : ndarray of shape (E, 3)
        Fold, scaler and strength of each encoder in use.
    forms : Forms
        Of these encoders.
    candidates : dict of lists
        Columns kind, members, alpha, error and share.
    error : float
        Of the average, on rows left out.
    predictions : ndarray of shape (n, q)
        Of the average, each row by models that have not seen it.
    """

    encoders: np.ndarray
    forms: Forms
    candidates: dict
    error: float
    predictions: np.ndarray


def evaluate_form(p, linear, pairs):
    """Return the values (n, q) of a form (q, k), (q, k, k) at bit probabilities (n, k)."""
    c = p - 0.5
    crossed = [((c @ form) * c).sum(1) for form in pairs]
    return c @ linear.T + np.column_stack(crossed)


class Selector:
    """Builds candidates on trained encoders and averages the best.

    Parameters
    ----------
    copies : list of {ndarray, CSR matrix} of shape (n, d)
    models : FoldModels
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,)
    n_best : int
        Encoders whose codes a readout shares.
    seed : int
        Of the centres of readouts, where rows are many.
    """

    def __init__(self, copies, models, Y, weights, folds, n_best, seed):
        self.copies, self.models = copies, models
        self.Y, self.weights, self.folds = Y, weights, folds
        self.n_best, self.seed = n_best, seed
        self.n_folds, self.n_scalers, self.n_strengths = models.coef.shape[:3]

    def select(self):
        """Return the ``Selection``."""
        nets = [(s, c) for s in range(self.n_scalers) for c in range(self.n_strengths)]
        predictions = [self._net_predictions(net) for net in nets]
        errors = [self._error(values) for values in predictions]
        groups = self._groups(nets, errors)
        candidates = [("net", (net,), None) for net in nets]
        for group in groups:
            candidates += [("ridge", group, alpha) for alpha in ALPHAS]
            predictions += list(self._ridge_predictions(group))
        predictions = np.array(predictions)
        shares, error = greedy_average(predictions, self.Y, self.weights, _N_PICKS)
        columns = {
            "kind": [kind for kind, _, _ in candidates],
            "members": [members for _, members, _ in candidates],
            "alpha": [alpha for _, _, alpha in candidates],
            "error": [self._error(values) for values in predictions],
            "share": shares.tolist(),
        }
        encoders, forms = self._combine(candidates, shares)
        average = np.tensordot(shares, predictions, 1)
        return Selection(encoders, forms, columns, error, average)

    def _error(self, predictions):
        squares = np.square(predictions - self.Y).mean(1)
        return float(np.average(squares, weights=self.weights))

    def _probabilities(self, fold, net, rows):
        """Bit probabilities (m, k) of rows by the encoder of a fold."""
        index = (fold, *net)
        logits = safe_sparse_dot(
            self.copies[net[0]][rows], self.models.coef[index].T, dense_output=True
        )
        return expit(logits + self.models.intercept[index])

    def _net_predictions(self, net):
        """Predictions (n, q) of every row by the model that has not seen it."""
        out = np.empty_like(self.Y)
        for fold in range(self.n_folds):
            rows, index = np.flatnonzero(self.folds == fold), (fold, *net)
            p = self._probabilities(fold, net, rows)
            values = evaluate_form(p, self.models.linear[index], self.models.pairs[index])
            out[rows] = values + self.models.bias[index]
        return out

    def _groups(self, nets, errors):
        """Return the best nets: of each scaler, and of all together."""
        ranked = [nets[i] for i in np.argsort(errors, kind="stable")]
        groups = [tuple(sorted(ranked[: self.n_best]))]
        for scaler in range(self.n_scalers):
            best = [net for net in ranked if net[0] == scaler][: self.n_best]
            groups.append(tuple(sorted(best)))
        return list(dict.fromkeys(groups))

    def _kernel(self, folds, members):
        """Return the mean kernel of encoders as a function of two arrays of row numbers."""

        def kernel(rows, centres):
            total = np.zeros((len(rows), len(centres)))
            for fold in folds:
                for net in members:
                    P = self._probabilities(fold, net, rows)
                    same = rows is centres
                    Q = P if same else self._probabilities(fold, net, centres)
                    total += form_kernel(P, Q)
            total /= len(folds) * len(members)
            return total

        return kernel

    def _ridge_predictions(self, group):
        """Predictions (a, n, q) of every row for every penalty, by a readout of other rows."""
        out = np.empty((len(ALPHAS), *self.Y.shape))
        for fold in range(self.n_folds):
            kernel = self._kernel([fold], group)
            path, centres = self._path(kernel, np.flatnonzero(self.folds != fold), ALPHAS)
            rows = np.flatnonzero(self.folds == fold)
            K = kernel(rows, centres)
            for number, (dual, intercept) in enumerate(zip(*path)):
                out[number, rows] = K @ dual + intercept
        return out

    def _path(self, kernel, rows, alphas):
        Y, weights = self.Y[rows], self.weights[rows]
        return ridge_path(kernel, rows, Y, weights, alphas, self.seed)

    def _combine(self, candidates, shares):
        """Return the encoders in use and the forms that the average amounts to."""
        totals, bias = {}, np.zeros(self.Y.shape[1])
        for (kind, members, _), share in zip(candidates, shares):
            if kind == "net" and share:
                for fold in range(self.n_folds):
                    index = (fold, *members[0])
                    part = share / self.n_folds
                    bias += part * self.models.bias[index]
                    forms = self.models.linear[index], self.models.pairs[index]
                    _add(totals, index, *(part * form for form in forms))
        for group in dict.fromkeys(m for kind, m, _ in candidates if kind == "ridge"):
            chosen = [
                (alpha, share)
                for (kind, members, alpha), share in zip(candidates, shares)
                if kind == "ridge" and members == group and share
            ]
            if chosen:
                bias += self._add_readout(totals, group, *np.transpose(chosen))
        encoders = np.array(sorted(totals))
        linear, pairs = (np.array(part) for part in zip(*(totals[tuple(e)] for e in encoders)))
        return encoders, Forms(bias, linear, pairs)

    def _add_readout(self, totals, group, alphas, shares):
        """Solve a group's readout on all rows, add it to the forms, return its bias."""
        folds = range(self.n_folds)
        kernel = self._kernel(folds, group)
        path, centres = self._path(kernel, np.arange(len(self.Y)), alphas)
        dual = np.tensordot(shares, path.dual, 1) / (self.n_folds * len(group))
        for fold in folds:
            for net in group:
                c = self._probabilities(fold, net, centres) - 0.5
                pairs = np.array([(c.T * column) @ c for column in dual.T])
                # Large coefficients that cancel leave the two halves equal up to rounding.
                pairs = (pairs + pairs.swapaxes(1, 2)) / 2
                pairs[:, np.arange(c.shape[1]), np.arange(c.shape[1])] = 0
                _add(totals, (fold, *net), dual.T @ c, pairs)
        return shares @ path.intercept


def _add(totals, index, linear, pairs):
    if index in totals:
        linear, pairs = totals[index][0] + linear, totals[index][1] + pairs
    totals[index] = linear, pairs
