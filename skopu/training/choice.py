"""Scaling of the inputs, start and penalty of the encoder, chosen without a device."""

from typing import NamedTuple

import numpy as np
import torch

from skopu.forms.quadratic import QuadraticForm
from skopu.training.capture import Captured, RatedStep
from skopu.training.encoders import LinearEncoder
from skopu.training.exact import ExactModels
from skopu.training.optimizers import cosine_decay, keep_moments, make_optimizer
from skopu.training.rows import in_advance

# The last is for noise: without it diabetes, of which a line explains all that can be explained,
# was overfitted to a test R2 of .01 where a line has .37. 3 and 10 were tried too and never chosen
# (diabetes, german, eeg, protein, powerplant). At 1, readout penalties from .001 to .1 and kappas
# of .1 and 1 move that R2 by .05 at most: they are no candidates.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_N_FOLDS = 3
_READOUT_PENALTY = 1e-3
_KAPPA = 0.1  # held-out rows are judged as if ten draws were averaged, a tenth of the variance
# After a quarter of the run all but three penalties are given up: the best by then, the next
# stronger one, since what overfits shows late, and the next weaker one, since what is smooth is
# learned late (without it yacht got 0.01 for 0.001, and nearly twice the error).
_RUNG, _N_LEFT = 4, 3
# Another scaling than the first, which is the safest, must leave so much less error: all see rows
# of the same kind here, and where later ones are of another kind (another user's gestures) normal
# quantiles lose more; and the forest of weighed columns has seen the rows held out.
_MARGIN = 0.9
# Without draws smooth targets are learned to many digits, and late: after a quarter of the run
# yacht had .6 of the error with its columns weighed, and at the end twice that of standard scaling.
# Where weights are what is missing (pumadyn32nm, few rows) they leave a quarter.
_EXACT_MARGIN = 0.5
_BATCH_SIZE = 64  # with 32 the noise of the gradient hides some of what overfits
_MAX_HELD_OUT = 2048  # rows of a fold that are judged: they go through every model at once


class Choice(NamedTuple):
    """What was chosen: the place of the scaling, the penalty, the start, and penalties' errors.

    Errors are those of the scaling, and of a penalty that was given up, those it had by then.
    """

    scaling: int
    penalty: float
    errors: dict
    start: str


def choose(copies, penalties, starts, *rest):
    """Return the best scaling, penalty and start by cross-validation.

    Parameters
    ----------
    copies : list of TrainingRows
        The training rows in each scaling, the safest first.
    penalties : sequence of float
        From the weakest to the strongest.
    starts : sequence of str
        As ``LinearEncoder`` has them, the usual one first. Another must leave a tenth less error.
    *rest
        As :func:`choose_at` takes them.

    Returns
    -------
    choice : Choice
    """
    is_given = len(copies) * len(penalties) * len(starts) == 1
    if copies[0].n_rows < 2 * _N_FOLDS or is_given:
        return Choice(0, penalties[0], {}, starts[0])
    # One after the other: what starts at thresholds is ahead at first, and would have been chosen
    # where hyperplanes end up better.
    best, *others = (choose_at(start, copies, penalties, *rest) for start in starts)
    for other in others:
        if other.errors[other.penalty] < _MARGIN * best.errors[best.penalty]:
            best = other
    return best


def choose_at(
    start, copies, penalties, n_outputs, objective, settings, n_iter, seed, uses_device=True
):
    """Return the best scaling and penalty for a start.

    For every fold, scaling and penalty an exact model (see :class:`ExactModels`) is trained, all
    as one tensor, and judged on the rows it has not seen; most are given up on the way. No code
    goes through a device.

    Parameters
    ----------
    start : str
    copies : list of TrainingRows
    penalties : sequence of float
    n_outputs : int
        q.
    objective : Objective
    settings : object
        ``n_bits``, ``batch_size`` and the learning rates are used.
    n_iter : int
        Minibatches.
    seed : int
    uses_device : bool, default=True
        Whether what is trained afterwards has draws.

    Returns
    -------
    choice : Choice
    """
    rng = np.random.default_rng(seed)
    encoders = []
    for copy in copies:
        start_rows = copy.start_rows()
        size = start_rows.shape[1], settings.n_bits
        encoder = LinearEncoder(*size, start).to(start_rows)
        encoder.start(start_rows, seed)
        encoders += [encoder] * len(penalties)
    folds = np.array_split(rng.permutation(copies[0].n_rows), _N_FOLDS)
    n_models = _N_FOLDS * len(encoders)
    # Isolated leaves the variance free, and an exact optimiser would drive it up without end.
    kappas = [max(objective.kappa, _KAPPA)] * n_models
    models = ExactModels(
        encoders * _N_FOLDS,
        n_outputs,
        objective.loss,
        kappas=kappas,
        encoder_penalties=list(penalties) * (_N_FOLDS * len(copies)),
        readout_penalties=[_READOUT_PENALTY] * n_models,
    ).to(start_rows)
    margin = _MARGIN if uses_device else _EXACT_MARGIN
    candidates = _Candidates(models, copies, folds, objective.loss, margin)
    candidates.train(settings, n_iter, rng)
    scaling, best = candidates.best()
    errors = dict(zip(penalties, candidates.errors[scaling].tolist()))
    return Choice(scaling, float(penalties[best]), errors, start)


