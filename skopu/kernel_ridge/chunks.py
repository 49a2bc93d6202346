"""Kernel ridge of more rows than memory holds: from chunks, from calls, from a cluster.

The functions fit a model, an ``OPURidge``, and set its attributes as its ``fit`` does; beside
these ``_equations_``, the sums of the rows so far.
"""

from copy import deepcopy

import numpy as np

from skopu._core.dask import RowBlocks
from skopu._core.places import rows_of
from skopu.kernel_ridge.dual import KERNEL_NAMES
from skopu.kernel_ridge.origin import OPUFeatures, is_opu_features
from skopu.kernel_ridge.sums import merge_sums, reader
from skopu.kernel_ridge.unsolved import system_of, take_up
from skopu.ridge.normal_equations import NormalEquations


def can_stream(model):
    """Whether a model can be fitted in parts; for ``available_if``."""
    reason = _why_at_once(model)
    if reason:
        raise AttributeError(reason)
    return True


def _why_at_once(model):
    """Return why a model needs all rows at once; empty if it does not."""
    kernel = model.kernel
    if kernel == "rbf" and model.kernel_approximation is None:
        return (
            "kernel='rbf' with kernel_approximation=None needs the kernel of all rows at once: use "
            "fit with arrays, or kernel_approximation='auto' or 'fourier'."
        )
    if callable(kernel) or kernel in {"precomputed", *KERNEL_NAMES} - {"linear", "rbf"}:
        return (
            f"kernel={getattr(kernel, '__name__', repr(kernel))} needs the kernel of all rows at "
            "once: use fit with arrays, or kernel='opu', 'linear' or 'rbf'."
        )
    return ""


def fit_chunks(model, chunks):
    """Fit to an iterable of chunks, or to what a function returns when called."""
    make_chunks, can_repeat = reader(chunks)
    intake = Intake(model)

    def make_pieces():
        for chunk in make_chunks():
            yield from intake.pieces(*chunk)

    sums = model._sums().add(make_pieces())
    _finish(model, sums, sums.rereading(make_pieces) if can_repeat else None)


def fit_part(model, X, y, sample_weight):
    """Add rows to those of earlier calls, and solve."""
    earlier = getattr(model, "_equations_", None)
    pieces = Intake(model, earlier).pieces(X, y, sample_weight)
    _finish(model, model._sums(earlier).add(pieces))


def fit_blocks(model, X, y, sample_weight):
    """Fit to dask arrays, the sums being made where their blocks are."""
    if reason := _why_at_once(model):
        raise ValueError(reason)
    blocks = RowBlocks(X, y, sample_weight)
    first, *rest = blocks.first()
    intake, sums = Intake(model), model._sums()
    # A computed block may have lost the type that says where it comes from.
    intake.check(first.view(OPUFeatures) if is_opu_features(X) else first, *rest)
    worker = deepcopy(intake)
    sums.equations = blocks.reduce(_sum_block, merge_sums, worker)
    model._keep_rows(sums.equations)
    _finish(model, sums, lambda scan: blocks.reduce(_sum_errors, sum, worker, scan))
    if model.kernel_ == "opu":
        # The workers' devices are copies, and counted for themselves.
        n_reads = 2 if model._alpha(intake.n_targets).takes_rows_again else 1
        model.features_.opu_.count_passes(n_reads * sums.equations.n_rows)


def solve_again(model):
    """Solve from what an earlier call has read, whether it was cut short or not."""
    rows = take_up(model)
    system, n_targets = system_of(rows, model.fit_intercept)
    model._publish(model._alpha(n_targets).solve(system))
    if isinstance(rows, NormalEquations):
        model._equations_ = rows


class Intake:
    """Where chunks of rows become pieces: validated, and made features of.

    The first chunk decides what kind of input comes, and trains what is before the readout.

    Parameters
    ----------
    model : OPURidge
    equations : NormalEquations or None, default=None
        Of earlier rows, whose first chunk has decided.
    """

    def __init__(self, model, equations=None):
        self.model = model
        self.n_targets = None if equations is None else equations.n_targets

    def pieces(self, X, y, sample_weight=None):
        """Yield the pieces of a chunk, no longer than features may be in memory."""
        if sample_weight is not None and not np.any(np.asarray(sample_weight)):
            return  # as if it were not there
        X, Y, weights = self.check(X, y, sample_weight)
        made = self.model._map()
        max_rows = self.model._rows_at_a_time(made, X)
        yield from made.pieces(X, Y, weights, max_rows)

    def check(self, X, y, sample_weight=None):
        """Return validated X, targets (n, q) and weights."""
        model, is_first = self.model, self.n_targets is None
        if is_first:
            model._resolve_kernel(X)
        X, y, Y, weights = model._check_rows(X, y, sample_weight, reset=is_first)
        if is_first:
            model._alpha(Y.shape[1])
            kept = slice(None) if (weights > 0).all() else weights > 0
            model._fit_first(rows_of(X, kept), y[kept], weights[kept])
            self.n_targets = Y.shape[1]
        elif Y.shape[1] != self.n_targets:
            raise ValueError(
                f"y has {Y.shape[1]} target(s) in this chunk and had {self.n_targets} in the "
                "first one."
            )
        return X, Y, weights


def _finish(model, sums, errors_of=None):
    """Solve, set the attributes of the readout, and keep the sums."""
    equations = sums.equations
    alpha = model._alpha(equations.n_targets) if equations.n_rows else None
    model._publish(sums.solve(alpha, errors_of))
    model._equations_ = equations


def _sum_block(intake, X, y, weights):
    """Equations of one block."""
    return intake.model._sums().add(_block_pieces(intake, X, y, weights)).equations


def _sum_errors(intake, scan, X, y, weights):
    """Leave-one-out errors of one block."""
    return intake.model._sums().sum_errors(scan, _block_pieces(intake, X, y, weights))


def _block_pieces(intake, X, y, weights):
    return intake.pieces(X, y, weights) if len(X) else ()
