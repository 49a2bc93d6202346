"""A readout of what a device answers to several codes."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import gen_batches

from skopu.end_to_end.averaging import MeanFeatures
from skopu.ridge.held_out import CentredRidge, FullRidge

# Relative to the trace. The noise of draws and of random features acts as a penalty too, so that
# the smallest of those of closed forms are not needed. Of whole powers of ten alone one is too
# far from the best: halves took boston's error from 1.12 to 1.03 times that of the closed form.
_ALPHAS = 10.0 ** (-np.arange(0, 21) / 2)
_CHUNK_ROWS = 256


class OpticalReadout(NamedTuple):
    """Codes, and what is read from the device's answers to them.

    Attributes
    ----------
    features : dict of int to OPURandomFeatures
        Fitted, for codes of each length.
    codes : list of {EncoderCode, SplitCode}
    coef : ndarray of shape (J, D, q)
    intercept : ndarray of shape (q,)
    fold_coef : ndarray of shape (J, D, q)
        By the rows that its encoder has seen, with the codes of its fold.
    fold_intercept : ndarray of shape (K, q)
        NaN for folds without a code.
    alpha : float
        Relative to the trace of the kernel.
    error : float
        Mean squared error of rows left out, of folds with codes.
    """

    features: dict
    codes: list
    coef: np.ndarray
    intercept: np.ndarray
    fold_coef: np.ndarray
    fold_intercept: np.ndarray
    alpha: float
    error: float

    def outputs(self, copies):
        """Return predictions (n, q) of rows by each scaler; a pass a code and draw."""
        total = np.tile(self.intercept, (copies[0].shape[0], 1))
        for code, rows, Phi in self._ask(copies):
            total[rows] += Phi @ self.coef[code]
        return total

    def outputs_of_folds(self, copies):
        """Return predictions (K, n, q) by each fold's codes and rows, for as many passes."""
        totals = np.repeat(self.fold_intercept[:, None], copies[0].shape[0], axis=1)
        for code, rows, Phi in self._ask(copies):
            totals[self.codes[code].fold, rows] += Phi @ self.fold_coef[code]
        return totals

    def _ask(self, copies):
        """Yield code, rows and features (m, D), as float64."""
        n_shown = sum(len(code.thresholds) for code in self.codes)
        device = self.features[self.codes[0].n_bits].opu_
        device.check_passes(copies[0].shape[0] * n_shown)
        for rows in gen_batches(copies[0].shape[0], _CHUNK_ROWS):
            for number, code in enumerate(self.codes):
                p = code.probabilities(copies, rows)
                Phi = MeanFeatures().of(self.features[code.n_bits], p, code.thresholds)
                yield number, rows, np.asarray(Phi, dtype=np.float64)


class _Kernel:
    """Kernels of rows with centres, by their numbers, of one fold's codes or of all."""

    def __init__(self, values, centres):
        self._values, self._place = values, np.full(len(values), -1)
        self._place[centres] = np.arange(len(centres))

    def between(self, rows, centres):
        """Return the kernel of rows with centres, both given by their numbers."""
        return self._values[np.ix_(rows, self._place[centres])]


def _ridge(values, centres, rows, Y, weights):
    """Return the ridge of rows with those of the centres that are among them."""
    kernel = _Kernel(values, centres)
    if len(centres) == len(values):
        return FullRidge(kernel.between(rows, rows), rows, Y[rows], weights[rows])
    own = np.intersect1d(centres, rows, assume_unique=True)
    return CentredRidge(kernel, rows, own, Y[rows], weights[rows])


class ReadoutFit:
    """The fit of a readout to ``Answers``, its alpha judged on rows that nothing in it has seen.

    Parameters
    ----------
    answers : Answers
        All gathered.
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,) of int

    Attributes
    ----------
    coef, intercept, fold_coef, fold_intercept, alpha, error
        As in ``OpticalReadout``.
    judged : ndarray of int
        Rows of folds with codes.
    predictions : ndarray of shape (len(judged), q)
    """

    def __init__(self, answers, Y, weights, folds):
        self._answers, self._Y, self._weights, self._folds = answers, Y, weights, folds
        self._coded = np.unique(answers.folds)
        self.judged = np.flatnonzero(np.isin(folds, self._coded))
        self.alpha, self.predictions, self.error = self._search()
        self.coef, self.intercept = self._solve(answers.kernels.sum(axis=0), slice(None))
        self.fold_intercept = np.full((len(answers.kernels), Y.shape[1]), np.nan)
        self.fold_coef = np.empty_like(self.coef)
        for fold in self._coded:
            own = np.flatnonzero(answers.folds == fold)
            found = self._readouts[fold, self.alpha]
            self.fold_coef[own], self.fold_intercept[fold] = self._weights_of(*found, own)

    def _search(self):
        """Return the best alpha, predictions of rows left out, and their error.

        From the middle to both sides, as far as it gets better: by whole powers of ten, then by
        their roots.
        """
        self._readouts = {}
        ridges = [(fold, *self._ridge_of(fold)) for fold in self._coded]
        found = {}

        def error(place):
            if place not in found:
                found[place] = self._left_out(ridges, _ALPHAS[place])
            return found[place][1]

        best = len(_ALPHAS) // 2
        error(best)
        for step in (2, -2, 1, -1):
            while 0 <= best + step < len(_ALPHAS):
                if not error(best + step) < error(best):
                    break
                best += step
        return _ALPHAS[best], *found[best]

    def _ridge_of(self, fold):
        """Return a fold's ridge, and the numbers of its rows held out."""
        answers, rows = self._answers, np.flatnonzero(self._folds != fold)
        kernel = answers.kernels[fold]
        return _ridge(kernel, answers.centres, rows, self._Y, self._weights), kernel

    def _left_out(self, ridges, alpha):
        out = np.empty_like(self._Y)
        for fold, ridge, values in ridges:
            readout = ridge.solve(alpha)
            self._readouts[fold, alpha] = readout, ridge.centres
            rows = np.flatnonzero(self._folds == fold)
            kernel = _Kernel(values, self._answers.centres)
            out[rows] = readout.predict(kernel.between(rows, ridge.centres))
        out = out[self.judged]
        squares = np.square(out - self._Y[self.judged]).mean(axis=1)
        return out, float(np.average(squares, weights=self._weights[self.judged]))

    def _solve(self, values, codes):
        rows = np.arange(len(self._Y))
        ridge = _ridge(values, self._answers.centres, rows, self._Y, self._weights)
        return self._weights_of(ridge.solve(self.alpha), ridge.centres, codes)

    def _weights_of(self, readout, centres, codes):
        """Return weights (j, D, q) of features of some codes, and the intercept."""
        answers = self._answers
        places = np.searchsorted(answers.centres, centres)
        intercept, coef = readout.intercept.copy(), []
        for code in np.arange(len(answers.codes))[codes]:
            own = answers.features[code][places].T.astype(np.float64) @ readout.coef
            intercept -= answers.means[code] @ own
            coef.append(own)
        return np.array(coef), intercept
