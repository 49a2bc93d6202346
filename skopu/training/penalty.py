"""The strength of the encoder's penalty, chosen on the training rows without a device."""

import numpy as np
import torch

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
_BATCH_SIZE = 64  # with 32 the noise of the gradient hides some of what overfits
_MAX_HELD_OUT = 2048  # rows of a fold that are judged: they go through every model at once


def choose_penalty(data, n_outputs, objective, settings, n_iter, seed):
    """Return the best of ``PENALTIES`` by cross-validation, and the error of each.

    For every fold and penalty an exact model (see :class:`ExactModels`) is trained, all as one
    tensor, and judged on the rows it has not seen; most are given up on the way. No code goes
    through a device.

    Parameters
    ----------
    data : object with ``n_rows``, ``rows`` and ``start_rows``
        Training rows as tensors.
    n_outputs : int
        q.
    objective : Objective
    settings : object
        ``n_bits``, ``batch_size`` and the learning rates are used.
    n_iter : int
        Minibatches.
    seed : int

    Returns
    -------
    penalty : float
    errors : dict of float to float
        Cross-validated loss for each penalty; of one that was given up, by then.
    """
    if data.n_rows < 2 * _N_FOLDS:
        return PENALTIES[0], {}
    rng = np.random.default_rng(seed)
    start_rows = data.start_rows()
    encoder = LinearEncoder(start_rows.shape[1], settings.n_bits).to(start_rows)
    encoder.start(start_rows, seed)
    folds = np.array_split(rng.permutation(data.n_rows), _N_FOLDS)
    n_models = _N_FOLDS * len(PENALTIES)
    # Isolated leaves the variance free, and an exact optimiser would drive it up without end.
    kappas = [max(objective.kappa, _KAPPA)] * n_models
    models = ExactModels(
        [encoder] * n_models,
        n_outputs,
        objective.loss,
        kappas=kappas,
        encoder_penalties=list(PENALTIES) * _N_FOLDS,
        readout_penalties=[_READOUT_PENALTY] * n_models,
    ).to(start_rows)
    left, errors = np.arange(len(PENALTIES)), np.empty(len(PENALTIES))
    for part in _train(models, data, folds, settings, n_iter, rng):
        errors[left] = _held_out_losses(models, data, folds, objective.loss)
        if part is not None:
            best = int(np.argmin(errors))
            start = min(max(best - 1, 0), len(PENALTIES) - _N_LEFT)
            left = np.arange(start, start + _N_LEFT)
            chosen = np.arange(n_models).reshape(_N_FOLDS, -1)[:, left].ravel()
            models.keep(chosen)
            keep_moments(part, chosen)
    best = left[np.argmin(errors[left])]
    return PENALTIES[best], dict(zip(PENALTIES, errors.tolist()))


def _train(models, data, folds, settings, n_iter, rng):
    """Train all models; stop at the rung, yielding the optimizer, and at the end, yielding None.

    Models of one fold see the same minibatches.
    """
    n_folds = len(folds)
    training_rows = [np.sort(np.concatenate(folds[:i] + folds[i + 1 :])) for i in range(n_folds)]
    rates = settings.learning_rate, settings.readout_learning_rate
    optimizer, rate = make_optimizer(models.groups(*rates)), cosine_decay(n_iter)
    size = min(_BATCH_SIZE, settings.batch_size, *map(len, training_rows))
    order = in_advance(_fold_batches(training_rows, size, rng), data.device)

    def differentiate(positions):
        batch = [part.unflatten(0, (n_folds, -1)) for part in data.rows(positions)]
        models.differentiate(*batch)
        models.backward()
        return ()

    if data.is_dense:
        differentiate = Captured(differentiate, models.parameters)
    step = RatedStep(optimizer, is_captured=data.is_dense)
    for number in range(n_iter):
        if number == n_iter // _RUNG:
            yield optimizer
        differentiate(next(order))
        step(rate(number))
    yield None


def _fold_batches(training_rows, size, rng):
    """Yield the numbers of the rows of all folds' minibatches, one fold after the other."""
    while True:
        chosen = [rng.choice(rows, size, replace=False, shuffle=False) for rows in training_rows]
        yield np.concatenate(chosen)


@torch.no_grad()
def _held_out_losses(models, data, folds, loss):
    """Mean loss of each penalty that is left on rows held out."""
    n_left = len(models.kappas) // len(folds)
    totals, weight = np.zeros(n_left), 0.0
    for number, fold in enumerate(folds):
        X, targets, weights = data.rows(fold[:_MAX_HELD_OUT])
        mean, variance = models.moments(X)
        losses = loss.value(mean, targets) + _KAPPA * loss.curvature * variance.sum(-1)
        values = (weights * losses).sum(1).cpu().double().numpy()
        totals += values[number * n_left : (number + 1) * n_left]
        weight += weights.sum().item()
    return np.nan_to_num(totals / weight, nan=np.inf)
