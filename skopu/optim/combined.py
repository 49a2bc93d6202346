"""Several optimizers as one."""

from torch.optim import Optimizer


class CombinedOptimizer(Optimizer):
    """Several optimizers that step together, each with parameters of its own.

    Binary parameters go to :class:`Bop`, the rest to Adam, and what comes out is one optimizer,
    with the parameter groups of all, for a training loop or a learning rate scheduler.

    Parameters
    ----------
    named_parameters : iterable of (str, Tensor)
        What must be optimized, such as ``module.named_parameters()``.
    optimizers : sequence of torch.optim.Optimizer
        Already given their parameters.

    Attributes
    ----------
    optimizers : list of torch.optim.Optimizer
        The parts.

    Raises
    ------
    ValueError
        If a parameter that needs a gradient has no optimizer, or two.

    Examples
    --------
    >>> import torch
    >>> from skopu.optim import Bop, CombinedOptimizer
    >>> layer = torch.nn.Linear(3, 2)
    >>> _ = torch.nn.init.ones_(layer.weight)
    >>> parts = [Bop([layer.weight]), torch.optim.Adam([layer.bias], lr=0.01)]
    >>> optimizer = CombinedOptimizer(layer.named_parameters(), parts)
    >>> [group["lr"] for group in optimizer.param_groups]
    [1.0, 0.01]
    >>> CombinedOptimizer(layer.named_parameters(), parts[:1])
    Traceback (most recent call last):
        ...
    ValueError: parameter 'bias' has no optimizer: it must be given to exactly one of Bop.
    """

    def __init__(self, named_parameters, optimizers):
        self.optimizers = list(optimizers)
        groups = self._groups()
        self._n_groups = len(groups)
        _check_claims(named_parameters, self.optimizers)
        super().__init__([{"params": group["params"]} for group in groups], {})
        # The groups are those of the parts: a scheduler that sets a rate here sets it there.
        self.param_groups = groups

    def _groups(self):
        return [group for part in self.optimizers for group in part.param_groups]

    def add_param_group(self, param_group):
        """Refuse: which part would step it is not known.

        Parameters
        ----------
        param_group : dict
            To be given to ``add_param_group`` of one of the parts, before they are combined.

        Raises
        ------
        ValueError
            Always, once the optimizer is made.
        """
        if len(self.param_groups) == self._n_groups:
            raise ValueError(
                "a CombinedOptimizer takes no further parameters: add the group to one of its "
                "parts, then combine them."
            )
        super().add_param_group(param_group)

    def step(self, closure=None):
        """Let every part take a step.

        Parameters
        ----------
        closure : callable or None, default=None
            Computes the loss and its gradients anew; called once, for all parts.

        Returns
        -------
        loss : object
            What the closure returned; None without one.
        """
        loss = None if closure is None else closure()
        for part in self.optimizers:
            part.step()
        return loss

    def state_dict(self):
        """Return the states of the parts, under "optimizers"."""
        return {"optimizers": [part.state_dict() for part in self.optimizers]}

    def load_state_dict(self, state_dict):
        """Load the states of the parts.

        Parameters
        ----------
        state_dict : dict
            From ``state_dict``.
        """
        for part, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups()


def _check_claims(named_parameters, optimizers):
    claims = {}
    for part in optimizers:
        for group in part.param_groups:
            for parameter in group["params"]:
                claims.setdefault(id(parameter), []).append(type(part).__name__)
    names = ", ".join(type(part).__name__ for part in optimizers)
    for name, parameter in named_parameters:
        owners = claims.get(id(parameter), [])
        if parameter.requires_grad and len(owners) != 1:
            found = f"was given to {' and '.join(owners)}" if owners else "has no optimizer"
            raise ValueError(
                f"parameter {name!r} {found}: it must be given to exactly one of {names}."
            )
