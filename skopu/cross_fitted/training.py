"""Exact models on the training parts of cross-validation folds, all as one batched tensor."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skopu._core.interrupts import restoring, uninterrupted
from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs, to_numpy, to_tensor
from skopu.forms.quadratic import QuadraticForm
from skopu.losses import SquaredError
from skopu.training.autograd_loop import AutogradLoop
from skopu.training.encoders import LinearEncoder
from skopu.training.exact import ExactModels
from skopu.training.history import BestState
from skopu.training.optimizers import keep_moments, make_optimizer
from skopu.training.rows import in_advance, minibatches

_MAX_START_ROWS = 1024
# So many minibatches, whatever their size: what counts is how often the weights move, and 300 of
# 128 rows lose a factor of three where targets are smooth. Of 32 rows they take a third of the
# time of 128 but are too noisy for the smoothest (yacht: .0008 for .0005); 64 is between.
_MIN_ITER, _MAX_ITER, _ITER_A_ROW = 1200, 6000, 2 / 3
_MIN_BATCH, _MAX_BATCH, _BATCHES = 64, 128, 64
# Share of the run after which the worst scaling, and strengths of each, are given up. At a sixth of
# it the errors of rows held out do not tell them yet.
_RUNG = 1 / 4
# Scalings that go on after it. All three did no better (on pumadyn32nm, pol and stock the selection
# was the same), and take half as much time again.
_N_SCALINGS = 2
_MAX_JUDGED = 512  # rows held out of a fold that decide about that


class Strength(NamedTuple):
    """What holds a model back: the two penalties and the price of the variance."""

    readout_penalty: float
    encoder_penalty: float
    kappa: float


# From smooth targets to noisy ones. Which is best differs from set to set; averages of the
# better ones beat the best.
STRENGTHS = (
    Strength(1e-3, 1e-4, 0.1),
    Strength(1e-2, 1e-4, 1.0),
    Strength(3e-2, 1e-3, 0.3),
    Strength(1e-2, 1e-2, 0.1),
    Strength(1e-1, 1e-1, 1.0),
)


class FoldModels(NamedTuple):
    """Trained models, as float64 arrays with the axes (fold, scaling, strength) first.

    Attributes
    ----------
    coef : ndarray of shape (K, s, c, k, d)
        W of each encoder, for the inputs as its scaler makes them: weights of columns are in it.
    intercept : ndarray of shape (K, s, c, k)
    bias : ndarray of shape (K, s, c, q)
        Of the quadratic forms, see ``QuadraticForm``; so are the next two.
    linear : ndarray of shape (K, s, c, q, k)
    pairs : ndarray of shape (K, s, c, q, k, k)
    strengths : ndarray of shape (s, c) of int
        Which of the strengths are left, for each scaling.
    scalings : list of Scaling
        Those that are left.
    n_iter : int
    history : dict
    was_cut : bool
        Whether Ctrl-C ended the training.
    """

    coef: np.ndarray
    intercept: np.ndarray
    bias: np.ndarray
    linear: np.ndarray
    pairs: np.ndarray
    strengths: np.ndarray
    scalings: list
    n_iter: int
    history: dict
    was_cut: bool

    def form(self, *index):
        """Return the form of a fold, a scaling and a strength by their places."""
        return QuadraticForm(self.bias[index], self.linear[index], self.pairs[index])


def train_fold_models(scalings, targets, weights, folds, strengths, n_kept, settings, seed):
    """Train one model for every fold, scaling and strength; give up the worse of the latter two.

    Parameters
    ----------
    scalings : list of Scaling
    targets : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    folds : ndarray of shape (n,) of int
        Number of the fold that holds each row out.
    strengths : sequence of Strength
    n_kept : int
        Strengths of each scaling that are not given up.
    settings : object
        With ``n_bits``, ``learning_rate``, ``batch_size``, ``max_iter``, ``torch_device`` and
        ``verbose``.
    seed : int

    Returns
    -------
    models : FoldModels
    """
    start_seed, batch_seed = draw_seeds(seed, 2)
    with restoring(partial(threadpool_limits, 1, user_api="openmp")):
        rows = _FoldRows(scalings, targets, weights, folds, settings, batch_seed)
        models = _start(rows, strengths, settings, start_seed)
        training = _Training(models, rows, len(strengths), n_kept, settings)
        run = training.run()
        return _to_arrays(models, training.strengths, rows.scalings, run)


def _start(rows, strengths, settings, seed):
    """Return the models at their start: folds first, then scalings, then strengths.

    Each has random weights of its own: averages gain from models that differ.
    """
    starts = [part for part in rows.first(_MAX_START_ROWS) for _ in strengths]
    encoders = []
    for part, start_seed in zip(starts, draw_seeds(seed, len(starts))):
        encoders.append(LinearEncoder(part.shape[1], settings.n_bits).to(part))
        encoders[-1].start(part, start_seed)
    repeated = list(strengths) * (rows.n_folds * len(rows.scalings))
    return ExactModels(
        encoders,
        rows.n_outputs,
        SquaredError(),
        kappas=[strength.kappa for strength in repeated],
        encoder_penalties=[strength.encoder_penalty for strength in repeated],
        readout_penalties=[strength.readout_penalty for strength in repeated],
    ).to(resolve_torch_device(settings.torch_device))


class _Training(AutogradLoop):
    """The run of all models, in which the worst scaling and strengths are given up on the way.

    Attributes
    ----------
    strengths : ndarray of shape (s, c) of int
        Those that are left of each scaling.
    """

    description = "training encoders"

    def __init__(self, models, rows, n_strengths, n_kept, settings):
        max_iter = settings.max_iter
        if max_iter == "auto":
            wanted = round(_ITER_A_ROW * rows.n_training)
            max_iter = min(max(_MIN_ITER, wanted), _MAX_ITER)
        super().__init__(
            models,
            make_optimizer(models.groups(settings.learning_rate, settings.learning_rate)),
            rows.is_dense,
            max_iter=max_iter,
            share=rows.batch_size / rows.n_training,
            verbose=settings.verbose,
        )
        self._models, self._rows = models, rows
        self.strengths = np.tile(np.arange(n_strengths), (len(rows.scalings), 1))
        self._n_kept, self._rung = n_kept, max(1, round(_RUNG * max_iter))

    def inputs(self):
        n_scalings, n_strengths = self.strengths.shape
        n_kept = min(self._n_kept, n_strengths)
        if self.n_done == self._rung and (n_kept < n_strengths or n_scalings > _N_SCALINGS):
            self._give_up(n_kept)
        return (self._rows.next(),)

    def surrogate(self, rows):
        losses, surrogate = self._models.differentiate(*self._rows.gather(rows))
        return losses.mean(), surrogate, 0

    def _give_up(self, n_left):
        """Go on with the best scalings and strengths of each, judged on the rows held out."""
        errors = self._rows.held_out_errors(self._models)
        left = np.sort(np.argsort(errors, axis=1, kind="stable")[:, :n_left], axis=1)
        means = np.take_along_axis(errors, left, axis=1).mean(axis=1)
        kept = np.sort(np.argsort(means, kind="stable")[:_N_SCALINGS])
        places = np.arange(self._rows.n_folds * errors.size).reshape(-1, *errors.shape)
        chosen = np.take_along_axis(places, left[None], axis=2)[:, kept].ravel()
        with uninterrupted():
            self.strengths = np.take_along_axis(self.strengths, left, axis=1)[kept]
            self._rows.keep(kept)
            self._models.keep(chosen)
            keep_moments(self.optimizer, chosen)
            self._best = BestState(self._models)  # of other models, and of another mean


class _FoldRows:
    """The rows of every fold, in each scaling of the inputs: minibatches, and those held out."""

    def __init__(self, scalings, targets, weights, folds, settings, seed):
        device = resolve_torch_device(settings.torch_device)
        self.scalings = list(scalings)
        scaled = {s.scaler: Inputs(s.X, device, "float32") for s in scalings}
        self._inputs = [scaled[scaling.scaler] for scaling in scalings]
        self._column_weights = [
            None if w is None else to_tensor(w, device, "float32")[:, None] for *_, w in scalings
        ]
        self._targets = to_tensor(targets, device, "float32")
        self._weights = to_tensor(weights / weights.mean(), device, "float32")
        self.n_folds = folds.max() + 1
        self.n_outputs = targets.shape[1]
        self._held_out = [np.flatnonzero(folds == fold) for fold in range(self.n_folds)]
        self._training = [np.flatnonzero(folds != fold) for fold in range(self.n_folds)]
        self.n_training = min(map(len, self._training))
        size = settings.batch_size
        if size == "auto":
            size = min(max(_MIN_BATCH, self.n_training // _BATCHES), _MAX_BATCH)
        self.batch_size = min(size, self.n_training)
        seeds = draw_seeds(seed, self.n_folds)
        self._batches = [
            minibatches(len(rows), self.batch_size, s) for rows, s in zip(self._training, seeds)
        ]
        self._order = in_advance(self._chosen(), self._targets.device)

    def first(self, n_rows):
        """Return the first rows of every fold in each scaling, each (m, d)."""
        chosen = np.arange(min(n_rows, len(self._targets)))
        parts = [part.rows(chosen) for part in self._inputs]
        return [
            part if weights is None else part * weights[fold]
            for fold in range(self.n_folds)
            for part, weights in zip(parts, self._column_weights)
        ]

    def keep(self, places):
        """Keep the scalings at these places and forget the others."""
        for kept in (self.scalings, self._inputs, self._column_weights):
            kept[:] = [kept[place] for place in places]

    @property
    def is_dense(self):
        """Whether rows are gathered where they are, without the processor."""
        return all(part.is_dense for part in self._inputs)

    def next(self):
        """Return the numbers of the rows (K, B) of the next minibatch of every fold."""
        return next(self._order)

    def _chosen(self):
        # A fold may have a row more than another, and where all are taken so has its minibatch.
        while True:
            batches = zip(self._training, self._batches)
            yield np.stack([part[next(b)[: self.batch_size]] for part, b in batches])

    def gather(self, rows):
        """Return inputs (G, B, d), targets (G, B, q) and weights (G, B) of groups of models."""
        parts = [part.rows(rows.ravel()).unflatten(0, rows.shape) for part in self._inputs]
        for part, weights in zip(parts, self._column_weights):
            if weights is not None:
                part *= weights
        X = torch.stack(parts, 1)  # (K, s, B, d)
        chosen = torch.as_tensor(rows, device=self._targets.device)
        chosen = chosen.repeat_interleave(len(parts), 0)
        return X.flatten(0, 1), self._targets[chosen], self._weights[chosen]

    @torch.no_grad()
    def held_out_errors(self, models):
        """Return the mean squared error of each scaling and strength, shape (s, c)."""
        form, totals = models.forms(), 0.0
        n_scalings = len(self.scalings)
        shape = self.n_folds * n_scalings, -1
        forms = [part.unflatten(0, shape) for part in (*form, models.weight, models.bias)]
        errors = []
        for fold, held_out in enumerate(self._held_out):
            rows = held_out[:_MAX_JUDGED]
            y, w = self._targets[rows], self._weights[rows]
            totals += w.sum().item()
            for place, (part, weights) in enumerate(zip(self._inputs, self._column_weights)):
                bias, linear, pairs, W, b = (one[fold * n_scalings + place] for one in forms)
                W = W if weights is None else W * weights[fold]
                p = torch.sigmoid(part.rows(rows) @ W.mT + b)
                squares = (QuadraticForm(bias, linear, pairs).mean(p) - y).square().mean(-1)
                errors.append((squares @ w).cpu().double().numpy())
        errors = np.reshape(errors, (self.n_folds, n_scalings, -1)).sum(0)
        return errors / totals


@torch.no_grad()
def _to_arrays(models, strengths, scalings, run):
    form = models.forms()
    parts = (models.weight, models.bias[:, 0], *form)
    axes = (-1, *strengths.shape)
    coef, *arrays = [to_numpy(part).reshape(*axes, *part.shape[1:]) for part in parts]
    for place, scaling in enumerate(scalings):
        if scaling.column_weights is not None:
            coef[:, place] *= scaling.column_weights[:, None, None]
    # A run that was finished leaves no state to go on from.
    was_cut = run.state is not None
    return FoldModels(coef, *arrays, strengths, scalings, run.n_iter, run.history, was_cut)
