"""The border between numpy and torch: nothing else converts inputs."""

import numpy as np
import torch
from scipy.sparse import issparse


class Inputs:
    """Rows of a dense or sparse matrix as float32 tensors, made dense a few at a time.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    torch_device : str
    """

    def __init__(self, X, torch_device):
        self._sparse = X.astype(np.float32) if issparse(X) else None
        self._torch_device = torch_device
        self._dense = None if issparse(X) else to_tensor(X, torch_device)

    def rows(self, indices):
        """Return the rows of these indices, shape (len(indices), d)."""
        if self._dense is None:
            return to_tensor(self._sparse[indices].toarray(), self._torch_device)
        return self._dense[torch.as_tensor(indices, device=self._dense.device)]


def to_tensor(array, torch_device):
    """Return a float32 tensor of the values of a numpy array on ``torch_device``."""
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError(
            "X holds values beyond the range of float32, in which encoders are trained: use "
            "scaler='standard', or divide large columns by their largest value."
        )
    return torch.tensor(array, device=torch_device)


def to_numpy(tensor):
    """Return a float64 numpy array of a tensor's values."""
    return tensor.detach().cpu().double().numpy()
