"""The border between numpy and torch: nothing else converts inputs."""

import numpy as np
import torch
from scipy.sparse import issparse

from skopu._core.places import resolve_torch_device, to_host


class Inputs:
    """Rows of a dense or sparse matrix as tensors, made dense a few at a time.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    torch_device : str
    dtype : {"float32", "float64"}
    """

    def __init__(self, X, torch_device, dtype):
        self._sparse = X.astype(dtype) if issparse(X) else None
        self._torch_device, self._dtype = resolve_torch_device(torch_device), dtype
        self._dense = None if issparse(X) else to_tensor(X, torch_device, dtype)

    @property
    def is_dense(self):
        """Whether rows are gathered where they are, without the processor."""
        return self._dense is not None

    def rows(self, indices):
        """Return the rows of these indices, shape (len(indices), d)."""
        if self._dense is None:
            indices = to_host(indices)
            return to_tensor(self._sparse[indices].toarray(), self._torch_device, self._dtype)
        return self._dense[torch.as_tensor(indices, device=self._dense.device)]


def to_tensor(array, torch_device, dtype):
    """Return a tensor of the values of a numpy array on ``torch_device``."""
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(array).all():
        raise ValueError(
            f"X holds values beyond the range of {dtype}, in which the encoder is trained: use "
            "scaler='standard', or divide large columns by their largest value."
        )
    return torch.tensor(array, device=resolve_torch_device(torch_device))


def to_numpy(tensor):
    """Return a float64 numpy array of a tensor's values."""
    return tensor.detach().cpu().double().numpy()


def to_floats(values):
    """Return numbers, of which some may be tensors, as a list of floats; fetched all at once."""
    if values and all(isinstance(value, torch.Tensor) for value in values):
        return torch.stack(values).tolist()
    return [float(value) for value in values]
