"""How errors are shown and projected: parameters, their checks, and the matrices."""

import numpy as np

from skopu._core.parameters import NOT_NEGATIVE
from skopu._core.validation import HasMethods, StrOptions
from skopu.exceptions import IncompatiblePartsError

FEEDBACK = {
    "projector": [HasMethods(["project"]), None],
    "error_encoding": [StrOptions({"ternary", "sign"}), None],
    "threshold": NOT_NEGATIVE,
}


def draw_feedbacks(hidden, n_outputs, seed):
    """Return a matrix (h, q) for each hidden layer, with independent entries N(0, 1/h).

    That is the size of the entries of an output layer's weights, so that the penalty means the
    same as with backpropagation.
    """
    matrix = np.random.default_rng(seed).standard_normal((sum(hidden), n_outputs))
    slices = np.split(matrix, np.cumsum(hidden)[:-1])
    return [part / np.sqrt(len(part)) for part in slices]


def check_projector(estimator):
    """Raise ``IncompatiblePartsError`` if errors that are not ternary would go to a device."""
    if estimator.projector is not None and estimator.error_encoding is None:
        raise IncompatiblePartsError(
            f"projector={estimator.projector!r} displays binary patterns, and error_encoding=None "
            "leaves the errors real: use error_encoding='ternary' or 'sign', or projector=None."
        )
