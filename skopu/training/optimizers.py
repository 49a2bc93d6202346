"""Optimizers and their rates: Adam, and Bop for what is binary."""

import math

from torch.optim import Adam

from skopu.optim import Bop, CombinedOptimizer
from skopu.training.binary_weight import binary_weights

_LAST_RATE = 1e-3  # the cosine decay ends at this share of the first learning rate
_BETAS = (0.9, 0.99)  # a shorter memory of squares than Adam's default: runs are short


def cosine_decay(n_iter):
    """Return the learning rate's factor at an iteration: from 1 down to 1e-3."""
    return lambda done: max(_LAST_RATE, 0.5 * (1 + math.cos(math.pi * done / n_iter)))


def no_decay(n_iter):
    """Return a factor of 1 for every iteration."""
    return lambda done: 1.0


def make_optimizer(groups):
    """Return the optimizer of encoders and readouts, for parameters or groups of them."""
    return Adam(groups, betas=_BETAS, fused=True)


def keep_moments(optimizer, rows):
    """Keep these rows of the moments of all parameters, whose own rows were chosen likewise."""
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name][rows].clone()


def make_binary_optimizer(module, learning_rate, gamma, tau):
    """Return one optimizer of all parameters of a module.

    Parameters
    ----------
    module : nn.Module
    learning_rate : float
        Of Adam: for latent weights, noise scales and everything that is not binary.
    gamma, tau : float
        Of Bop, for weights with ``method="bop"``.

    Returns
    -------
    optimizer : torch.optim.Optimizer
    """
    groups = [{"params": module.parameters(), "lr": learning_rate}]
    return share_with_bop(module, groups, gamma=gamma, tau=tau)


def share_with_bop(module, groups, *, gamma, tau):
    """Return the optimizer of parameter groups, less the weights that Bop flips.

    Parameters
    ----------
    module : nn.Module
        What the groups are of.
    groups : list of dict
        For Adam; weights with ``method="bop"`` are taken out.
    gamma, tau : float
        Of Bop.

    Returns
    -------
    optimizer : torch.optim.Optimizer
        Adam alone if there is nothing to flip.
    """
    flipped = [part for part in binary_weights(module) if part.method == "bop"]
    if not flipped:
        return make_optimizer(groups)
    owned = {id(part.weight) for part in flipped}
    groups = [{**g, "params": [p for p in g["params"] if id(p) not in owned]} for g in groups]
    groups = [group for group in groups if group["params"]]
    bop = Bop(
        [{"params": [part.weight], "values": part.values} for part in flipped],
        gamma=gamma,
        tau=tau,
    )
    parts = [make_optimizer(groups), bop] if groups else [bop]
    return CombinedOptimizer(module.named_parameters(), parts)
