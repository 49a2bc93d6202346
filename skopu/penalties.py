r"""Penalties that draw the weights of a network to two values.

Written for weights w and a scale :math:`\alpha > 0`, with a base function f that is zero at
zero, even, and grows away from zero (Partovi Nia and Belbahri, "Binary quantizer", 2020).
"""

import math
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Real

from skopu._core.documented import Documented
from skopu._core.parts import resolve_part
from skopu._core.torch_needed import torch
from skopu._core.validation import Interval, StrOptions, validate_params

__all__ = [
    "BASES",
    "BinaryQuantizer",
    "absolute",
    "elastic_net",
    "foothill",
    "resolve_penalty",
    "scad",
    "square",
    "square_root",
]

_ROOT_SHIFT = 1e-6  # the slope of a square root at zero is infinite


def absolute(w):
    r"""Return :math:`|w|` (equation 1 of the paper)."""
    return w.abs()


def square(w):
    r"""Return :math:`w^2` (equation 2)."""
    return w.square()


def elastic_net(w, share=0.5):
    r"""Return :math:`\delta |w| + (1 - \delta) w^2` (equation 3).

    Parameters
    ----------
    w : Tensor
    share : float, default=0.5
        :math:`\delta`, in [0, 1].

    Returns
    -------
    values : Tensor
    """
    return share * w.abs() + (1 - share) * w.square()


def scad(w, threshold=0.6, a=3.7):
    r"""Return the penalty of Fan and Li (2001): linear near zero, constant far from it.

    Its slope is t up to t, then falls to 0 at a t, for a threshold t. The paper's figure 2 shows it
    as a base of equation 4; under equation 5 weights in the tails would not be drawn to
    :math:`\alpha`, if :math:`\alpha` lies there too.

    Parameters
    ----------
    w : Tensor
    threshold : float, default=0.6
        t. With the a of Fan and Li the tails begin at 2.2, beyond most weights of a network.
    a : float, default=3.7
        Above 1.

    Returns
    -------
    values : Tensor
    """
    size = w.abs()
    bent = (2 * a * threshold * size - size.square() - threshold**2) / (2 * (a - 1))
    tail = torch.full_like(size, threshold**2 * (a + 1) / 2)
    return torch.where(
        size <= threshold, threshold * size, torch.where(size <= a * threshold, bent, tail)
    )


def foothill(w, gamma=1.0, beta=50.0):
    r"""Return :math:`\gamma w \tanh(\beta w / 2)` (equation 6).

    About :math:`\gamma |w|` beyond :math:`1 / \beta`, and smooth at zero. For other shapes pass
    ``functools.partial(foothill, gamma=0.5, beta=10)`` as the base.

    Parameters
    ----------
    w : Tensor
    gamma : float, default=1.0
        Slope far from zero.
    beta : float, default=50.0
        Sharpness of the turn at zero.

    Returns
    -------
    values : Tensor
    """
    return gamma * w * torch.tanh(beta * w / 2)


def square_root(w):
    r"""Return :math:`\sqrt{|w|}`, shifted by 1e-6 under the root so that its slope is finite."""
    return torch.sqrt(w.abs() + _ROOT_SHIFT) - math.sqrt(_ROOT_SHIFT)


BASES = {
    base.__name__: base for base in (absolute, square, elastic_net, scad, foothill, square_root)
}


