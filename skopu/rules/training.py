"""Training rules in disjunctive normal form, from arrays to arrays."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu.rules.network import DNF
from skopu.training.epochs import MinibatchLoop
from skopu.training.optimizers import make_binary_optimizer


@dataclass(frozen=True)
class TrainedDNF:
    """What training leaves: ``members`` (C, R, K), ``in_use`` (C, R), and the record."""

    members: np.ndarray
    in_use: np.ndarray
    history: dict
    n_iter: int


def train_dnf(literals, targets, weights, settings, seed):
    r"""Train one formula for each column of the targets.

    The loss is :math:`\frac1n \sum_i \sum_c (f_c(x_i) - y_{ic})^2`, which for binary
    memberships is the number of wrong values a row, plus ``literal_penalty`` times the mean
    number of literals in a rule. Unlike the log loss it is finite for formulas that are sure
    and wrong.

    Parameters
    ----------
    literals : ndarray of shape (n, K)
        Zeros and ones.
    targets : ndarray of shape (n, C)
        Zeros and ones.
    weights : ndarray of shape (n,)
        Weights of the rows.
    settings : object
        Anything with the training parameters of ``NeuralDNFClassifier`` as attributes.
    seed : int

    Returns
    -------
    trained : TrainedDNF
    """
    start_seed, batch_seed = draw_seeds(seed, 2)
    device = resolve_torch_device(settings.torch_device)
    absent = torch.tensor(1 - literals, dtype=torch.float32, device=device)
    targets = torch.tensor(targets, dtype=torch.float32, device=device)
    weights = torch.tensor(weights / weights.mean(), dtype=torch.float32, device=device)
    model = DNF(
        targets.shape[1],
        settings.n_rules,
        literals.shape[1],
        torch.Generator(device).manual_seed(start_seed),
        method=settings.weight_optimizer,
        adaptive_noise=settings.adaptive_noise,
    ).to(device)
    run = _RuleTraining(model, absent, targets, weights, settings, batch_seed).run()
    return TrainedDNF(
        members=model.literals.hard().bool().cpu().numpy(),
        in_use=model.rules.hard().bool().squeeze(1).cpu().numpy(),
        history=run.history,
        n_iter=run.n_iter,
    )


class _RuleTraining(MinibatchLoop):
    """The run of all formulas.

    With noise the loss of a step is not that of the rules as they will be used, so these are
    judged on all rows at each record, and the best ones are kept.
    """

    description = "training rules"
    validates = True

    def __init__(self, model, absent, targets, weights, settings, seed):
        optimizer = make_binary_optimizer(
            model, settings.learning_rate, settings.gamma, settings.tau
        )
        super().__init__(model, optimizer, len(absent), settings, seed, patience=math.inf)
        self._model, self._penalty = model, settings.literal_penalty
        self._absent, self._targets, self._weights = absent, targets, weights

    def surrogate(self):
        self._model.train()
        error, penalty = self._loss(torch.as_tensor(self.chosen()).to(self._absent.device))
        return error.item(), error + penalty, 0

    @torch.no_grad()
    def validate(self):
        self._model.eval()
        return sum(self._loss(slice(None))).item()

    def _loss(self, rows):
        values, n_literals = self._model(self._absent[rows])
        errors = (values - self._targets[rows]).square().sum(1)
        return (self._weights[rows] * errors).mean(), self._penalty * n_literals
