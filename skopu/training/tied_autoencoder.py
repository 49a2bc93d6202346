"""Training the autoencoder with tied weights, from arrays to arrays."""

from typing import NamedTuple

import numpy as np

from skopu._random import draw_seeds
from skopu._tensors import Inputs, to_numpy, to_tensor
from skopu.nn.tied_autoencoder import TiedAutoencoder
from skopu.training.loop import make_optimizer, minibatches, run_loop


class TrainedTiedAutoencoder(NamedTuple):
    """What training leaves: W (k, d), c (d,) and the record."""

    coef: np.ndarray
    intercept: np.ndarray
    history: dict
    n_iter: int


def train_tied_autoencoder(X, weights, settings, seed):
    r"""Train an autoencoder to restore rows from its codes.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Rows in [-1, 1].
    weights : ndarray of shape (n,)
        Weights of the rows.
    settings : object
        Anything with the training parameters of ``AutoencoderBinarizer`` as attributes.
    seed : int

    Returns
    -------
    trained : TrainedTiedAutoencoder
    """
    start_seed, batch_seed = draw_seeds(seed, 2)
    device, n_rows = settings.torch_device, len(weights)
    model = TiedAutoencoder(X.shape[1], settings.n_bits, start_seed).to(device)
    inputs = Inputs(X, device, "float32")
    row_weights = to_tensor(weights / weights.mean(), device, "float32")
    batches = minibatches(n_rows, settings.batch_size, batch_seed)

    def step():
        chosen = next(batches)
        error = restoration_error(model, inputs.rows(chosen), row_weights[chosen])
        return error.item(), error + settings.lambda_reg / 2 * model.correlation(), 0

    run = run_loop(
        model,
        step,
        make_optimizer([{"params": model.parameters(), "lr": settings.learning_rate}]),
        max_iter=settings.max_iter,
        share=min(1.0, settings.batch_size / n_rows),
        description="training autoencoder",
        verbose=settings.verbose,
    )
    return TrainedTiedAutoencoder(
        to_numpy(model.weight), to_numpy(model.bias), run.history, run.n_iter
    )


def restoration_error(model, rows, weights):
    """Return the mean squared error of restored rows (n, d), of ``weights`` (n,)."""
    restored = model(model.codes(rows))
    return (weights * (restored - rows).square().mean(1)).mean()
