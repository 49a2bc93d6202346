"""Readouts of several encoders' codes together, judged on rows that neither has seen."""

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.extmath import safe_sparse_dot

from skopu._core.places import HOST, rows_of, to_host
from skopu.forms.kernel import mean_kernel
from skopu.ridge.held_out import ridge_on_rows

# Relative to the trace of the kernel. All of thirteen powers of ten made averages half a per cent
# better (geometric mean of 15 fits to development sets), for four times as many factorisations.
ALPHAS = (1.0, 1e-3, 1e-6, 1e-9, 1e-12)
_FIRST = 1  # where the search begins: 1e-3 and 1e-6
# Single precision tells kernels to 1e-7 of their size: an alpha must stand well above that.
_SMALLEST_IN_SINGLE = 1e-6
_MAX_KEPT_VALUES = 2**26  # of codes, in all folds


class Codes:
    """Bit probabilities less one half of all rows, by the encoders of all folds.

    Parameters
    ----------
    copies : list of {ndarray, CSR matrix} of shape (n, d)
        The inputs by each scaler.
    models : FoldModels
    place : Host, default=HOST
        Where they are computed.
    """

    def __init__(self, copies, models, place=HOST):
        self._inputs, self._models, self._kept = copies, models, {}
        self.copies, self._place = copies, place
        if place.is_card:
            self._inputs = [X if issparse(X) else place.put(X, "float64") for X in copies]
        n_folds, n_scalings, n_strengths, n_bits, _ = models.coef.shape
        n_values = copies[0].shape[0] * n_bits * n_folds * n_scalings * n_strengths
        self._keeps = n_values <= _MAX_KEPT_VALUES

    def of(self, fold, net, rows=slice(None)):
        """Return the codes (m, k), an array, of rows by a fold's encoder (scaling, strength)."""
        return to_host(self.there(fold, net, rows, "float64"))

    def there(self, fold, net, rows, dtype):
        """Return the same where they are computed, of a dtype by its name."""
        index = (fold, *net)
        if not self._keeps:
            return self._place.cast(self._compute(index, rows), dtype)
        if index not in self._kept:
            self._kept[index] = self._compute(index, slice(None))
        return self._place.cast(rows_of(self._kept[index], rows), dtype)

    def _compute(self, index, rows):
        place, inputs = self._place, self._inputs[self._models.scalings[index[1]].scaler]
        X = rows_of(inputs, rows)
        W, b = self._models.coef[index], self._models.intercept[index]
        if issparse(X):
            logits = place.put(safe_sparse_dot(X, W.T, dense_output=True) + b)
        else:
            logits = X @ place.put(W.T)
            logits += place.put(b)
        return place.sigmoid(logits) - 0.5


class GroupKernel:
    """The mean kernel of encoders, as :func:`skopu.ridge.held_out.ridge_on_rows` asks for it.

    Parameters
    ----------
    codes : Codes
    folds : sequence of int
        Whose encoders take part.
    members : sequence of (scaling, strength)
    dtype : str
    """

    def __init__(self, codes, folds, members, dtype):
        self._codes, self._dtype = codes, dtype
        self._encoders = [(fold, net) for fold in folds for net in members]

    def between(self, rows, centres):
        """Return the kernel between rows, by their numbers."""
        return mean_kernel(self._of(rows), self._of(centres))

    def among(self, rows):
        """Return the lower triangle of the kernel of rows, by their numbers."""
        codes = self._of(rows)
        return mean_kernel(codes, codes, is_lower=True)

    def _of(self, rows):
        return [self._codes.there(fold, net, rows, self._dtype) for fold, net in self._encoders]


class GroupReadouts:
    """Readouts of the codes of a group of encoders, in every fold.

    Parameters
    ----------
    codes : Codes
    members : sequence of (scaling, strength)
    Y : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,)
    seed : int
        Of the centres, where rows are many.
    """

    def __init__(self, codes, members, Y, weights, folds, seed):
        self.codes, self.members = codes, members
        self._Y, self._weights, self._folds, self._seed = Y, weights, folds, seed
        self.n_folds, self._parts = folds.max() + 1, {}
        self.held_out = {}  # readout and centres of each fold and alpha tried

    def search(self, error, tell=lambda: None):
        """Return predictions (n, q) of every row for each alpha tried, by readouts of other rows.

        Parameters
        ----------
        error : callable
            From predictions to what is to be small. Beyond the better of two alphas the next one
            is tried, for as long as it is better still.
        tell : callable
            Called after each alpha.

        Returns
        -------
        found : dict of float to ndarray
        """
        found = {}

        def try_out(alpha):
            found[alpha] = self.left_out(alpha)
            tell()
            return error(found[alpha])

        best, other = map(try_out, ALPHAS[_FIRST : _FIRST + 2])
        further = ALPHAS[:_FIRST][::-1]
        if other < best:
            best, further = other, ALPHAS[_FIRST + 2 :]
        for alpha in further:
            new = try_out(alpha)
            if not new < best:
                break
            best = new
        self._parts = {}
        return found

    def solve(self, alphas, shares):
        """Return the dual coefficients (m, q), intercept and centres of a mixture of alphas.

        Its readouts learn from all rows, with the mean kernel of the encoders of all folds.
        """
        kernel = self._kernel(range(self.n_folds), _dtype(min(alphas)))
        rows = np.arange(len(self._Y))
        ridge = ridge_on_rows(kernel, rows, self._Y, self._weights, self._seed)
        readouts = [ridge.solve(alpha) for alpha in alphas]
        dual = sum(share * readout.coef for share, readout in zip(shares, readouts))
        intercept = sum(share * readout.intercept for share, readout in zip(shares, readouts))
        return dual, intercept, ridge.centres

    def _kernel(self, folds, dtype):
        """Return the kernel of the codes of some folds."""
        return GroupKernel(self.codes, folds, self.members, dtype)

    def left_out(self, alpha):
        """Return predictions (n, q) of every row by the readout of other rows."""
        out = np.empty_like(self._Y)
        for fold in range(self.n_folds):
            ridge, rows, K = self._part(fold, _dtype(alpha))
            readout = ridge.solve(alpha)
            self.held_out[fold, alpha] = readout, ridge.centres
            out[rows] = readout.predict(K)
        return out

    def _part(self, fold, dtype):
        """Return, and keep, a fold's ridge, its rows held out and their kernel with the centres."""
        if (fold, dtype) not in self._parts:
            kernel = self._kernel([fold], dtype)
            rows = np.flatnonzero(self._folds != fold)
            ridge = ridge_on_rows(kernel, rows, self._Y[rows], self._weights[rows], self._seed)
            held_out = np.flatnonzero(self._folds == fold)
            self._parts.pop((fold, "float32"), None)  # single precision has had its turn
            self._parts[fold, dtype] = ridge, held_out, kernel.between(held_out, ridge.centres)
        return self._parts[fold, dtype]


def _dtype(alpha):
    return "float32" if alpha >= _SMALLEST_IN_SINGLE else "float64"
