"""The features that the readout sees: averages over draws of the codes."""

import numpy as np

from skopu._core.chunks import row_chunks
from skopu.kernel_ridge.features import OPUFeatures


class MeanFeatures:
    """Features averaged over draws, a chunk of rows of one draw at a time.

    What a device has answered is kept: ``of`` goes on where an exception ended it.
    """

    def __init__(self):
        self._total, self._n_done = None, 0

    def of(self, features, probabilities, thresholds):
        """Return the average over thresholds (S, k) of the features of codes, (n, D).

        Parameters
        ----------
        features : OPURandomFeatures
            Fitted.
        probabilities : ndarray of shape (n, k)
            A bit of draw s is 1 where its probability exceeds ``thresholds[s]``.
        thresholds : ndarray of shape (S, k) or (S, 1)
        """
        n_samples = len(probabilities)
        if self._total is None:
            shape = n_samples, features.n_components
            self._total = np.zeros(shape, dtype=np.float32)
        pieces = [(t, rows) for t in thresholds for rows in row_chunks(n_samples)]
        for threshold, rows in pieces[self._n_done :]:
            codes = (probabilities[rows] > threshold).view(np.uint8)
            self._total[rows] += np.asarray(features.transform(codes))
            self._n_done += 1
        return (self._total / np.float32(len(thresholds))).view(OPUFeatures)
