"""Ways to let a gradient pass where a value is 0 or 1.

Shared by the gradient estimators of random codes and by layers with binary weights. ``uniforms``
are draws from [0, 1): the randomness is the caller's, so that a relaxed value and the binary one
can come from the same draw.
"""

import torch


def straight_through(hard, soft):
    """Return ``hard``, with the gradient of ``soft`` (Bengio et al., 2013)."""
    return hard + (soft - soft.detach())


def sigmoid_surrogate(logits, temperature):
    r"""Return :math:`\sigma(l / T)`: in (0, 1), and near 0 or 1 when T is small."""
    return torch.sigmoid(logits / temperature)


def logistic_noise(uniforms):
    r"""Return :math:`\log(1 - u) - \log u`, such that :math:`l + g > 0` where u < sigma(l)."""
    smallest = torch.finfo(uniforms.dtype).tiny
    # Draws are below 1; uniforms made from a probability near 1 may be rounded to it.
    largest = 1 - torch.finfo(uniforms.dtype).eps / 2
    return torch.log1p(-uniforms.clamp_max(largest)) - torch.log(uniforms.clamp_min(smallest))


def gumbel_sigmoid(logits, uniforms, temperature):
    r"""Return :math:`\sigma((l + g) / T)` with logistic noise g, the two-class Gumbel-softmax.

    As T goes to 0 it becomes the Bernoulli draw u < sigma(l) (Jang et al., Maddison et al.,
    2017).
    """
    return sigmoid_surrogate(logits + logistic_noise(uniforms), temperature)


def gumbel_softmax(logits, uniforms, temperature):
    r"""Return :math:`\mathrm{softmax}((l + g) / T)` over the last axis, :math:`g = -\log(-\log u)`.

    The relaxation of one out of K (Jang et al., 2017): as T goes to 0 it becomes 1 at a draw from
    softmax(l), and 0 elsewhere. Of two classes with logits l and 0, the first is distributed as
    ``gumbel_sigmoid``.
    """
    smallest = torch.finfo(uniforms.dtype).tiny
    noise = -torch.log(-torch.log(uniforms.clamp_min(smallest)))
    return torch.softmax((logits + noise) / temperature, -1)


def perturb(bits, scale, uniforms):
    r"""Move bits into the interval by :math:`\sigma \epsilon`: 1 to 1 - s e, 0 to s e.

    The adaptive noise of Neural DNF, for scales s in [0, 1/2] that are learned and e uniform.
    """
    return bits + scale * uniforms * (1 - 2 * bits)
