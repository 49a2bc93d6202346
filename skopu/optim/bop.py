"""The binary optimizer."""

import torch
from torch.optim import Optimizer


class Bop(Optimizer):
    r"""Binary optimizer: flips weights on a consistent gradient (Helwegen et al., 2019).

    With gradients :math:`g_t` averaged as (equation 1 of [1]_)

    .. math:: m_t = (1 - \gamma)\, m_{t-1} + \gamma\, g_t, \qquad m_{-1} = 0,

    a weight takes its other value if

    .. math:: |m_t| \ge \tau \quad\text{and}\quad \mathrm{sign}(m_t) = \mathrm{sign}(w_{t-1}),

    that is, if the flip goes down the averaged gradient. For values 0 and 1, "sign of w" means
    1 for w = 1 and -1 for w = 0. Equality with :math:`\tau` flips; m = 0 has no sign and never
    flips, whatever :math:`\tau`. Equation 2 of [1]_ compares with the sign of
    :math:`m_{t-1}` instead, which is a misprint: weights would then flip back and forth.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        What is optimized. Every entry must hold one of the two values from the start.
    gamma : float, default=1e-4
        :math:`\gamma`, the share of the newest gradient in the average, in (0, 1]. Larger
        values adapt faster and flip more.
    tau : float, default=1e-8
        :math:`\tau`, threshold of the averaged gradient, at least 0. Larger values flip less.
    values : {(-1, 1), (0, 1)}, default=(-1, 1)
        The two values.
    lr : float, default=1.0
        A factor of :math:`\gamma`, for learning rate schedulers.

    References
    ----------
    .. [1] Nayak, Raj, Kalyani, "[Re] A comprehensive study on binary optimizer and its
       applicability", ReScience C, 2020, of Helwegen et al., "Latent weights do not exist:
       rethinking binarized neural network optimization", NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from skopu.optim import Bop
    >>> w = torch.tensor([1.0, 1.0, -1.0], requires_grad=True)
    >>> optimizer = Bop([w], gamma=0.5, tau=0.1)
    >>> w.grad = torch.tensor([0.2, -0.2, -0.1])  # m is half of it
    >>> optimizer.step()
    >>> w.tolist()
    [-1.0, 1.0, -1.0]
    """

    def __init__(self, params, gamma=1e-4, tau=1e-8, values=(-1, 1), lr=1.0):
        defaults = {"gamma": gamma, "tau": tau, "values": values, "lr": lr}
        super().__init__(params, defaults)

    def add_param_group(self, param_group):
        """Add parameters with settings of their own.

        Parameters
        ----------
        param_group : dict
            "params", and settings that differ from those of the constructor.

        Raises
        ------
        ValueError
            If a setting is out of range or a parameter holds other values.
        """
        super().add_param_group(param_group)
        _check_group(self.param_groups[-1])

    @torch.no_grad()
    def step(self, closure=None):
        """Average the gradients and flip.

        Parameters
        ----------
        closure : callable or None, default=None
            Computes the loss and its gradients anew.

        Returns
        -------
        loss : object
            What the closure returned; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._flip(parameter, group)
        return loss

    def _flip(self, parameter, group):
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        m = state["momentum"].lerp_(parameter.grad, group["lr"] * group["gamma"])
        low, high = group["values"]
        downhill = torch.sign(m) == torch.sign(2 * parameter - (low + high))
        flips = downhill & (m.abs() >= group["tau"])
        parameter.copy_(torch.where(flips, low + high - parameter, parameter))


def _check_group(group):
    gamma, tau, values = group["gamma"], group["tau"], tuple(group["values"])
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma={gamma!r} must lie in (0, 1]: 1e-4 is a good first try.")
    if not tau >= 0:
        raise ValueError(f"tau={tau!r} must be at least 0: 1e-8 is a good first try.")
    if values not in ((-1, 1), (0, 1)):
        raise ValueError(f"values={group['values']!r} must be (-1, 1) or (0, 1).")
    for parameter in group["params"]:
        low, high = values
        others = parameter.detach()[(parameter != low) & (parameter != high)]
        if len(others):
            raise ValueError(
                f"a parameter of shape {tuple(parameter.shape)} holds {others[0].item():.4g}, and "
                f"Bop moves between values={values} only: start it at these values, or give it "
                "to another optimizer."
            )
