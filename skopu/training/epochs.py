"""Training in minibatches of rows, and training that is counted in epochs of them."""

import math

import numpy as np
import torch

from skopu.training.autograd_loop import AutogradLoop
from skopu.training.rows import minibatches


class MinibatchLoop(AutogradLoop):
    """A run of minibatches of rows, whose numbers ``chosen`` gives.

    Parameters
    ----------
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
    n_rows : int
    settings : object
        With ``max_iter``, ``batch_size`` and ``verbose``.
    seed : int
        Of the order of the rows.
    **options : dict
        As for ``Loop``, also in the place of the settings.
    """

    def __init__(self, module, optimizer, n_rows, settings, seed, **options):
        options = {"max_iter": settings.max_iter, "verbose": settings.verbose, **options}
        share = min(1.0, settings.batch_size / n_rows)
        super().__init__(module, optimizer, share=share, **options)
        self._batches = minibatches(n_rows, settings.batch_size, seed)

    def chosen(self):
        """Return the numbers of the rows of the next minibatch."""
        return next(self._batches)


class EpochLoop(MinibatchLoop):
    """The run of a network; a subclass writes ``surrogate_of`` and ``loss_of`` rows.

    As ``MinibatchLoop``, with ``data``, a ``TrainingRows``, and with ``max_iter`` epochs. The
    settings have ``early_stopping`` and ``n_iter_no_change``, too.
    """

    description = "training network"

    def __init__(self, network, optimizer, data, settings, seed, decay):
        self.n_batches = max(1, data.n_rows // settings.batch_size)
        super().__init__(
            network,
            optimizer,
            data.n_rows,
            settings,
            seed,
            max_iter=settings.max_iter * self.n_batches,
            patience=settings.n_iter_no_change if settings.early_stopping else None,
            decay=decay,
        )
        self.network, self.data, self.settings = network, data, settings
        self.validates = settings.early_stopping
        self._all_losses = []

    def surrogate_of(self, X, targets, weights):
        """Return what ``surrogate`` does, for these rows."""
        raise NotImplementedError(f"{type(self).__name__} must implement surrogate_of")

    def loss_of(self, X, targets, weights):
        """Return the mean loss of these rows, a tensor."""
        raise NotImplementedError(f"{type(self).__name__} must implement loss_of")

    def surrogate(self):
        """Return ``surrogate_of`` the next minibatch."""
        return self.surrogate_of(*self.data.rows(self.chosen()))

    def count(self, loss, n_passes):
        """Count a minibatch, and keep its loss for that of the epoch."""
        super().count(loss, n_passes)
        self._all_losses.append(loss)

    @torch.no_grad()
    def validate(self):
        """Return the loss of the rows held out, as the network will be used."""
        self.network.eval()
        loss = self.loss_of(*self.data.held_out()).item()
        self.network.train()
        return loss

    def loss_curve(self):
        """Return the mean loss of each epoch, that of one cut short included."""
        starts = range(0, len(self._all_losses), self.n_batches)
        epochs = [self._all_losses[start : start + self.n_batches] for start in starts]
        return [float(np.mean(losses)) for losses in epochs]

    def n_epochs_of(self, run):
        """Return the number of epochs that a run of this loop began."""
        return math.ceil(run.n_iter / self.n_batches)
