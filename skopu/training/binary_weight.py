r"""Weights with two values, layers that use them, and sign activations.

A binary weight is trained in one of these ways; all start at random and end at one of the
``values``:

=============== ==================================== ===========================================
method          value in the forward pass            gradient
=============== ==================================== ===========================================
"bop"           the parameter, always binary         as it is; the optimizer is :class:`Bop`
"ste"           sign of a latent weight              passed to the latent weight as it is; the
                                                     latent weight is clipped to [-1, 1]
"binaryconnect" drawn, the high one with             the same
                probability (l + 1) / 2
"sigmoid"       :math:`\sigma(l / T)` between the    exact; the temperature T is lowered in
                values                               training
"gumbel"        the same with logistic noise         exact, for the draw
"real"          the latent weight itself             exact; a penalty makes it binary
=============== ==================================== ===========================================

Adaptive noise moves the first two off their value by :math:`s\epsilon` of the way to the other,
with a learned scale s in [0, 1/2] for each weight and uniform :math:`\epsilon` (Lu, 2020).
"""

import torch
from torch import nn

from skopu.gradients.relaxations import gumbel_sigmoid, perturb, sigmoid_surrogate, straight_through

METHODS = ("bop", "ste", "binaryconnect", "sigmoid", "gumbel", "real")
_INITIAL_SPREAD = 0.1  # of latent weights: a hundred Adam steps of 1e-3 to the other value
_MAX_NOISE = 0.5
_CLIPPED = ("ste", "binaryconnect")  # methods of latent weights in [-1, 1]


class BinaryWeight(nn.Module):
    """A tensor of weights that end as one of two values.

    Parameters
    ----------
    shape : tuple of int
    generator : torch.Generator
        Source of the start, and of the noise while training.
    method : {"bop", "ste", "binaryconnect", "sigmoid", "gumbel", "real"}, default="ste"
        How it is trained; see the table of the module.
    values : {(-1, 1), (0, 1)}, default=(-1, 1)
        The two values.
    adaptive_noise : bool, default=False
        Learn a noise scale for each weight; for "bop" and "ste".
    initial_noise : float in [0, 0.5], default=0.25
        Where the noise scales start.

    Attributes
    ----------
    weight : nn.Parameter
        Latent weights, or for "bop" the values themselves.
    noise : nn.Parameter or None
        Noise scales.
    temperature : float
        T, for "sigmoid" and "gumbel"; set by whoever trains.
    """

    def __init__(
        self,
        shape,
        generator,
        *,
        method="ste",
        values=(-1, 1),
        adaptive_noise=False,
        initial_noise=0.25,
    ):
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method={method!r} must be one of {', '.join(METHODS)}.")
        if adaptive_noise and method not in ("bop", "ste"):
            raise ValueError(
                f"adaptive_noise=True is for methods 'bop' and 'ste', got method={method!r}."
            )
        self.method, self.values, self.temperature = method, values, 1.0
        self._generator = generator
        start = self._spread() * (2 * self._uniforms(shape) - 1)
        self.weight = nn.Parameter(self._nearest(start) if method == "bop" else start)
        noise = torch.full(shape, float(initial_noise), device=generator.device)
        self.noise = nn.Parameter(noise) if adaptive_noise else None

    def forward(self):
        """Return the values: with their gradient while training, exactly binary otherwise."""
        if not self.training:
            return self.hard()
        if self.method == "real":
            return self.weight
        bits = self._bits()
        if self.noise is not None:
            bits = perturb(bits, _clip(self.noise, 0, _MAX_NOISE), self._uniforms(bits.shape))
        low, high = self.values
        return low + (high - low) * bits

    def hard(self):
        """Return the binary values, without a gradient."""
        weight = self.weight.detach()
        return weight.clone() if self.method == "bop" else self._nearest(weight)

    def soft(self):
        """Return the values before hardening, without a gradient or noise.

        Latent weights for "ste", "binaryconnect" and "real", relaxed values for "sigmoid" and
        "gumbel", and the binary values for "bop", which has no others.
        """
        weight = self.weight.detach()
        if self.method in ("sigmoid", "gumbel"):
            low, high = self.values
            return low + (high - low) * sigmoid_surrogate(weight, self.temperature)
        return weight.clamp(-1, 1) if self.method in _CLIPPED else weight.clone()

    def _bits(self):
        low, high = self.values
        if self.method == "bop":
            return (self.weight - low) / (high - low)
        if self.method in _CLIPPED:
            latent = _clip(self.weight, -1, 1)
            return straight_through(self._chosen(latent).to(latent), latent / (high - low))
        if self.method == "sigmoid":
            return sigmoid_surrogate(self.weight, self.temperature)
        return gumbel_sigmoid(self.weight, self._uniforms(self.weight.shape), self.temperature)

    def _chosen(self, latent):
        """Where the high value is: by sign, or drawn (Courbariaux et al., 2015)."""
        if self.method == "ste":
            return latent >= 0
        return self._uniforms(latent.shape) < (latent.detach() + 1) / 2

    def _nearest(self, latent):
        low, high = self.values
        return torch.where(latent >= 0, float(high), float(low)).to(latent)

    def _spread(self):
        # A logit of 1 is as undecided as a latent weight of 0.1 among steps of Adam.
        # Draws are to begin with all of their probabilities, as BinaryConnect has it.
        wide = ("sigmoid", "gumbel", "binaryconnect")
        return 1.0 if self.method in wide else _INITIAL_SPREAD

    def _uniforms(self, shape):
        return torch.rand(shape, generator=self._generator, device=self._generator.device)


def binary_weights(module):
    """Return every :class:`BinaryWeight` inside a module."""
    return [part for part in module.modules() if isinstance(part, BinaryWeight)]


def set_temperature(module, temperature):
    """Set the temperature of every binary weight inside a module."""
    for part in binary_weights(module):
        part.temperature = temperature


def _clip(parameter, low, high):
    # The parameter itself, since a clipped copy would have no gradient to come back by; its
    # data, since a graph of an earlier use may still be waiting for its backward pass.
    parameter.data.clamp_(low, high)
    return parameter