@dataclass(eq=False, repr=False)
class BinaryQuantizer(Documented):
    r"""Penalty with minima at :math:`\pm\alpha` for each weight.

    Added to the loss is :math:`\lambda_t \sum_l \sum_{w \in l} R(w)` over layers l, with

    .. math::

        R(w) = f(w - \alpha_l\, \mathrm{sign}(w)) \quad\text{("shifted", equation 4)}, \qquad
        R(w) = |f(w) - f(\alpha_l)|^p \quad\text{("difference", equation 5)}.

    The paper writes equation 5 with a symbol introduced as the inverse image of :math:`\alpha`
    under f; with the inverse, the minima would not be at :math:`\pm\alpha` unless f is the
    absolute value, so :math:`f(\alpha)` is meant. For the absolute value, "difference" is
    :math:`||w| - \alpha|^p` (equation 8), whose best :math:`\alpha` is the median of
    :math:`|w|` for p = 1 and the mean for p = 2.

    The strength grows with the epochs t = 1, ..., T as :math:`\lambda_t = \lambda \log t /
    \log T`: the paper's :math:`\varepsilon \eta \log t`, written with its last value.

    Parameters
    ----------
    base : str or callable, default="absolute"
        f, from tensor to tensor: "absolute", "square", "elastic_net" (equations 1 to 3), "scad",
        "foothill" (equation 6), "square_root", or a function.
    form : {"difference", "shifted"}, default="difference"
        Equation 5 or 4.
    p : float, default=1.0
        Exponent of "difference".
    strength : float, default=1e-3
        :math:`\lambda`, reached in the last epoch.
    ramp : {"log"} or None, default="log"
        None: :math:`\lambda` from the start.
    scale : "learn" or float, default="learn"
        :math:`\alpha`: learned for each layer along with the weights, or given for all.

    References
    ----------
    Partovi Nia, Belbahri, "Binary quantizer", 2020; equation 6 is from Belbahri et al.,
    "Foothill: a quasiconvex regularization for edge computing of deep neural networks", 2019.

    Examples
    --------
    >>> import torch
    >>> from skopu.penalties import BinaryQuantizer
    >>> quantizer = BinaryQuantizer(p=2.0)
    >>> quantizer.value(torch.tensor([-1.0, 0.5, 2.0]), torch.tensor(1.0))
    tensor(1.2500)
    >>> [round(quantizer.strength_at(t, 100), 6) for t in (1, 10, 100)]
    [0.0, 0.0005, 0.001]
    """

    _parameter_constraints = {
        "base": [StrOptions(set(BASES)), callable],
        "form": [StrOptions({"difference", "shifted"})],
        "p": [Interval(Real, 0, None, closed="neither")],
        "strength": [Interval(Real, 0, None, closed="left")],
        "ramp": [StrOptions({"log"}), None],
        "scale": [StrOptions({"learn"}), Interval(Real, 0, None, closed="neither")],
    }

    base: str = "absolute"
    _: KW_ONLY
    form: str = "difference"
    p: float = 1.0
    strength: float = 1e-3
    ramp: str = "log"
    scale: float | str = "learn"

    def check(self):
        """Raise ValueError if a parameter is out of range."""
        validate_params(self)

    def value(self, weight, alpha):
        r"""Return :math:`\sum R(w)` over the weights of a layer.

        Parameters
        ----------
        weight : Tensor of any shape
        alpha : Tensor of shape () or a shape that broadcasts
            The scale; its sign does not count.

        Returns
        -------
        value : Tensor of shape ()
        """
        f = BASES[self.base] if isinstance(self.base, str) else self.base
        alpha = alpha.abs()
        if self.form == "shifted":
            return f(weight - torch.where(weight >= 0, alpha, -alpha)).sum()
        return (f(weight) - f(alpha)).abs().pow(self.p).sum()

    def start_scale(self, weight):
        r"""Return the :math:`\alpha` to start from: the mean of :math:`|w|`, or the one given.

        Parameters
        ----------
        weight : Tensor of any shape

        Returns
        -------
        alpha : Tensor of shape ()
        """
        if self.scale == "learn":
            return weight.detach().abs().mean()
        return torch.tensor(float(self.scale), dtype=weight.dtype, device=weight.device)

    def strength_at(self, epoch, n_epochs):
        r"""Return :math:`\lambda_t`.

        Parameters
        ----------
        epoch : float
            t, from 1 to ``n_epochs``.
        n_epochs : int
            T.

        Returns
        -------
        strength : float
        """
        if self.ramp is None or n_epochs == 1:
            return self.strength
        return self.strength * math.log(epoch) / math.log(n_epochs)


PENALTIES = {
    "absolute": BinaryQuantizer,
    "foothill": lambda: BinaryQuantizer("foothill", form="shifted"),
    "scad": lambda: BinaryQuantizer("scad", form="shifted"),
    **{name: partial(BinaryQuantizer, name) for name in ("square", "elastic_net", "square_root")},
}


def resolve_penalty(penalty):
    """Return the checked quantizer that ``penalty`` (a name, an object or None) stands for.

    Parameters
    ----------
    penalty : str, BinaryQuantizer or None
        The name of a base. "foothill" and "scad" are used with equation 4 as in the paper, the
        others with equation 5.

    Returns
    -------
    quantizer : BinaryQuantizer or None
    """
    if penalty is None:
        return None
    quantizer = resolve_part(penalty, PENALTIES, "penalty")
    quantizer.check()
    return quantizer
