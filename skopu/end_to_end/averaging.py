"""Averages over draws of the codes: of the features that the readout sees, and of its values."""

import numpy as np

from skopu._core.chunks import CHUNK_ROWS, row_chunks
from skopu.exceptions import DeviceFault
from skopu.kernel_ridge.origin import OPUFeatures


def mean_over_draws(form, probabilities, thresholds):
    """Return the mean over draws, (n, q), of what a form says of codes.

    Parameters
    ----------
    form : QuadraticForm
    probabilities : ndarray of shape (n, k)
        A bit of draw s is 1 where its probability exceeds ``thresholds[s]``.
    thresholds : ndarray of shape (S, k)
    """
    # One draw at a time: the codes of a chunk, as numbers, then stay near the processor.
    return sum(form.mean((probabilities > t).astype(float)) for t in thresholds) / len(thresholds)


class MeanFeatures:
    """Features averaged over draws, all draws of a chunk of rows in one call of the device.

    A call has its price, whatever the number of codes: ten of them made one row eight times as
    dear as ten codes are. What a device has answered is kept, up to the last frame before a
    fault: ``of`` goes on where an exception ended it.
    """

    def __init__(self):
        self._means, self._n_done, self._n_codes = None, 0, 0
        self._frames = None  # of the first codes of the chunk that a fault cut short

    @property
    def n_answered(self):
        """Passes that have been answered."""
        return self._n_codes + (0 if self._frames is None else len(self._frames))

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
        n_rows = len(probabilities)
        if self._means is None:
            self._means = np.empty((n_rows, features._n_features_out), dtype=np.float32)
        chunks = list(row_chunks(n_rows, max(1, CHUNK_ROWS // len(thresholds))))
        for rows in chunks[self._n_done :]:
            codes = (probabilities[rows] > thresholds[:, None]).view(np.uint8)
            self._means[rows] = self._average(features, codes)
            self._n_done, self._n_codes = self._n_done + 1, self._n_codes + codes[..., 0].size
        return self._means.view(OPUFeatures)

    def _average(self, features, codes):
        """Average (m, D) over the draws of codes (S, m, k), summed in their order."""
        flat = codes.reshape(-1, codes.shape[-1])
        draws = features._of_frames(flat, self._ask(features, flat), features.gamma_)
        first, *others = draws.reshape(*codes.shape[:2], -1)
        for draw in others:
            first += draw
        return first / np.float32(len(codes))

    def _ask(self, features, codes):
        """Frames of codes, of which some may have been answered before a fault."""
        kept = [] if self._frames is None else [self._frames]
        try:
            frames = features._frames(codes[sum(map(len, kept)) :])
        except DeviceFault as fault:
            answered = kept if fault.partial is None else [*kept, fault.partial]
            self._frames = np.concatenate(answered) if answered else None
            raise
        self._frames = None
        return np.concatenate([*kept, frames]) if kept else frames
