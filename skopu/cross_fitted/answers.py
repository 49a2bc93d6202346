"""What a device answers to codes of the training rows, gathered so that a fault costs nothing."""

import numpy as np
from sklearn.utils import gen_batches

from skopu._core.interrupts import uninterrupted
from skopu.end_to_end.averaging import MeanFeatures
from skopu.ridge.held_out import MAX_ROWS, N_CENTRES

_CHUNK_ROWS = 1024


class Answers:
    """Features of the rows by several codes, as kernels with some of the rows.

    All rows are centres up to 4096 of them, else 2048. Of centres the features are kept, of other
    rows their kernels with the centres of each fold's codes, so that memory does not grow with
    rows times features.

    Parameters
    ----------
    encoders : ndarray of shape (J, 3)
        Fold, scaler and strength of each code.
    n_rows, n_folds : int
    thresholds : list of ndarray of shape (S, k)
        Of each code.
    seed : int
        Of the centres.

    Attributes
    ----------
    centres : ndarray of int
    kernels : ndarray of shape (K, n, m)
        Summed over the codes of each fold, of features less their means over the centres.
    features : list of ndarray of shape (m, D)
        Of the centres, less these means, of each code.
    means : list of ndarray of shape (D,)
    """

    def __init__(self, encoders, n_rows, n_folds, thresholds, seed):
        self.encoders, self.thresholds = encoders, thresholds
        self.centres = np.arange(n_rows)
        if n_rows > MAX_ROWS:
            drawn = np.random.default_rng(seed).choice(n_rows, N_CENTRES, replace=False)
            self.centres = np.sort(drawn)
        rest = np.setdiff1d(np.arange(n_rows), self.centres, assume_unique=True)
        self._parts = [rest[batch] for batch in gen_batches(len(rest), _CHUNK_ROWS)]
        self.kernels = np.zeros((n_folds, n_rows, len(self.centres)))
        self.features, self.means = [], []
        self._n_done, self._asked = 0, MeanFeatures()

    @property
    def n_passes(self):
        """Passes of all codes and rows together."""
        return self.kernels.shape[1] * sum(map(len, self.thresholds))

    def gather(self, features, probabilities_of, report):
        """Ask the device for what is not there yet.

        Parameters
        ----------
        features : OPURandomFeatures
            Fitted.
        probabilities_of : callable
            From (code, rows) to bit probabilities (m, k).
        report : callable
            Given the passes of each part.
        """
        for number in range(self._n_done, len(self.encoders) * (1 + len(self._parts))):
            code, part = divmod(number, 1 + len(self._parts))
            rows = self.centres if part == 0 else self._parts[part - 1]
            thresholds = self.thresholds[code]
            Phi = self._asked.of(features, probabilities_of(code, rows), thresholds)
            with uninterrupted():
                self._add(code, rows, np.asarray(Phi), is_first=part == 0)
                self._n_done, self._asked = number + 1, MeanFeatures()
            report(len(rows) * len(thresholds))

    def _add(self, code, rows, Phi, is_first):
        if is_first:
            self.means.append(Phi.mean(axis=0))
            self.features.append(Phi - self.means[code])
        centred = self.features[code] if is_first else Phi - self.means[code]
        centres = self.features[code].astype(np.float64)
        own = centres if is_first else centred.astype(np.float64)
        self.kernels[self.encoders[code, 0]][rows] += own @ centres.T
