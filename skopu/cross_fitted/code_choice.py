"""Which codes go through a device: few, since each costs passes of every row."""

import numpy as np

from skopu.cross_fitted.averaging import N_PICKS, greedy_average


def choose_codes(selector, n_codes):
    """Return the encoders (J, 3) whose codes are shown, at most ``n_codes``.

    Strengths and scalings are those that greedy selection would average, by the encoders' own
    predictions of rows left out: no pass, and no factorisation. The folds take turns with
    them, so that few codes are of different folds, strengths and scalings: on boston, energy and
    yacht eight codes of one strength in eight folds had errors up to twice as large.

    Parameters
    ----------
    selector : Selector
    n_codes : int
    """
    nets = [(s, c) for s in range(selector.n_scalers) for c in range(selector.n_strengths)]
    predictions = np.array([selector.net_predictions(net) for net in nets])
    shares, _ = greedy_average(predictions, selector.targets, selector.weights, N_PICKS)
    chosen = [nets[i] for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    turns = [
        (fold, *chosen[(fold + turn) % len(chosen)])
        for turn in range(len(chosen))
        for fold in range(selector.n_folds)
    ]
    return np.array(turns[:n_codes])
