"""Encoder, device and readout as one model whose step yields gradients for both ends."""

import math
from functools import partial

import torch
from torch import nn

_MAX_CALIBRATION_ROWS = 1024


class Readout(nn.Module):
    r"""Linear readout of centred, scaled features, with an optional learned :math:`\gamma`.

    Every intensity :math:`I_j = |r_j^\top z|^2` is the popcount of z, times the gain of the
    camera, plus what tells codes apart. The common part would swamp the gradient, so features
    are :math:`f_j = (I_j - g_j \|z\|^2) / s_j`, with the gain :math:`g_j` and the scale
    :math:`s_j` measured on starting codes; the popcount itself is one more. Predictions are
    :math:`b + \sum_j w_j \gamma_j^2 f_j` (equation 13 of Kozyrskiy et al.).

    Parameters
    ----------
    intensities : Tensor of shape (m, D)
        Of starting codes.
    popcounts : Tensor of shape (m,)
        Of the same codes.
    n_outputs : int
        q.
    learn_gamma : {"scalar", "feature"} or None
    """

    def __init__(self, intensities, popcounts, n_outputs, learn_gamma):
        super().__init__()
        n_components = intensities.shape[1]
        gain = intensities.mean(0) / popcounts.mean().clamp_min(1)
        scale = (intensities - popcounts[:, None] * gain).std(0, correction=0)
        # A component that never varies must not be blown up.
        scale = scale.clamp_min(1e-3 * scale.mean() + 1e-12) * math.sqrt(n_components)
        self.register_buffer("gain", gain)
        self.register_buffer("scale", scale)
        self.register_buffer("popcount_mean", popcounts.mean())
        self.register_buffer("popcount_scale", popcounts.std(correction=0).clamp_min(1))
        self.weight = nn.Parameter(torch.zeros(n_components + 1, n_outputs))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        sizes = {"scalar": 1, "feature": n_components + 1}
        size = sizes.get(learn_gamma)
        self.log_gamma = nn.Parameter(torch.zeros(size)) if size else None

    def forward(self, combine, popcounts):
        """Return predictions (m, q) of m codes.

        Parameters
        ----------
        combine : callable
            Gives linear combinations (m, q) of the codes' intensities for weights (D, q).
        popcounts : Tensor of shape (m,)
        """
        weight = self.weight
        if self.log_gamma is not None:
            weight = weight * torch.exp(2 * self.log_gamma)[:, None]
        # The scaling is applied to the weights, so that no copy of the intensities is made.
        scaled = weight[:-1] / self.scale[:, None]
        centred = (popcounts - self.popcount_mean) / self.popcount_scale
        common = torch.outer(popcounts, self.gain @ scaled)
        return combine(scaled) - common + torch.outer(centred, weight[-1]) + self.bias

    def gamma(self):
        """Return the learned gamma: a float, or a float64 array (D + 1,), the popcount's last."""
        if self.log_gamma is None:
            return 1.0
        gamma = self.log_gamma.detach().double().exp().cpu().numpy()
        return float(gamma[0]) if len(gamma) == 1 else gamma


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
        self.n_passes = 0
        self._matrix = None

    @torch.no_grad()
    def start(self, X, n_outputs, seed):
        """Set starting weights from inputs (n, d) and measure the scale of the features."""
        self.encoder.start(X, seed)
        logits = self.encoder(X[:_MAX_CALIBRATION_ROWS])
        codes = self.gradient.draw(logits, self.generator)[0]
        self.readout = Readout(*self._intensities(codes), n_outputs, self.learn_gamma)
        self.to(X.device)

    @property
    def gamma(self):
        """The learned scale: a float, or a float64 array (D + 1,), the popcount's last."""
        return self.readout.gamma()

    def groups(self, learning_rate, readout_learning_rate):
        """Return parameter groups for the optimizer."""
        return [
            {"params": self.encoder.parameters(), "lr": learning_rate},
            {"params": self.readout.parameters(), "lr": readout_learning_rate},
        ]

    def encoder_weights(self):
        """Return W (k, d) and b (k,)."""
        return self.encoder.weight, self.encoder.bias

    def predict(self, codes):
        """Return predictions (S, n, q) of codes (S, n, k)."""
        n_draws, n_samples, n_bits = codes.shape
        flat = codes.reshape(-1, n_bits)
        if self._collapses(len(flat), n_bits):
            self._count(len(flat))
            flat = flat.to(self.encoder.weight.dtype)
            predictions = self.readout(partial(self._collapsed, flat), flat.sum(-1))
        else:
            intensities, popcounts = self._intensities(flat)
            predictions = self.readout(intensities.matmul, popcounts)
        return predictions.reshape(n_draws, n_samples, -1)

    def _count(self, n_codes):
        """Count codes as passes that were answered without the device."""
        self.n_passes += n_codes
        self.device.n_passes += n_codes

    def _collapses(self, n_codes, n_bits):
        """Whether forming the quadratic form costs less than projecting the codes.

        Multiplications: q k^2 (2D + m) for the form and its values, three times with the way
        back, against 2 m k D for the projection, which has no way back.
        """
        if not self.device.known_matrix:
            return False
        n_outputs = self.readout.weight.shape[1]
        form = 3 * n_outputs * n_bits * (2 * self.n_components + n_codes)
        return form < 2 * n_codes * self.n_components

    def _collapsed(self, codes, weights):
        """Combine intensities to (m, q), as quadratic forms z'Qz of codes (m, k).

        With A the real above the imaginary parts of R, a combination with weights w is
        z' A' diag(w, w) A z: the intensities themselves are never made.
        """
        if self._matrix is None:
            R = torch.from_numpy(self.device.matrix(codes.shape[1], self.n_components))
            self._matrix = torch.cat([R.real, R.imag]).to(codes)
        A = self._matrix
        Q = (weights.T.repeat(1, 2)[:, None] * A.T) @ A  # (q, k, k)
        return ((codes @ Q) * codes).sum(-1).T

    def step(self, X, targets, weights):
        """Return the loss of a minibatch (float) and the surrogate to differentiate.

        The gradient of the surrogate estimates that of the objective: through the costs for
        the readout, through the gradient estimator for the encoder.
        """
        logits = self.encoder(X)
        codes = self.gradient.draw(logits, self.generator)
        predictions = self.predict(codes)
        terms = self.objective.score_terms(predictions, targets)
        rows = self.gradient.surrogate(logits, codes, terms) + terms.costs.mean(0)
        surrogate = (weights * rows).mean() + self._penalty()
        with torch.no_grad():
            loss = (weights * self.objective.value(predictions, targets)).mean()
        return loss.item(), surrogate

    @torch.no_grad()
    def loss(self, X, targets, weights):
        """Return the objective on rows, without gradients; costs S passes a row."""
        predictions = self.predict(self.gradient.draw(self.encoder(X), self.generator))
        values = self.objective.value(predictions, targets)
        return ((weights * values).sum() / weights.sum()).item()

    def _penalty(self):
        weight = self.encoder.weight
        encoder = weight.square().sum() / len(weight)
        readout = self.readout.weight.square().sum()
        return self.encoder_penalty * encoder + self.readout_penalty * readout

    def _intensities(self, codes):
        """Raw intensities (m, D) and popcounts (m,) of codes (m, k)."""
        intensities = self.device.project(codes.cpu().numpy(), self.n_components)
        self.n_passes += len(codes)  # the device has counted them itself
        popcounts = codes.sum(-1, dtype=self.encoder.weight.dtype)
        return torch.from_numpy(intensities).to(popcounts), popcounts
