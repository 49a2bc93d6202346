"""Exact models on the training parts of cross-validation folds, all as one batched tensor."""

from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs, to_numpy, to_tensor
from skopu.losses import SquaredError
from skopu.training.exact import ExactModels
from skopu.training.linear_encoder import LinearEncoder
from skopu.training.loop import make_optimizer, minibatches, run_loop

_MAX_START_ROWS = 4096
_MIN_ITER, _MAX_ITER, _EPOCHS = 1200, 6000, 85


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
    """Trained models, as float64 arrays with the axes (fold, scaler, strength) first.

    Attributes
    ----------
    coef : ndarray of shape (K, s, c, k, d)
        W of each encoder, for the inputs of its scaler.
    intercept : ndarray of shape (K, s, c, k)
    bias : ndarray of shape (K, s, c, q)
        Of the quadratic forms, see ``QuadraticForms``; so are the next two.
    linear : ndarray of shape (K, s, c, q, k)
    pairs : ndarray of shape (K, s, c, q, k, k)
    n_iter : int
    history : dict
    """

    coef: np.ndarray
    intercept: np.ndarray
    bias: np.ndarray
    linear: np.ndarray
    pairs: np.ndarray
    n_iter: int
    history: dict


def train_fold_models(copies, targets, weights, training_rows, strengths, settings, seed):
    """Train one model for every fold, copy of the inputs and strength.

    Parameters
    ----------
    copies : list of {ndarray, CSR matrix} of shape (n, d)
        The inputs, scaled in different ways.
    targets : ndarray of shape (n, q)
    weights : ndarray of shape (n,)
    training_rows : list of ndarray of int
        Rows that the models of each fold may see.
    strengths : sequence of Strength
    settings : object
        With ``n_bits``, ``learning_rate``, ``batch_size``, ``max_iter``, ``torch_device`` and
        ``verbose``.
    seed : int

    Returns
    -------
    models : FoldModels
    """
    device = settings.torch_device
    start_seed, batch_seed = draw_seeds(seed, 2)
    inputs = [Inputs(copy, device, "float32") for copy in copies]
    n_rows = min(map(len, training_rows))
    max_iter = settings.max_iter
    if max_iter == "auto":
        max_iter = min(max(_MIN_ITER, _EPOCHS * n_rows // settings.batch_size), _MAX_ITER)
    with threadpool_limits(1, user_api="openmp"):
        models = _start(inputs, targets, len(training_rows), strengths, settings, start_seed)
        rates = settings.learning_rate, settings.learning_rate
        run = run_loop(
            models,
            _make_step(models, inputs, targets, weights, training_rows, settings, batch_seed),
            make_optimizer(models.groups(*rates)),
            max_iter=max_iter,
            share=min(1.0, settings.batch_size / n_rows),
            description="training encoders",
            verbose=settings.verbose,
        )
        return _to_arrays(models, (len(training_rows), len(copies), len(strengths)), run)


def _start(inputs, targets, n_folds, strengths, settings, seed):
    """Return the models at their start: folds first, then copies of the inputs, then strengths.

    Each has random weights of its own: averages gain from models that differ.
    """
    rows = [part.rows(np.arange(min(_MAX_START_ROWS, len(targets)))) for part in inputs]
    starts = [part for _ in range(n_folds) for part in rows for _ in strengths]
    encoders = []
    for part, start_seed in zip(starts, draw_seeds(seed, len(starts))):
        encoders.append(LinearEncoder(part.shape[1], settings.n_bits).to(part))
        encoders[-1].start(part, start_seed)
    repeated = list(strengths) * (n_folds * len(inputs))
    return ExactModels(
        encoders,
        targets.shape[1],
        SquaredError(),
        kappas=[strength.kappa for strength in repeated],
        encoder_penalties=[strength.encoder_penalty for strength in repeated],
        readout_penalties=[strength.readout_penalty for strength in repeated],
    ).to(settings.torch_device)


def _make_step(models, inputs, targets, weights, training_rows, settings, seed):
    """Return the function that draws minibatches and gives the loss of all models."""
    device = settings.torch_device
    n_copies = len(inputs)
    n_strengths = len(models.kappas) // (n_copies * len(training_rows))
    targets = to_tensor(targets, device, "float32")
    weights = to_tensor(weights / weights.mean(), device, "float32")
    size = min(settings.batch_size, *map(len, training_rows))
    seeds = draw_seeds(seed, len(training_rows))
    batches = [minibatches(len(rows), size, s) for rows, s in zip(training_rows, seeds)]

    def step():
        rows = np.stack([part[next(batch)] for part, batch in zip(training_rows, batches)])
        X = torch.stack([part.rows(rows.ravel()) for part in inputs], 1)
        X = X.unflatten(0, rows.shape).transpose(1, 2)  # (K, s, B, d)
        X = X.flatten(0, 1).repeat_interleave(n_strengths, 0)
        chosen = torch.as_tensor(rows, device=targets.device)
        y = targets[chosen].repeat_interleave(n_copies * n_strengths, 0)
        w = weights[chosen].repeat_interleave(n_copies * n_strengths, 0)
        losses = models.losses(X, y, w)
        return losses.mean().item(), (losses + models.penalties()).sum(), 0

    return step


@torch.no_grad()
def _to_arrays(models, axes, run):
    forms = models.readout.forms()
    parts = (models.weight, models.bias[:, 0], forms.bias, forms.linear, forms.pairs)
    arrays = [to_numpy(part).reshape(*axes, *part.shape[1:]) for part in parts]
    return FoldModels(*arrays, run.n_iter, run.history)
