"""Encoder, device and readout as one model whose step yields gradients for both ends."""

from functools import partial

import torch
from torch import nn

from skopu.exceptions import DeviceFault
from skopu.forms.intensities import FittedIntensities, KnownIntensities
from skopu.training.readout import ReadoutLayer

_MAX_CALIBRATION_ROWS = 1024


class JointModel(nn.Module):
    """Encoder and readout around a device.

    The device is a black box that answers codes. Where its matrix is known, and the sizes make
    it worth while, the same predictions are computed without the intensities; the codes
    count as passes all the same, since that is what a machine would need.

    Parameters
    ----------
    encoder : nn.Module
        From inputs (n, d) to logits (n, k).
    device : OPUDevice
    gradient : GradientEstimator
    objective : Objective
    n_components : int
        D.
    encoder_penalty, readout_penalty : float
        Weights of the squared norms in the surrogate; the encoder's is divided by k, so that
        it means the same for any number of bits.
    learn_gamma : {"scalar", "feature"} or None
        Whether the readout learns a scale of the features.
    generator : torch.Generator
        Source of the draws.

    Attributes
    ----------
    n_passes : int
        Codes sent through the device, or answered in its place.
    n_lost : int
        How many of these have to be sent again, because a fault came between.
    progress : float
        Share of the training done, in [0, 1], for estimators with a schedule; set by the loop.
    """

    def __init__(
        self,
        encoder,
        device,
        gradient,
        objective,
        *,
        n_components,
        encoder_penalty,
        readout_penalty,
        learn_gamma,
        generator,
    ):
        super().__init__()
        self.encoder, self.device = encoder, device
        self.gradient, self.objective = gradient, objective
        self.n_components = n_components
        self.encoder_penalty, self.readout_penalty = encoder_penalty, readout_penalty
        self.learn_gamma, self.generator = learn_gamma, generator
        self.progress, self._mark = 0.0, None
        # Passes that training has used, and those whose answers a fault made worthless.
        self._n_used, self.n_lost = 0, 0
        self._known, self._fitted, self._refitted, self._answers = None, None, None, []

    @torch.no_grad()
    def start(self, X, n_outputs, seed):
        """Set starting weights from inputs (n, d) and measure the scale of the features."""
        self.encoder.start(X, seed)
        logits = self.encoder(X[:_MAX_CALIBRATION_ROWS])
        codes = self.gradient.draw(logits, self.generator).codes[0]
        n_bits = codes.shape[1]
        if self.gradient.fits_forms:
            self._fitted = FittedIntensities(n_bits, self.gradient.fit_penalty)
        self._build(*self._intensities(codes), n_bits, n_outputs)
        self._refit()
        self.to(X)
        self.mark()

    def _build(self, intensities, popcounts, n_bits, n_outputs):
        self.readout = ReadoutLayer(intensities, popcounts, n_outputs, self.learn_gamma)
        learned = self.gradient.learned(n_bits)
        self.learned = nn.ParameterDict({name: nn.Parameter(v) for name, v in learned.items()})

    def state(self, is_finished):
        """Return what ``resume`` takes beside the parameters: numbers, lists and tensors.

        A minibatch that was not finished will be done again with the same draws.
        """
        generator, n_used = self._mark
        if is_finished:
            generator, n_used = self.generator.get_state(), self._n_used
        return {
            "generator": generator,
            "fitted": None if self._fitted is None else self._fitted.state(),
            "n_used": n_used,
            "n_lost": self.n_passes - n_used,
        }

    @torch.no_grad()
    def resume(self, X, n_outputs, seed, tensors, state):
        """Take up the parameters and the state of a run, without a pass."""
        n_bits = len(self.encoder.bias)
        dark = X.new_zeros(2, self.n_components), X.new_zeros(2)
        self._build(*dark, n_bits, n_outputs)
        self.to(X)
        self.load_state_dict(tensors)
        self.generator.set_state(state["generator"].cpu())
        self._n_used, self.n_lost = state["n_used"], state["n_lost"]
        if state["fitted"] is not None:
            self._fitted = FittedIntensities(n_bits, self.gradient.fit_penalty)
            self._fitted.load(state["fitted"])
        self.mark()

    def mark(self):
        """Note that all so far is done: what ``state`` returns until the next mark."""
        if self._refitted is not None:
            self._fitted = self._refitted
        self._mark = self.generator.get_state(), self._n_used
        self._refitted, self._answers = None, []

    @property
    def n_passes(self):
        """Codes sent through the device, or answered in its place."""
        return self._n_used + self.n_lost

    @property
    def gamma(self):
        """The learned scale: a float, or a float64 array (D + 1,), the popcount's last."""
        return self.readout.gamma()

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        encoder = [*self.encoder.parameters(), *self.learned.parameters()]
        return [
            {"params": encoder, "lr": learning_rate},
            {"params": self.readout.parameters(), "lr": readout_learning_rate},
        ]

    def encoder_weights(self):
        """Return W (k, d) and b (k,)."""
        return self.encoder.weight, self.encoder.bias

    def predict(self, codes):
        """Return predictions (..., q) of codes (..., k)."""
        flat = codes.flatten(0, -2)
        if self._collapses(*flat.shape):
            self.device.count_passes(len(flat))
            self._n_used += len(flat)
            combine, popcounts = partial(self._known_intensities().combine, flat), flat.sum(-1)
        else:
            intensities, popcounts = self._intensities(flat)
            combine = intensities.matmul
        return self.readout(combine, popcounts).unflatten(0, codes.shape[:-1])

    def _collapses(self, n_codes, n_bits):
        """Whether forming the quadratic form costs less than projecting the codes.

        Multiplications: q k^2 (2D + m) for the form and its values, twice with the way back,
        against 2 m k D for the projection, which has no way back.
        """
        if not self.device.computable:
            return False
        if self._fitted is not None and self._fitted.wants_answers(self._n_used):
            return False
        n_outputs = self.readout.weight.shape[1]
        form = 2 * n_outputs * n_bits * (2 * self.n_components + n_codes)
        return form < 2 * n_codes * self.n_components

    def _known_intensities(self):
        if self._known is None:
            weight = self.encoder.weight
            matrix = self.device.matrix(len(weight), self.n_components)
            self._known = KnownIntensities(matrix, weight)
        return self._known

    def _forms(self, intensities):
        """Return predictions as forms of the bits, given those of the intensities."""
        weights, slope, bias = self.readout.weights()
        return intensities.forms(weights).plus_popcount(slope, bias)

    def step(self, X, targets, weights):
        """Return the loss of a minibatch (float) and the surrogate to differentiate.

        The gradient of the surrogate estimates that of the objective: through the costs for
        the readout, through the gradient estimator for the encoder.
        """
        logits = self.encoder(X)
        draws = self.gradient.draw(logits, self.generator)
        predictions = self.predict(draws.codes)
        costs = self.costs(draws, predictions, targets)
        rows = self.gradient.surrogate(logits, draws, costs) + costs.values.mean(0)
        surrogate = (weights * rows).mean() + self._penalty()
        with torch.no_grad():
            loss = (weights * self.objective.value(predictions, targets)).mean()
            self._refit()
        return loss.item(), surrogate

    def costs(self, draws, predictions, targets):
        """Return the ``Costs`` of draws, with what the gradient estimator has asked for."""
        with torch.no_grad():
            probes = None if draws.probes is None else self.predict(draws.probes)
            forms = self._wanted_forms()
        return self.objective.costs(
            predictions,
            targets,
            probes=probes,
            forms=forms,
            learned=self.learned,
            progress=self.progress,
        )

    def _wanted_forms(self):
        if self.gradient.needs_known_matrix:
            return self._forms(self._known_intensities())
        return self._forms(self._fitted) if self.gradient.fits_forms else None

    @torch.no_grad()
    def loss(self, X, targets, weights):
        """Return the objective on rows, without gradients; costs S passes a row."""
        predictions = self.predict(self.gradient.draw(self.encoder(X), self.generator).codes)
        values = self.objective.value(predictions, targets)
        return ((weights * values).sum() / weights.sum()).item()

    def _refit(self):
        """Fit the forms with the answers to this minibatch, for the next one.

        Not for this one: a control variate fitted to the very draws it corrects would be
        biased. And on the side, until the minibatch is marked as done: one that is cut short
        will be done again, and must find the forms that it had.
        """
        for answers in self._answers:
            self._refitted = (self._refitted or self._fitted).with_answers(*answers)

    def _penalty(self):
        weight = self.encoder.weight
        encoder = weight.square().sum() / len(weight)
        readout = self.readout.weight.square().sum()
        quantizer = self.encoder.quantizer_penalty(self.progress)
        return self.encoder_penalty * encoder + self.readout_penalty * readout + quantizer

    def _intensities(self, codes):
        """Raw intensities (m, D) and popcounts (m,) of codes (m, k)."""
        bits = codes.to(torch.uint8).cpu().numpy()
        try:
            intensities = self.device.project(bits, self.n_components)
        except DeviceFault as fault:
            self.n_lost += 0 if fault.partial is None else len(fault.partial)
            raise
        intensities = torch.from_numpy(intensities).to(self.encoder.weight)
        if self._fitted is not None and self._fitted.wants_answers(self._n_used):
            self._answers.append((codes, intensities, self._n_used))
        self._n_used += len(codes)
        return intensities, codes.sum(-1)
