"""The draws of a fit, and how many there are to be."""

import numpy as np

from skopu._core.random import dither, double_dither
from skopu.end_to_end.averaging import MeanFeatures
from skopu.exceptions import IncompatiblePartsError, PassBudgetError

# With n_draws="auto": two halves of the first draws show the variance of their average, which is
# let be where it is no more than such a share of the leave-one-out error.
_HALF_OF_FIRST, _MOST, _SHARE_LET_BE = 5, 80, 0.1


def first_draws(n_draws):
    """Return the number of draws that every fit makes."""
    return 2 * _HALF_OF_FIRST if n_draws == "auto" else n_draws


def check_choice(ridge):
    """Raise if a ridge has no error that the variance of draws could be compared with."""
    if not isinstance(ridge.alpha, str):
        raise IncompatiblePartsError(
            "n_draws='auto' compares the variance of the draws with the leave-one-out error of the "
            f"ridge, which has none for alpha={ridge.alpha!r}: use alpha='loo', or give a number "
            "of draws."
        )


class Draws:
    """The draws of a fit: their thresholds, and the features of the rows averaged over them.

    They may be doubled. The answers so far outlive a fault, and each method goes on where one
    ended it.

    Parameters
    ----------
    n_draws : int or "auto"
        S; "auto": that of the beginning, and two halves of it.
    n_bits : int
    seed : int
    """

    def __init__(self, n_draws, n_bits, seed):
        self._seed, self._in_halves = seed, n_draws == "auto"
        n_draws = _HALF_OF_FIRST if self._in_halves else n_draws
        # In one assignment, always: Ctrl-C finds all of them new or all of them old.
        self._state = dither(n_draws, n_bits, seed), None, None, MeanFeatures()

    @property
    def thresholds(self):
        """A bit of draw s is 1 where its probability exceeds row s; shape (S, k)."""
        return self._state[0]

    def features(self, features, probabilities, thresholds):
        """Return the features (n, D) averaged over all draws, of ``thresholds`` if there is one."""
        own, mean, last, under_way = self._state
        if mean is None:
            mean = under_way.of(features, probabilities, thresholds)
            self._state = own, mean, last, MeanFeatures()
        if self._in_halves and last is None:
            mean = self.double(features, probabilities)
        return mean

    def double(self, features, probabilities):
        """Draw as often again; return the features averaged over all draws by now."""
        own, mean, _, under_way = self._state
        more = double_dither(own, [self._seed, len(own)])
        last = under_way.of(features, probabilities, more)
        self._state = np.concatenate([own, more]), (mean + last) / 2, last, MeanFeatures()
        return self._state[1]

    def are_too_few(self, ridge, device, n_passes):
        """Whether their variance asks for as many again, which takes so many passes.

        Not if the device has not as many.
        """
        if not self._in_halves or 2 * len(self.thresholds) > _MOST:
            return False
        if self._variance(ridge._read_out) <= _SHARE_LET_BE * ridge.loo_error_:
            return False
        try:
            device.check_passes(n_passes)
        except PassBudgetError:
            return False
        return True

    def _variance(self, read_out):
        """Return the mean over rows and outputs of the variance of a linear readout's averages.

        From the two halves that the last doubling has put together: half their difference is what
        the average and either of them differ by.
        """
        _, mean, last, _ = self._state
        return float(np.mean((read_out(mean) - read_out(last)) ** 2))
