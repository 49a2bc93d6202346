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
    codes : list of {EncoderCode, SplitCode}
    n_rows, n_folds : int
    seed : int
        Of the centres.

    Attributes
    ----------
    folds : ndarray of shape (J,) of int
        Of each code.
    centres : ndarray of int
    kernels : ndarray of shape (K, n, m)
        Summed over the codes of each fold, of features less their means over the centres.
    features : list of ndarray of shape (m, D)
        Of the centres, less these means, of each code.
    means : list of ndarray of shape (D,)
    """

    def __init__(self, codes, n_rows, n_folds, seed):
        self.codes, self.folds = codes, np.array([code.fold for code in codes])
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
        return self.kernels.shape[1] * sum(len(code.thresholds) for code in self.codes)

    @property
    def n_left(self):
        """Passes that have not been answered yet."""
        sizes = [len(self.centres), *map(len, self._parts)]
        of_parts = [n_rows * len(code.thresholds) for code in self.codes for n_rows in sizes]
        return sum(of_parts[self._n_done :]) - self._asked.n_answered

    def gather(self, features, copies, report):
        """Ask the device for what is not there yet.

        Parameters
        ----------
        features : dict of int to OPURandomFeatures
            Fitted, for codes of each length.
        copies : list of {ndarray, CSR matrix} of shape (n, d)
            The rows by each scaler.
        report : callable
            Given the passes of each part.
        """
        for number in range(self._n_done, len(self.codes) * (1 + len(self._parts))):
            place, part = divmod(number, 1 + len(self._parts))
            code = self.codes[place]
            rows = self.centres if part == 0 else self._parts[part - 1]
            p = code.probabilities(copies, rows)
            Phi = self._asked.of(features[code.n_bits], p, code.thresholds)
            with uninterrupted():
                self._add(place, rows, np.asarray(Phi), is_first=part == 0)
                self._n_done, self._asked = number + 1, MeanFeatures()
            report(len(rows) * len(code.thresholds))

    def _add(self, place, rows, Phi, is_first):
        if is_first:
            self.means.append(Phi.mean(axis=0))
            self.features.append(Phi - self.means[place])
        centred = self.features[place] if is_first else Phi - self.means[place]
        centres = self.features[place].astype(np.float64)
        own = centres if is_first else centred.astype(np.float64)
        self.kernels[self.folds[place]][rows] += own @ centres.T
