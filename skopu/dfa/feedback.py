"""Errors and their projections: what hidden layers learn from in the place of a gradient."""

import math

import numpy as np
import torch

from skopu._core.tensors import to_tensor


def encode_errors(errors, encoding, level):
    """Return errors as a device displays them.

    Parameters
    ----------
    errors : Tensor of shape (n, q)
    encoding : {"ternary", "sign"} or None
        "ternary": -1, 0 or 1, with 0 for errors of size ``level`` or less. "sign": -1 or 1, and
        0 for errors of 0. None: as they are.
    level : float
    """
    if encoding is None:
        return errors
    signs = torch.sign(errors)
    return signs if encoding == "sign" else signs * (errors.abs() > level)


def feedback_surrogate(hidden, outputs, errors, projected):
    r"""Return a sum whose gradient is the update of direct feedback alignment.

    .. math:: \langle e, a_N \rangle + \sum_i \langle B_i e, h_i \rangle

    With ``hidden`` and ``outputs`` from ``activations(X, local=True)``, its gradient in the
    weights of hidden layer i is :math:`[(B_i e) \odot f'(a_i)] h_{i-1}^\top`, and in those of
    the last one :math:`e h_{N-1}^\top`.

    Parameters
    ----------
    hidden : list of Tensor of shape (n, h_i)
    outputs, errors : Tensor of shape (n, q)
    projected : list of Tensor of shape (n, h_i)
        :math:`B_i e`; an empty list leaves the hidden layers as they are.
    """
    total = (errors * outputs).sum()
    return total + sum((P * H).sum() for P, H in zip(projected, hidden))


class MatrixFeedback:
    """Projects errors by known matrices.

    Parameters
    ----------
    matrices : list of ndarray of shape (h_i, q)
        B of each hidden layer.
    torch_device : str
    """

    n_passes = 0

    def __init__(self, matrices, torch_device="cpu"):
        self._sizes = [len(matrix) for matrix in matrices]
        # One product for all layers.
        self._matrix = to_tensor(np.concatenate(matrices).T, torch_device, "float32")

    def project(self, errors):
        """Return B_i e of each hidden layer, for errors (n, q)."""
        return torch.split(errors @ self._matrix, self._sizes, dim=1)


class DeviceFeedback:
    r"""Projects ternary errors by a device that projects binary codes.

    The positive and the negative part of an error are two codes, and the difference of their
    fields is the projection. A code without ones is not sent: its field is 0. The real parts of
    the fields have variance 1/2 for each one displayed; they are scaled to the
    :math:`1/h_i` of the matrices of ``MatrixFeedback``.

    Parameters
    ----------
    projector : object with ``project(codes, n_components)``
        Returns complex fields (n, D), linear in the codes.
    sizes : list of int
        Of the hidden layers; each has its own slice of the components.
    """

    def __init__(self, projector, sizes):
        self._projector, self._sizes = projector, list(sizes)
        self._scales = np.repeat([math.sqrt(2 / size) for size in sizes], sizes)
        # Frames so far: as the projector counts them, or codes sent if it does not count.
        self.n_passes = 0

    def project(self, errors):
        """Return B_i e of each hidden layer, for errors (n, q) of -1, 0 and 1."""
        signs = errors.cpu().numpy()
        codes = np.concatenate([signs > 0, signs < 0])
        lit = codes.any(axis=1)
        fields = np.zeros((len(codes), len(self._scales)), dtype=np.float32)
        if lit.any():
            fields[lit] = self._send(codes[lit].view(np.uint8)).real * self._scales
        positive, negative = np.split(fields, 2)
        projected = torch.from_numpy(positive - negative).to(errors.device)
        return torch.split(projected, self._sizes, dim=1)

    def _send(self, codes):
        projector, n_components = self._projector, len(self._scales)
        if not hasattr(projector, "counting"):  # somebody's own
            before = getattr(projector, "n_passes", None)
            fields = projector.project(codes, n_components)
            self.n_passes += len(codes) if before is None else projector.n_passes - before
            return fields
        # Others may use it at the same time: their frames are not this fit's.
        with projector.counting() as tally:
            try:
                return projector.project(codes, n_components)
            finally:
                self.n_passes += tally.n_passes