class _Candidates:
    """Models of all folds, scalings and penalties, in this order; most are given up on the way.

    Attributes
    ----------
    errors : ndarray of shape (s, p)
        Cross-validated loss for each scaling and penalty, of those given up by then.
    """

    def __init__(self, models, copies, folds, loss, margin):
        self._models, self._folds, self._loss, self._margin = models, folds, loss, margin
        n_penalties = len(models.kappas) // (len(folds) * len(copies))
        self._copies, self._penalties = dict(enumerate(copies)), np.arange(n_penalties)
        self.errors = np.full((len(copies), n_penalties), np.inf)

    def train(self, settings, n_iter, rng):
        """Train all that are left; models of one fold see the same minibatches."""
        folds, data = self._folds, self._copies[0]
        training_rows = [
            np.sort(np.concatenate([*folds[:i], *folds[i + 1 :]])) for i in range(len(folds))
        ]
        size = min(_BATCH_SIZE, settings.batch_size, *map(len, training_rows))
        order = in_advance(_fold_batches(training_rows, size, rng), data.device)
        rates = settings.learning_rate, settings.readout_learning_rate
        optimizer, rate = make_optimizer(self._models.groups(*rates)), cosine_decay(n_iter)
        differentiate = self._differentiate
        if data.is_dense:
            differentiate = Captured(differentiate, self._models.parameters)
        step = RatedStep(optimizer, is_captured=data.is_dense)
        for number in range(n_iter):
            if number == n_iter // _RUNG:
                self._judge()
                self._give_up(optimizer)
            differentiate(next(order))
            step(rate(number))
        self._judge()

    def best(self):
        """Return the places of the best scaling and of the best penalty that is left for it."""
        scaling, *others = self._copies
        lowest = self.errors.min(axis=1)
        for other in others:
            if lowest[other] < self._margin * lowest[scaling]:
                scaling = other
        left = self._penalties
        return scaling, int(left[np.argmin(self.errors[scaling, left])])

    def _differentiate(self, positions):
        parts = [copy.rows(positions) for copy in self._copies.values()]
        shape = len(self._folds), -1
        if len(parts) == 1:
            groups = [part.unflatten(0, shape) for part in parts[0]]
        else:
            groups = [
                torch.stack([part.unflatten(0, shape) for part in same], 1).flatten(0, 1)
                for same in zip(*parts)
            ]
        self._models.differentiate(*groups)
        self._models.backward()
        return ()

    def _give_up(self, optimizer):
        """Go on with the best scaling, its best penalty and the neighbours of that."""
        scaling, best = self.best()
        n_penalties, n_left = len(self._penalties), min(_N_LEFT, len(self._penalties))
        start = min(max(best - 1, 0), n_penalties - n_left)
        left = np.arange(start, start + n_left)
        places = np.arange(len(self._models.kappas))
        places = places.reshape(len(self._folds), -1, n_penalties)[:, scaling, left].ravel()
        self._models.keep(places)
        keep_moments(optimizer, places)
        self._copies, self._penalties = {scaling: self._copies[scaling]}, left

    @torch.no_grad()
    def _judge(self):
        """Note the mean loss of what is left on rows held out."""
        models, n_left = self._models, len(self._penalties)
        shape = len(self._folds), len(self._copies), n_left
        parts = [
            part.unflatten(0, shape) for part in (*models.forms(), models.weight.mT, models.bias)
        ]
        totals, weight = np.zeros(shape[1:]), 0.0
        for number, fold in enumerate(self._folds):
            for place, copy in enumerate(self._copies.values()):
                X, targets, weights = copy.rows(fold[:_MAX_HELD_OUT])
                *form, W, b = (part[number, place] for part in parts)
                mean, variance = QuadraticForm(*form).moments(torch.sigmoid(X @ W + b))
                losses = self._loss.value(mean, targets)
                losses += _KAPPA * self._loss.curvature * variance.sum(-1)
                totals[place] += (weights * losses).sum(1).cpu().double().numpy()
            weight += weights.sum().item()
        found = np.nan_to_num(totals / weight, nan=np.inf)
        self.errors[np.ix_(list(self._copies), self._penalties)] = found


def _fold_batches(training_rows, size, rng):
    """Yield the numbers of the rows of all folds' minibatches, one fold after the other."""
    while True:
        chosen = [rng.choice(rows, size, replace=False, shuffle=False) for rows in training_rows]
        yield np.concatenate(chosen)
