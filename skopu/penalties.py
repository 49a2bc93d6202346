r"""Penalties that draw the weights of a network to two values.

Written for weights w and a scale :math:`\alpha > 0`, with a base function f that is zero at
zero, even, and grows away from zero (Partovi Nia and Belbahri, "Binary quantizer", 2020).
"""

import math
from dataclasses import KW_ONLY, dataclass
from numbers import Real

from skopu._core.documented import Documented
from skopu._core.parts import resolve_part
from skopu._core.torch_needed import torch
from skopu._core.validation import Interval, StrOptions, validate_params

__all__ = ["BASES", "BinaryQuantizer", "absolute", "foothill", "resolve_penalty", "square_root"]

_ROOT_SHIFT = 1e-6  # the slope of a square root at zero is infinite


def absolute(w):
    r"""Return :math:`|w|` (equation 1 of the paper)."""
    return w.abs()


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


BASES = {"absolute": absolute, "foothill": foothill, "square_root": square_root}


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
    base : {"absolute", "foothill", "square_root"} or callable, default="absolute"
        f, from tensor to tensor.
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
    "square_root": lambda: BinaryQuantizer("square_root"),
}


def resolve_penalty(penalty):
    """Return the checked quantizer that ``penalty`` (a name, an object or None) stands for.

    Parameters
    ----------
    penalty : {"absolute", "foothill", "square_root"}, BinaryQuantizer or None
        "foothill" is used with equation 4 as in the paper, the others with equation 5.

    Returns
    -------
    quantizer : BinaryQuantizer or None
    """
    if penalty is None:
        return None
    quantizer = resolve_part(penalty, PENALTIES, "penalty")
    quantizer.check()
    return quantizer
