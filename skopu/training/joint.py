"""Encoder, device and readout as one model whose step yields gradients for both ends."""

import torch
from torch import nn

from skopu.training.answers import DeviceAnswers
from skopu.training.readout import ReadoutLayer

# Rows that gains and scales are measured on: each is a pass, and a thousand tell them to 3 %.
_MAX_CALIBRATION_ROWS = 1024


class JointModel(nn.Module):
    """Encoder and readout around a device.

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
    n_lost : int, default=0
        Passes that an earlier training made for nothing.

    Attributes
    ----------
    answers : DeviceAnswers
        The device, as this model sees it.
    progress : float
        Share of the training done, in [0, 1], for estimators with a schedule; set by the loop.
    """

    can_be_captured = False  # a device is asked

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
        n_lost=0,
    ):
        super().__init__()
        self.encoder, self.gradient, self.objective = encoder, gradient, objective
        fit_penalty = gradient.fit_penalty if gradient.fits_forms else None
        self.answers = DeviceAnswers(device, n_components, fit_penalty, n_lost)
        self.encoder_penalty, self.readout_penalty = encoder_penalty, readout_penalty
        self.learn_gamma, self.generator = learn_gamma, generator
        self.progress = 0.0

    @torch.no_grad()
    def start(self, X, n_outputs, seed):
        """Set starting weights from inputs (n, d) and measure the scale of the features."""
        self.encoder.start(X, seed)
        logits = self.encoder(X[:_MAX_CALIBRATION_ROWS])
        codes = self.gradient.draw(logits, self.generator).codes[0]
        self._build(self.answers.intensities(codes), codes.sum(-1), codes.shape[1], n_outputs)
        self.answers.learn()
        self.to(X)
        self.mark()

    def _build(self, intensities, popcounts, n_bits, n_outputs):
        self.readout = ReadoutLayer(intensities, popcounts, n_outputs, self.learn_gamma)
        learned = self.gradient.learned(n_bits)
        self.learned = nn.ParameterDict({name: nn.Parameter(v) for name, v in learned.items()})

    def state(self):
        """Return what ``resume`` takes beside the parameters: numbers, lists and tensors.

        A minibatch that was not finished will be done again with the same draws.
        """
        return {"generator": self._draws_marked, **self.answers.state()}

    @torch.no_grad()
    def resume(self, X, n_outputs, seed, tensors, state):
        """Take up the parameters and the state of a run, without a pass."""
        n_bits = len(self.encoder.bias)
        dark = X.new_zeros(2, self.answers.n_components), X.new_zeros(2)
        self._build(*dark, n_bits, n_outputs)
        self.to(X)
        self.load_state_dict(tensors)
        self.generator.set_state(state["generator"].cpu())
        self.answers.load(state, n_bits)
        self.mark()

    def mark(self):
        """Note that all so far is done: it is what ``state`` returns until the next mark."""
        self._draws_marked = self.generator.get_state()
        self.answers.mark()

    @property
    def n_passes(self):
        """Codes sent through the device, or answered in its place."""
        return self.answers.n_passes

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
        combine = self.answers.combiner(flat, self.readout.weight.shape[1])
        return self.readout(combine, flat.sum(-1)).unflatten(0, codes.shape[:-1])

    def step(self, X, targets, weights):
        """Return the loss of a minibatch (float) and the surrogate to differentiate.

        The gradient of the surrogate estimates that of the objective: through the costs for
        the readout, through the gradient estimator for the encoder.
        """
        logits = self.encoder(X)
        draws = self.gradient.draw(logits, self.generator)
        predictions = self.predict(draws.codes)
        costs = self.costs(draws, predictions, targets)
        # One backward pass for both ends: the estimator's part reaches the encoder only, since it
        # takes costs detached; the costs' part the readout only, since codes carry no graph.
        rows = self.gradient.surrogate(logits, draws, costs) + costs.values.mean(0)
        surrogate = (weights * rows).mean() + self._penalty()
        with torch.no_grad():
            # Reported from the draws at hand: further ones would be passes.
            loss = (weights * self.objective.value(predictions, targets)).mean()
            self.answers.learn()
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
        """Predictions as forms of the bits, where the gradient estimator wants them."""
        if self.gradient.needs_known_matrix:
            intensities = self.answers.known(self.encoder.bias)
        elif self.gradient.fits_forms:
            intensities = self.answers.fitted
        else:
            return None
        weights, slope, bias = self.readout.weights()
        return intensities.forms(weights).plus_popcount(slope, bias)

    @torch.no_grad()
    def loss(self, X, targets, weights):
        """Return the objective on rows, without gradients; costs S passes a row."""
        predictions = self.predict(self.gradient.draw(self.encoder(X), self.generator).codes)
        values = self.objective.value(predictions, targets)
        return ((weights * values).sum() / weights.sum()).item()

    def _penalty(self):
        weight = self.encoder.weight
        encoder = weight.square().sum() / len(weight)
        readout = self.readout.weight.square().sum()
        quantizer = self.encoder.quantizer_penalty(self.progress)
        return self.encoder_penalty * encoder + self.readout_penalty * readout + quantizer
