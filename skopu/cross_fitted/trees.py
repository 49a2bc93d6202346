"""Codes of trees among the candidates: grown in every fold on the rows that it does not hold out.

Where targets jump, a threshold on a column says what directions say badly. A split bit is read by a
quadratic form, as any code; of leaves, of which a row has one a tree, a readout is a table.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from skopu._core.chunks import cached_chunks
from skopu._core.rows import Rows
from skopu.binarizers.relevance import DEEP_FOREST
from skopu.binarizers.tree_bits import leaf_bits, split_bits
from skopu.cross_fitted.readouts import GroupReadouts
from skopu.forms.kernel import mean_kernel
from skopu.forms.quadratic import QuadraticForm

# Many leaves serve targets that only near rows tell (wine), few those with more noise.
_SPLITS = {"n_bits": 256, "n_estimators": 150, "max_depth": 2, "min_samples_leaf": 5}
_LEAVES = {"n_bits": 2048, "n_estimators": 60, "max_depth": None, "min_samples_leaf": 5}
KINDS = {"splits": _SPLITS, "leaves": _LEAVES, "small leaves": DEEP_FOREST}
# On servo and machine, of 133 and 167 rows, trees lessened 3 of 4 test errors (by up to a quarter).
MIN_ROWS = 100


def splits_for(device):
    """Return the kind that is shown to a device, of no more bits than it takes."""
    limit = device.max_bits or _SPLITS["n_bits"]
    return {"splits": {**_SPLITS, "n_bits": min(_SPLITS["n_bits"], limit)}}


def grow(X, targets, weights, folds, kinds, seed):
    """Return the bits of each kind and fold, without kinds that find nothing to split.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    targets : ndarray of shape (n, q')
        Quantities, or signs of classes; few, since boosting grows trees for each.
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,) of int
    kinds : dict of str to dict
        Settings of each kind.
    seed : int

    Returns
    -------
    bits : dict of str to list of {SplitBits, LeafBits}
    """
    grown = {}
    for kind, settings in kinds.items():
        own = []
        for fold in range(folds.max() + 1):
            kept = np.flatnonzero(folds != fold)
            rows = Rows(X[kept], targets[kept], weights[kept], kept)
            if kind == "splits":
                own.append(split_bits(rows, "squared_error", SimpleNamespace(**settings), seed))
            else:
                own.append(leaf_bits(rows, SimpleNamespace(**settings), seed))
        if all(bits.n_splits for bits in own):
            grown[kind] = own
    return grown


class TreeCodes:
    """Codes of all rows by the trees of one kind, of every fold.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    kind : str
    bits : list of {SplitBits, LeafBits}
        Of each fold.
    """

    def __init__(self, X, kind, bits):
        self.kind, self.bits = kind, bits
        self._kept = [code(kind, own, X) for own in bits]

    def of(self, fold, rows):
        """Return the codes (m, k) of rows by the trees of a fold."""
        return self._kept[fold][rows]


def code(kind, bits, X):
    """Return what a readout takes: bits less one half, or leaves of squared length 1 (CSR)."""
    if kind == "splits":
        return bits.dense(X) - 0.5
    return bits.sparse(X).astype(np.float64) / np.sqrt(len(bits.forest.estimators_))


class _TreeKernel:
    """The mean kernel of the trees of some folds, as ``ridge_on_rows`` asks for it."""

    def __init__(self, codes, folds, dtype):
        self._codes, self._folds, self._dtype = codes, folds, dtype

    def between(self, rows, centres):
        """Return the kernel of rows with centres, both given by their numbers."""
        left, right = (
            [self._codes.of(fold, chosen) for fold in self._folds] for chosen in (rows, centres)
        )
        if self._codes.kind == "splits":
            return mean_kernel(
                [c.astype(self._dtype) for c in left], [c.astype(self._dtype) for c in right]
            )
        # A sum over leaves is one of folds too.
        total = sum((one @ other.T).toarray() for one, other in zip(left, right))
        return (total / len(left)).astype(self._dtype)

    def among(self, rows):
        """Return the kernel of rows with one another."""
        return self.between(rows, rows)


class TreeReadouts(GroupReadouts):
    """Readouts of the trees of one kind, in every fold."""

    def _kernel(self, folds, dtype):
        return _TreeKernel(self.codes, list(folds), dtype)


class TreePart(NamedTuple):
    """What the trees of a fold add to predictions.

    Attributes
    ----------
    kind : str
    fold : int
    bits : SplitBits or LeafBits
    whole : QuadraticForm or ndarray of shape (k, q)
        As a part of the ensemble; its biases are in that of the ensemble.
    own : QuadraticForm or ndarray of shape (k, q)
        As a part of what the models of its fold say.
    """

    kind: str
    fold: int
    bits: Any
    whole: Any
    own: Any


def tree_parts(candidates, shares, readouts):
    """Return the parts of trees in an average, and what they add to its biases.

    Parameters
    ----------
    candidates : list of Candidate
    shares : ndarray of shape (c,)
    readouts : dict of str to TreeReadouts
        By the kind.

    Returns
    -------
    parts : list of TreePart
    bias : ndarray of shape (q,), or 0.0
    fold_bias : ndarray of shape (K, q), or 0.0
    """
    parts, bias, fold_bias = [], 0.0, 0.0
    for kind, own in readouts.items():
        mixture = [(c.alpha, share) for c, share in zip(candidates, shares) if c.kind == kind]
        mixture = [(alpha, share) for alpha, share in mixture if share]
        if not mixture:
            continue
        dual, intercept, centres = own.solve(*zip(*mixture))
        bias = bias + intercept
        found = [_of_fold(own, fold, mixture) for fold in range(own.n_folds)]
        fold_bias = fold_bias + np.array([offset for _, offset in found])
        for fold, (form, _) in enumerate(found):
            whole = _read(own.codes, fold, dual / own.n_folds, centres)
            parts.append(TreePart(kind, fold, own.codes.bits[fold], whole, form))
    return parts, bias, fold_bias


def _of_fold(readouts, fold, mixture):
    """Return a fold's own form or table, and its bias, of a mixture of alphas."""
    total, bias = None, 0.0
    for alpha, share in mixture:
        readout, centres = readouts.held_out[fold, alpha]
        form = _read(readouts.codes, fold, share * readout.coef, centres)
        bias = bias + share * readout.intercept
        if total is None:
            total = form
        else:
            total = total.plus(form) if isinstance(form, QuadraticForm) else total + form
    return total, bias


def _read(codes, fold, dual, centres):
    """Return the form, or table, that dual coefficients of centres amount to."""
    own = codes.of(fold, centres)
    if codes.kind == "splits":
        return QuadraticForm.from_centred(dual, own, np.zeros(dual.shape[1]))
    return own.T @ dual


def predict_part(kind, bits, form, X):
    """Return what a part predicts (n, q) of rows."""
    if kind != "splits":
        return _look_up(bits.places(X), form)
    parts = [form.mean(bits.dense(X[rows])) for rows in cached_chunks(X.shape[0], bits.n_bits)]
    return np.concatenate(parts) if parts else np.empty((0, len(form.bias)))


def _look_up(places, table):
    # Making sparse codes for a product takes longer than this, for a row. Tree by tree, so that its
    # sum is the same to the bit whatever rows are beside it.
    total = np.zeros((len(places), table.shape[1]))
    for leaf in places.T:
        total += table[leaf]
    return total / np.sqrt(places.shape[1])
