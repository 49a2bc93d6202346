"""Seeds: everything random in a fit descends from one ``random_state``."""

import numpy as np
from sklearn.utils import check_random_state

_MAX_SEED = 2**31 - 1


def draw_seeds(random_state, n_seeds):
    """Return ``n_seeds`` integers drawn from ``random_state``.

    Each consumer of randomness (initialisation, minibatches, codes, validation split) takes
    a seed of its own, so that changing how much one of them draws leaves the others as they
    were.
    """
    rng = check_random_state(random_state)
    return [int(seed) for seed in rng.randint(_MAX_SEED, size=n_seeds)]


def dither(n_draws, n_bits, seed):
    """Uniform thresholds shared by all rows, stratified over draws, shape (S, k).

    Column by column the S thresholds are a random permutation of one uniform in each of
    [0, 1/S), ..., [(S-1)/S, 1) (a Latin hypercube). Within a draw the bits are independent
    and exactly Bernoulli(p), so the average over draws is unbiased, and each bit's average is
    within 1/S of p. Sharing the thresholds between rows makes the codes a function of the
    row alone: the same whatever the batch it is predicted in.
    """
    rng = np.random.default_rng(seed)
    strata = rng.permuted(np.tile(np.arange(n_draws), (n_bits, 1)), axis=1).T
    return (strata + rng.random((n_draws, n_bits))) / n_draws


def double_dither(thresholds, seed):
    """As many thresholds again, (S, k), that make ``dither`` of them and the given ones together.

    Of each S-th of [0, 1] the given ones have one half; the new ones, in an order of their own,
    have the others. They are stratified by themselves too.
    """
    rng = np.random.default_rng(seed)
    halves = np.floor(thresholds * (2 * len(thresholds))).astype(int)
    others = rng.permuted(halves ^ 1, axis=0)
    return (others + rng.random(thresholds.shape)) / (2 * len(thresholds))
