"""Ridge readouts of more rows than memory holds: from chunks, from calls, from a cluster."""

import warnings
from copy import deepcopy
from itertools import islice

import numpy as np
from sklearn.utils import gen_batches

from skopu._core.dask import RowBlocks
from skopu.exceptions import InterruptedFitWarning
from skopu.kernel_ridge.features import OPUFeatures, is_opu_features
from skopu.ridge.leave_one_out import LeaveOneOut
from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.solvers import solve
from skopu.ridge.systems import FeatureSystem


def reader(chunks):
    """Return a function that starts an iteration, and whether it can do so again."""
    if callable(chunks):
        return chunks, True
    return lambda: iter(chunks), iter(chunks) is not chunks


class StreamingMixin:
    """Sums of features a chunk at a time, and the readouts solved from them.

    A piece is (Phi, Y, weights): features of rows, their targets (n, q), their weights.
    """

    def _sum_and_solve(self, make_pieces, n_rows=None):
        """Solve from pieces; ``make_pieces()`` starts an iteration over them."""
        equations = NormalEquations(self.gram)
        n_pieces = self._sum(equations, make_pieces(), n_rows)
        if not equations.n_rows:
            raise ValueError("there are no rows to fit: the chunks are empty.")

        def leave_one_out(scan):
            pieces = islice(make_pieces(), n_pieces)
            return self._sum_errors(scan, pieces, equations.n_rows)

        self._solve_sums(equations, leave_one_out)
        return equations

    def _solve_sums(self, equations, leave_one_out):
        """Set the readout; ``leave_one_out`` sums the errors of a ``LeaveOneOut`` over rows."""
        alpha = self._check_alpha(equations.n_targets)
        if isinstance(alpha, str):
            system = FeatureSystem(equations, self.fit_intercept)
            scan = LeaveOneOut(system, self._check_alphas())
            choice = scan.choose(scan.gcv() if alpha == "gcv" else leave_one_out(scan))
            self.alpha_, self._readout = choice.alpha, choice.readout
            self.loo_error_ = float(choice.errors.min())
        else:
            self.alpha_ = alpha
            self._readout = solve(FeatureSystem(equations, self.fit_intercept), alpha)

    def _fit_rows(self, X, Y, weights, rows):
        """Solve from ``X[rows]``; features that fit a chunk are made once, though read twice."""
        n_rows = len(weights)

        def make_pieces():
            return self._pieces(X, Y, weights, rows)

        if n_rows <= self._n_chunk_rows(self._n_columns(X)):
            pieces = list(make_pieces())
            self._sum_and_solve(lambda: pieces, n_rows)
        else:
            self._sum_and_solve(make_pieces, n_rows)

    def _pieces(self, X, Y, weights, rows=slice(None)):
        """Yield pieces of validated ``X[rows]``, ``Y[rows]``, as long as a chunk may be."""
        for part in gen_batches(len(weights), self._n_chunk_rows(self._n_columns(X))):
            chosen = part if isinstance(rows, slice) else rows[part]
            yield self._features(X[chosen]), Y[chosen], weights[part]

    def _sum(self, equations, pieces, n_rows=None):
        """Add pieces to the equations and return how many; an interruption ends it early."""
        n_pieces = 0
        with self._bar("summing the normal equations", n_rows) as bar:
            try:
                for Phi, Y, weights in pieces:
                    equations.add(Phi, Y, weights)
                    del Phi  # before the next features are made
                    n_pieces += 1
                    bar.update(len(Y))
            except KeyboardInterrupt:
                if not (equations.n_rows and equations.is_whole):
                    raise
                warnings.warn(
                    f"fit interrupted after {equations.n_rows} rows: the readout is solved from "
                    "these.",
                    InterruptedFitWarning,
                    stacklevel=2,
                )
        return n_pieces

    def _sum_errors(self, scan, pieces, n_rows=None):
        """Sum the leave-one-out errors of all penalties over the pieces."""
        sums = np.zeros(len(scan.alphas))
        with self._bar("leaving one out", n_rows) as bar:
            for Phi, Y, weights in pieces:
                sums += scan.errors(Phi, Y, weights)
                del Phi
                bar.update(len(Y))
        return sums

    def _bar(self, description, n_rows):
        # Loaded here, so that importing the package stays light.
        from tqdm.auto import tqdm

        return tqdm(
            total=n_rows, disable=not self.verbose, desc=description, unit="row", unit_scale=True
        )

    def _fit_part(self, X, y, sample_weight):
        """Add rows to those of earlier calls, and solve."""
        X, Y, weights = self._check_piece(X, y, sample_weight)
        for piece in self._pieces(X, Y, weights):
            self._equations.add(*piece)
        self._solve_sums(self._equations, None)
        self._publish()
        return self

    def _fit_chunks(self, chunks):
        """Fit to an iterable of chunks, or to what a function returns when called."""
        make_chunks, repeats = reader(chunks)
        if isinstance(self.alpha, str) and self.alpha == "loo" and not repeats:
            raise ValueError(
                "alpha='loo' takes two passes over the chunks, and an iterator has one: pass a "
                "list, or a function that returns a new iterator, or use alpha='gcv'."
            )
        vars(self).pop("_equations", None)

        def make_pieces():
            for chunk in make_chunks():
                yield from self._pieces(*self._check_piece(*chunk))

        self._equations = self._sum_and_solve(make_pieces)
        self._publish()
        return self

    def _check_piece(self, X, y, sample_weight=None):
        """Validate rows; the first ones decide the kernel and train what precedes the readout."""
        is_first = not hasattr(self, "_equations")
        if is_first:
            self._resolve_kernel(X)
            self._refuse_precomputed()
        X, y, Y, weights = self._check_rows(X, y, sample_weight, reset=is_first)
        if is_first:
            self._check_alpha(Y.shape[1])
            kept = slice(None) if (weights > 0).all() else weights > 0
            self._fit_features(X[kept], y[kept], weights[kept])
            self._equations, self._n_outputs = NormalEquations(self.gram), Y.shape[1]
        elif Y.shape[1] != self._n_outputs:
            raise ValueError(
                f"y has {Y.shape[1]} target(s) in this chunk and had {self._n_outputs} in the "
                "first one."
            )
        return X, Y, weights

    def _fit_blocks(self, X, y, sample_weight):
        """Fit to dask arrays, the sums being made where their blocks are."""
        blocks = RowBlocks(X, y, sample_weight)
        vars(self).pop("_equations", None)
        first, *rest = blocks.first()
        # A computed block may have lost the type that says where it comes from.
        self._check_piece(first.view(OPUFeatures) if is_opu_features(X) else first, *rest)
        model = deepcopy(self)
        equations = blocks.reduce(_sum_block, _merge, model)

        def leave_one_out(scan):
            return blocks.reduce(_sum_block_errors, sum, model, scan)

        self._solve_sums(equations, leave_one_out)
        if self.kernel_ == "opu":
            # The workers' devices are copies, and counted for themselves.
            n_reads = 1 if np.ndim(self.alpha) or self.alpha != "loo" else 2
            self.features_.opu_.n_passes += n_reads * equations.n_rows
        self._equations = equations
        self._publish()
        return self

    def _refuse_precomputed(self):
        if self.kernel_ == "precomputed":
            raise ValueError(
                "kernel='precomputed' needs the kernel of all rows at once: use fit with arrays, "
                "or another kernel."
            )


def _sum_block(model, X, y, weights):
    """Equations of one block."""
    equations = NormalEquations(model.gram)
    model._sum(equations, _block_pieces(model, X, y, weights))
    return equations


def _sum_block_errors(model, scan, X, y, weights):
    """Leave-one-out errors of one block."""
    return model._sum_errors(scan, _block_pieces(model, X, y, weights))


def _block_pieces(model, X, y, weights):
    if len(X):
        yield from model._pieces(*model._check_piece(X, y, weights))


def _merge(parts):
    merged = NormalEquations(parts[0].gram_kind)
    for part in parts:
        merged.merge(part)
    return merged
