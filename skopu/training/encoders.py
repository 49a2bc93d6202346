"""Encoders: from inputs to the logits of Bernoulli bits."""

import numpy as np
import torch
from torch import nn

from skopu._core.thresholds import quantile_thresholds
from skopu.exceptions import IncompatiblePartsError
from skopu.penalties import resolve_penalty
from skopu.training.binary_weight import BinaryWeight

# The start, measured to be better than Glorot's, which leaves all bits undecided at first: the
# standard deviation of the logits over the rows, and the quantiles between which bits cut them.
_INITIAL_SPREAD = 2.0
_QUANTILES = (0.1, 0.9)
_SHARES = {"hyperplanes": 0.0, "mixed": 0.5, "thresholds": 1.0}  # of bits at thresholds
_SLOPE = 10.0  # of their logits, per standard deviation of the column
_RAMP_EPOCHS = 100  # of the quantizer's strength, whatever the number of minibatches


def make_encoder(n_features, settings, seed, start):
    """Return the encoder that ``settings.weights`` asks for, not yet started.

    Parameters
    ----------
    n_features : int
        d.
    settings : object
        With ``n_bits``, ``weights``, ``weight_optimizer`` and ``penalty``.
    seed : int
        Of the starting signs.
    start : str
        As ``LinearEncoder`` has it.
    """
    if settings.weights == "real":
        return LinearEncoder(n_features, settings.n_bits, start)
    if start != "hyperplanes":
        raise IncompatiblePartsError(
            f"start={start!r} sets weights to 0 and binary ones have none: use "
            "start='hyperplanes' or weights='real'."
        )
    quantizer = resolve_penalty(settings.penalty)
    method = settings.weight_optimizer
    if quantizer is not None and method != "ste":
        raise IncompatiblePartsError(
            f"penalty={settings.penalty!r} acts on latent weights, which weight_optimizer="
            f"{method!r} does not have: use weight_optimizer='ste'."
        )
    generator = torch.Generator().manual_seed(seed)
    return BinaryEncoder(n_features, settings.n_bits, generator, method, quantizer)


