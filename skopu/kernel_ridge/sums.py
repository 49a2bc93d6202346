"""Sums of features over pieces of rows, and the readouts solved from them.

A piece is (Phi, Y, weights): features (n, D) of rows, their targets (n, q), their weights (n,).
"""

import warnings
from copy import copy
from itertools import islice

import numpy as np

from skopu._core.chunks import Portions
from skopu._core.places import place_of
from skopu.exceptions import InterruptedFitWarning
from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.systems import FeatureSystem


def reader(chunks):
    """Return a function that starts an iteration, and whether it can do so again."""
    if callable(chunks):
        return chunks, True
    return lambda: iter(chunks), iter(chunks) is not chunks


class RidgeSums:
    """Normal equations in the making.

    Parameters
    ----------
    gram : str
        As in ``NormalEquations``.
    fit_intercept : bool
    verbose : int
        Above 0: progress bars.
    equations : NormalEquations or None, default=None
        Sums of earlier rows to go on from; they stay as they are.
    keep : callable
        Given the equations when there is a first piece to add, and before it is.

    Attributes
    ----------
    equations : NormalEquations
    """

    def __init__(self, gram, fit_intercept, verbose, equations=None, *, keep):
        self.fit_intercept, self.verbose = fit_intercept, verbose
        self.equations = NormalEquations(gram) if equations is None else copy(equations)
        self._n_pieces, self._keep = 0, keep

    def add(self, pieces, n_rows=None):
        """Add pieces; what came before an interruption is kept, if it is anything.

        Parameters
        ----------
        pieces : iterable of pieces
        n_rows : int or None
            For the progress bar.

        Returns
        -------
        self : RidgeSums
        """
        with self._bar("summing the normal equations", n_rows) as bar:
            try:
                for Phi, Y, weights in pieces:
                    if not self._n_pieces:
                        self._keep(self.equations)
                    self._add(Phi, Y, weights)
                    del Phi  # before the next features are made
                    self._n_pieces += 1
                    bar.update(len(Y))
            except KeyboardInterrupt:
                if not self.equations.n_rows:
                    raise
                _warn(
                    f"fit interrupted after {self.equations.n_rows} rows: the readout is solved "
                    "from these."
                )
        return self

    def _add(self, Phi, Y, weights):
        portions = Portions(place_of(Phi), len(Y))
        portions.run(
            lambda rows: self.equations.add(Phi[rows], Y[rows], weights[rows]), slice(0, len(Y))
        )

    def solve(self, alpha, errors_of=None, pieces=None):
        """Return the ``Solution``.

        The rows may have taken hours: an interruption while it is solved is a reason to hurry,
        not to throw them away. It is solved again without the pass for leave-one-out errors; a
        second interruption ends the fit, and the model keeps the sums.

        Parameters
        ----------
        alpha : Alpha
        errors_of : callable or None
            As ``Alpha.solve`` takes it: see ``rereading``.
        pieces : list of pieces, or None
            Those that are in memory, if they are all.
        """
        if not self.equations.n_rows:
            raise ValueError("there are no rows to fit: the chunks are empty.")
        try:
            return alpha.solve(self._system(), errors_of, pieces)
        except KeyboardInterrupt:
            hurried = " with alpha by generalised cross-validation" if alpha.is_chosen else ""
            _warn(
                f"fit interrupted while it was solved: it is solved all the same{hurried}. Another "
                "Ctrl-C ends it; the sums stay with the model, and its solve() goes on from them."
            )
            return alpha.solve(self._system(), pieces=pieces)

    def rereading(self, make_pieces):
        """Return what gives the leave-one-out errors of the pieces that were added.

        Parameters
        ----------
        make_pieces : callable
            Starts an iteration over the same pieces.
        """

        def errors_of(scan):
            pieces = islice(make_pieces(), self._n_pieces)
            return self.sum_errors(scan, pieces, self.equations.n_rows)

        return errors_of

    def sum_errors(self, scan, pieces, n_rows=None):
        """Return the summed errors (a,) of a ``LeaveOneOut`` over pieces."""
        sums = np.zeros(len(scan.alphas))
        with self._bar("leaving one out", n_rows) as bar:
            for Phi, Y, weights in pieces:
                sums += scan.errors(Phi, Y, weights)
                del Phi
                bar.update(len(Y))
        return sums

    def _system(self):
        return FeatureSystem(self.equations, self.fit_intercept)

    def _bar(self, description, n_rows):
        # Loaded here, so that importing the package stays light.
        from tqdm.auto import tqdm

        return tqdm(
            total=n_rows, disable=not self.verbose, desc=description, unit="row", unit_scale=True
        )


def merge_sums(parts):
    """Return the ``NormalEquations`` of all parts together."""
    merged = NormalEquations(parts[0].gram_kind)
    for part in parts:
        merged.merge(part)
    return merged


def _warn(message):
    warnings.warn(message, InterruptedFitWarning, stacklevel=3)
