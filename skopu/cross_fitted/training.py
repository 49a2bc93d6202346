"""Exact models on the training parts of cross-validation folds, all as one batched tensor."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skopu._core.interrupts import restoring
from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs, to_numpy, to_tensor
from skopu.losses import SquaredError
from skopu.training.autograd_loop import AutogradLoop
from skopu.training.encoders import LinearEncoder
from skopu.training.exact import ExactModels
from skopu.training.optimizers import make_optimizer
from skopu.training.rows import minibatches

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
        Of the quadratic forms, see ``QuadraticForm``; so are the next two.
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
    with restoring(partial(threadpool_limits, 1, user_api="openmp")):
        models = _start(inputs, targets, len(training_rows), strengths, settings, start_seed)
        rows = _FoldRows(inputs, targets, weights, training_rows, settings, batch_seed)
        run = _Training(models, rows, settings, max_iter, n_rows).run()
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


class _Training(AutogradLoop):
    """The run of all models."""

    description = "training encoders"

    def __init__(self, models, rows, settings, max_iter, n_rows):
        super().__init__(
            models,
            make_optimizer(models.groups(settings.learning_rate, settings.learning_rate)),
            max_iter=max_iter,
            share=min(1.0, settings.batch_size / n_rows),
            verbose=settings.verbose,
        )
        self._models, self._rows = models, rows

    def surrogate(self):
        losses, surrogate = self._models.differentiate(*self._rows.next())
        return losses.mean().item(), surrogate, 0


class _FoldRows:
    """Minibatches of every fold, in each scaling of the inputs."""

    def __init__(self, inputs, targets, weights, training_rows, settings, seed):
        device = settings.torch_device
        self._inputs, self._training_rows = inputs, training_rows
        self._targets = to_tensor(targets, device, "float32")
        self._weights = to_tensor(weights / weights.mean(), device, "float32")
        size = min(settings.batch_size, *map(len, training_rows))
        seeds = draw_seeds(seed, len(training_rows))
        self._batches = [minibatches(len(r), size, s) for r, s in zip(training_rows, seeds)]

    def next(self):
        """Return inputs (G, B, d), targets (G, B, q) and weights (G, B) of groups of models."""
        pairs = zip(self._training_rows, self._batches)
        rows = np.stack([part[next(batch)] for part, batch in pairs])
        X = torch.stack([part.rows(rows.ravel()) for part in self._inputs], 1)
        X = X.unflatten(0, rows.shape).transpose(1, 2)  # (K, s, B, d)
        chosen = torch.as_tensor(rows, device=self._targets.device)
        chosen = chosen.repeat_interleave(len(self._inputs), 0)
        return X.flatten(0, 1), self._targets[chosen], self._weights[chosen]


@torch.no_grad()
def _to_arrays(models, axes, run):
    forms = models.forms()
    parts = (models.weight, models.bias[:, 0], forms.bias, forms.linear, forms.pairs)
    arrays = [to_numpy(part).reshape(*axes, *part.shape[1:]) for part in parts]
    return FoldModels(*arrays, run.n_iter, run.history)
