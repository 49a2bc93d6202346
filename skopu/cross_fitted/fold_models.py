"""What each fold's models say: the ensemble as it would be without the rows of one fold."""

from typing import NamedTuple

import numpy as np

from skopu.forms.quadratic import QuadraticForm


class FoldForms(NamedTuple):
    """The ensemble of each fold, of the same encoders as the whole: each has a fold of its own.

    Attributes
    ----------
    bias : ndarray of shape (K, q)
    linear : ndarray of shape (E, q, k)
    pairs : ndarray of shape (E, q, k, k)
    fold : ndarray of shape (E,) of int
        Which fold each encoder belongs to: it has not seen that fold's rows.
    """

    bias: np.ndarray
    linear: np.ndarray
    pairs: np.ndarray
    fold: np.ndarray


def fold_forms(selector, candidates, shares, readouts, encoders):
    """Return the ``FoldForms`` of an average, which is chosen for all folds alike.

    Parameters
    ----------
    selector : Selector
    candidates : list of Candidate
    shares : ndarray of shape (c,)
    readouts : dict of tuple to GroupReadouts
        By the members of the group.
    encoders : ndarray of shape (E, 3)
        Fold, scaling and strength of each encoder in use.
    """
    n_outputs = selector.Y.shape[1]
    bias, totals = np.zeros((selector.n_folds, n_outputs)), {}
    for candidate, share in zip(candidates, shares):
        takes_part = share and candidate.kind in ("net", "ridge")
        for fold in range(selector.n_folds) if takes_part else ():
            for index, form in _forms(selector, candidate, readouts, fold):
                form = form.scaled(share)
                bias[fold] += form.bias
                totals[index] = totals[index].plus(form) if index in totals else form
    forms = QuadraticForm(*map(np.array, zip(*(totals[tuple(index)] for index in encoders))))
    return FoldForms(bias, forms.linear, forms.pairs, encoders[:, 0].copy())


def _forms(selector, candidate, readouts, fold):
    """Yield index and form of the encoders of a candidate in one fold."""
    if candidate.kind == "net":
        index = (fold, *candidate.members[0])
        yield index, selector.models.form(*index)
        return
    readout, centres = readouts[candidate.members].held_out[fold, candidate.alpha]
    share = 1 / len(candidate.members)
    for net in candidate.members:
        c = selector.codes.of(fold, net, centres)
        form = QuadraticForm.from_centred(readout.coef * share, c, readout.intercept * share)
        yield (fold, *net), form
