r"""Rules in disjunctive normal form as a differentiable layer.

For literals :math:`x_i \in \{0, 1\}`, memberships :math:`W_{ji} \in \{0, 1\}` of literal i in rule
j and :math:`v_j \in \{0, 1\}` of the rule in the formula,

.. math::

    r_j(x) = \prod_i \big(1 - W_{ji} (1 - x_i)\big), \qquad
    f(x) = 1 - \prod_j \big(1 - v_j r_j(x)\big),

which is "and" inside a rule and "or" over rules where W and v are binary, and a polynomial of
them in between.
"""

import torch
from torch import nn

from skopu.training.binary_weight import BinaryWeight

_INITIAL_DENSITY = 3.0  # literals in a rule at the start, if there are many to choose from
_INITIAL_NOISE = 30.0  # sum of the noise scales of a rule's literals at the start
_SPREAD = 0.5  # of latent weights, which keep to [-1, 1]
_MAX_NOISE = 0.5


class Conjunction(torch.autograd.Function):
    r"""Values of rules, :math:`r_{nj} = \prod_i (1 - W_{ji} a_{ni})` with :math:`a = 1 - x`.

    Since a is 0 or 1, the product is :math:`\exp \sum_i a_{ni} \log(1 - W_{ji})`: one matrix
    product instead of n times R times K factors. Factors that are exactly 0, as all binary ones
    that fail, have no logarithm and are counted instead. The gradient in :math:`W_{ji}` is minus
    :math:`a_{ni}` times the product of the *other* factors, exact too where one of the factors
    is 0: it is the product of the rest if i is the only zero, and 0 if there is another.
    """

    @staticmethod
    def forward(
        ctx,
        absent,  # shape: (n, K)
        weight,  # shape: (*batch, R, K)
    ):
        """Return the values of the rules, shape (*batch, n, R)."""
        is_one = weight >= 1
        logs = torch.log1p(-weight.masked_fill(is_one, 0))
        others = torch.exp(absent @ logs.mT)
        n_zeros = absent @ is_one.to(absent).mT
        ctx.save_for_backward(absent, weight, others, n_zeros)
        return others * (n_zeros == 0)

    @staticmethod
    def backward(ctx, grad):
        """Return the gradient in the weights; the literals have none."""
        absent, weight, others, n_zeros = ctx.saved_tensors
        is_one = weight >= 1
        pushed = grad * others
        inside = (pushed * (n_zeros == 0)).mT @ absent / (1 - weight).masked_fill(is_one, 1)
        at_one = (pushed * (n_zeros == 1)).mT @ absent
        return None, -torch.where(is_one, at_one, inside)


class DNF(nn.Module):
    """C formulas of R rules over the same K literals.

    Parameters
    ----------
    n_formulas, n_rules, n_literals : int
        C, R and K.
    generator : torch.Generator
        Source of the start, and of the noise while training.
    method : {"ste", "bop"}
        How the memberships are trained; see :mod:`skopu.training.binary_weight`.
    adaptive_noise : bool
        Perturb them by a learned noise while training.
    """

    def __init__(self, n_formulas, n_rules, n_literals, generator, *, method, adaptive_noise):
        super().__init__()
        settings = {"method": method, "values": (0, 1), "adaptive_noise": adaptive_noise}
        noise = min(_MAX_NOISE, _INITIAL_NOISE / n_literals)
        shape = n_formulas, n_rules, n_literals
        self.literals = BinaryWeight(shape, generator, initial_noise=noise, **settings)
        shape = n_formulas, 1, n_rules
        self.rules = BinaryWeight(shape, generator, initial_noise=_MAX_NOISE, **settings)
        _start(self.literals, min(0.5, _INITIAL_DENSITY / n_literals), generator)
        _start(self.rules, 1.0, generator)

    def forward(self, absent):
        """Return values (n, C) and the mean number of literals in a rule.

        ``absent`` is 1 - x for literals x, shape (n, K).
        """
        literals = self.literals()
        values = Conjunction.apply(absent, literals)
        # torch's product keeps the gradient where factors are 0.
        missed = torch.prod(1 - values * self.rules(), dim=-1)
        return 1 - missed.mT, literals.sum(-1).mean()


@torch.no_grad()
def _start(part, density, generator):
    """Start weights at 1 with probability ``density``, latent ones at random depths."""
    shape, device = part.weight.shape, generator.device
    is_one = torch.rand(shape, generator=generator, device=device) < density
    if part.method == "bop":
        part.weight.copy_(is_one)
    else:
        depth = _SPREAD * torch.rand(shape, generator=generator, device=device)
        part.weight.copy_(torch.where(is_one, depth, -depth))
