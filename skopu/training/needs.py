"""What the parts of a training need of each other, as data, and the one check of it all."""

from types import SimpleNamespace
from typing import NamedTuple

from skopu.exceptions import IncompatiblePartsError


class Need(NamedTuple):
    """What one part asks for by an attribute, and another has by one.

    Attributes
    ----------
    asker, giver : {"gradient", "objective", "device", "readout"}
        The two parts.
    asks, has : str
        Their attributes: where the first is true, the second has to be.
    sentence : str
        What is missing and what to do; the parts are inserted by name.
    """

    asker: str
    asks: str
    giver: str
    has: str
    sentence: str

    def is_met(self, parts):
        """Whether the need is met, or not felt."""
        wants = getattr(parts[self.asker], self.asks)
        return not wants or bool(getattr(parts[self.giver], self.has))


# A new need is a line here, and an attribute of whoever has it.
NEEDS = (
    Need(
        "readout",
        "learns_gamma",
        "gradient",
        "uses_device",
        "{gradient} trains without features, so there is no gamma to learn: use gradient='loo', or "
        "a number as gamma.",
    ),
    Need(
        "objective",
        "needs_residuals",
        "gradient",
        "has_residuals",
        "{gradient}(n_draws={n_draws}) cannot serve an {objective}, which takes the residual of a "
        "draw from the other draws: use n_draws=2 or more, or objective='end_to_end'.",
    ),
    Need(
        "gradient",
        "coupled_draws",
        "objective",
        "is_end_to_end",
        "{gradient} couples its draws, but an {objective} takes the residual of a draw from "
        "independent others: use objective='end_to_end', or gradient='loo'.",
    ),
    Need(
        "gradient",
        "needs_known_matrix",
        "device",
        "known_matrix",
        "{gradient} needs the matrix of the device, and that of {device} is unknown: use "
        "gradient='loo' or 'quadratic', which treat the device as a black box, or measure it with "
        "skopu.devices.calibrate.",
    ),
)


def check_parts(gradient, objective, device, learn_gamma=None):
    """Raise ``IncompatiblePartsError`` if these cannot train together, before any pass.

    Parameters
    ----------
    gradient : WayOfTraining
    objective : Objective
    device : OPUDevice
    learn_gamma : {"scalar", "feature"} or None, default=None
    """
    gradient.check()
    readout = SimpleNamespace(learns_gamma=learn_gamma is not None)
    parts = {"gradient": gradient, "objective": objective, "device": device, "readout": readout}
    for need in NEEDS:
        if not need.is_met(parts):
            raise IncompatiblePartsError(need.sentence.format(**_names(parts)))


def _names(parts):
    return {
        "gradient": type(parts["gradient"]).__name__,
        "n_draws": getattr(parts["gradient"], "n_draws", None),
        "objective": f"objective with kappa={parts['objective'].kappa:g}",
        "device": type(parts["device"]).__name__,
    }