class LinearEncoder(nn.Module):
    r"""Linear encoder: bit probabilities :math:`\sigma(Wx + b)` (equation 12 of Kozyrskiy et al.).

    Parameters
    ----------
    n_features, n_bits : int
        d and k.
    where : {"hyperplanes", "thresholds", "mixed"}, default="hyperplanes"
        Where ``start`` begins: with random directions, with thresholds of single columns, or with
        half of the bits at each.
    """

    def __init__(self, n_features, n_bits, where="hyperplanes"):
        super().__init__()
        self.where = where
        self.weight = nn.Parameter(torch.zeros(n_bits, n_features))
        self.bias = nn.Parameter(torch.zeros(n_bits))

    def forward(self, X):
        """Return logits of shape (n, k) for inputs (n, d)."""
        return nn.functional.linear(X, self.weight, self.bias)

    @torch.no_grad()
    def start(self, X, seed):
        """Set the starting weights from inputs X of shape (n, d).

        Directions are uniform on the sphere, scaled so that the logits spread by 2 over the
        rows: wide enough to be informative, narrow enough to be undecided. The threshold of
        a bit is a random quantile between 10 and 90 % of its projection, so bits cut the data
        at different places instead of all through the middle.

        Bits that start at thresholds cut a column each, where a thermometer's of as many bits
        would, with a slope of 10 per standard deviation: at 4, energy lost what is won. Where
        columns have too few values for all of them, the rest are hyperplanes.
        """
        rng = np.random.default_rng(seed)
        directions = rng.standard_normal(self.weight.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        projections = X.cpu().numpy().astype(np.float64) @ directions.T
        scale, bias = _scale_and_bias(projections, rng)
        self.weight.copy_(torch.from_numpy(directions * scale[:, None]))
        self.bias.copy_(torch.from_numpy(bias))
        n_cuts = round(_SHARES[self.where] * len(bias))
        if n_cuts:
            self._start_at_thresholds(X.cpu().numpy().astype(np.float64), n_cuts)

    def _start_at_thresholds(self, X, n_cuts):
        columns, thresholds = quantile_thresholds(X, n_cuts)
        bits, slopes = np.arange(len(columns)), _SLOPE / X.std(axis=0)[columns]
        weight = np.zeros((len(columns), X.shape[1]))
        weight[bits, columns] = slopes
        self.weight[: len(columns)] = torch.from_numpy(weight).to(self.weight)
        self.bias[: len(columns)] = torch.from_numpy(-slopes * thresholds).to(self.bias)

    def quantizer_penalty(self, progress):
        """Return 0: real weights may have any value."""
        return 0.0


class BinaryEncoder(nn.Module):
    r"""Encoder with bit probabilities :math:`\sigma(s \circ Bx + b)`, entries of B being -1 and 1.

    The scales s are positive, one for each bit. The most probable code is
    :math:`1[Bx > -b / s]`: additions, and a comparison with a number for each bit.

    Parameters
    ----------
    n_features, n_bits : int
        d and k.
    generator : torch.Generator
        Source of the starting signs.
    method : {"bop", "ste"}, default="bop"
        How the signs are trained; see :class:`~skopu.training.binary_weight.BinaryWeight`.
    quantizer : BinaryQuantizer or None, default=None
        Penalty of the latent weights of "ste".
    """

    def __init__(self, n_features, n_bits, generator, method="bop", quantizer=None):
        super().__init__()
        self.signs = BinaryWeight((n_bits, n_features), generator, method=method)
        self.log_scale = nn.Parameter(torch.zeros(n_bits))
        self.bias = nn.Parameter(torch.zeros(n_bits))
        self.quantizer = quantizer
        if quantizer is not None:
            start = quantizer.start_scale(self.signs.weight)
            self.alpha = nn.Parameter(start, quantizer.scale == "learn")

    @property
    def weight(self):
        """W of shape (k, d), the signs times their scales, with their gradients."""
        return self.log_scale.exp()[:, None] * self.signs()

    def forward(self, X):
        """Return logits of shape (n, k) for inputs (n, d)."""
        return nn.functional.linear(X, self.weight, self.bias)

    @torch.no_grad()
    def start(self, X, seed):
        """Set scales and biases from inputs X of shape (n, d), as ``LinearEncoder`` does.

        Logits spread by 2 over the rows, and bits cut them at random quantiles between 10
        and 90 %.
        """
        projections = (X.double() @ self.signs.hard().double().T).cpu().numpy()
        scale, bias = _scale_and_bias(projections, np.random.default_rng(seed))
        self.log_scale.copy_(torch.from_numpy(np.log(scale)))
        self.bias.copy_(torch.from_numpy(bias))

    def quantizer_penalty(self, progress):
        """Return the quantizer's penalty of the latent weights; 0 without a quantizer."""
        if self.quantizer is None:
            return 0.0
        epoch = 1 + (_RAMP_EPOCHS - 1) * progress
        strength = self.quantizer.strength_at(epoch, _RAMP_EPOCHS)
        return strength * self.quantizer.value(self.signs.weight, self.alpha)


def _scale_and_bias(projections, rng):
    """Return what makes starting logits of projections (n, k): a scale and a bias for each bit."""
    spread = projections.std(axis=0)
    flat = 1e-8 * np.abs(projections).max(axis=0)
    scale = np.divide(_INITIAL_SPREAD, spread, out=np.ones(len(spread)), where=spread > flat)
    return scale, -_quantiles(projections, rng.uniform(*_QUANTILES, size=len(spread))) * scale


def _quantiles(columns, levels):
    """Return the quantile of each column (n, k) at its own level: all of them in one sort."""
    ordered = np.sort(columns, axis=0)
    places = levels * (len(columns) - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, len(columns) - 1)
    each = np.arange(len(levels))
    low, high = ordered[below, each], ordered[above, each]
    return low + (places - below) * (high - low)
