"""Dask arrays: rows in blocks, on one machine or many.

Dask is imported by functions that are given one of its arrays, and by nothing else.
"""

import numpy as np
from sklearn.utils import gen_batches

_FAN_IN = 8  # partial sums merged by one task


def is_dask(X):
    """Whether X is a ``dask.array``; imports nothing."""
    return type(X).__module__.partition(".")[0] == "dask" and hasattr(X, "map_blocks")


def map_rows(estimator, method, X, n_columns, meta):
    """Return the dask array of ``estimator.method`` of each block of rows, not yet computed.

    Parameters
    ----------
    estimator : estimator
        Sent to each worker once.
    method : str
    X : dask.array of shape (n, d)
    n_columns : int or None
        Columns of the result; None: it is one-dimensional.
    meta : ndarray
        An empty array of the type and dtype of the result.
    """
    import dask

    X = X.rechunk({1: -1})
    shape = {"drop_axis": 1} if n_columns is None else {"chunks": (X.chunks[0], (n_columns,))}
    # A task of its own: every block would carry a copy of the estimator otherwise.
    shared = dask.delayed(estimator, traverse=False)
    empty = np.empty(0 if n_columns is None else (0, n_columns), dtype=meta.dtype)
    return X.map_blocks(_call, shared, method, empty, meta=meta, dtype=meta.dtype, **shape)


def _call(X, estimator, method, empty):
    return getattr(estimator, method)(X) if len(X) else empty


class RowBlocks:
    """Blocks of rows of X, y and weights that belong together.

    Parameters
    ----------
    X : dask.array of shape (n, d)
    y : dask.array or array-like of shape (n,) or (n, q)
        Its rows are cut where those of X are.
    weights : None, number, dask.array or array-like of shape (n,)
    """

    def __init__(self, X, y, weights=None):
        X = X.rechunk({1: -1})
        parts = [_delayed_rows(X), _delayed_rows(_cut_like(X, y, "y"))]
        if weights is None or np.ndim(weights) == 0:
            parts.append([weights] * len(parts[0]))
        else:
            parts.append(_delayed_rows(_cut_like(X, weights, "sample_weight")))
        self._blocks = list(zip(*parts))

    def first(self):
        """Return X, y and weights of the first block with rows that count, as arrays."""
        import dask

        for block in self._blocks:
            found = dask.compute(*block)
            if len(found[0]) and (found[2] is None or np.any(found[2])):
                return found
        raise ValueError("X has no rows with a weight above zero in any of its blocks.")

    def reduce(self, task, merge, *shared):
        """Return ``merge`` of the results of ``task(*shared, X, y, weights)`` of all blocks.

        Results are merged in a tree of tasks. Everything can be computed again from the graph,
        so that the loss of a worker costs time only.
        """
        import dask

        shared = [dask.delayed(part, traverse=False) for part in shared]
        parts = [dask.delayed(task)(*shared, *block) for block in self._blocks]
        while len(parts) > 1:
            groups = gen_batches(len(parts), _FAN_IN)
            parts = [dask.delayed(merge)(parts[group]) for group in groups]
        return parts[0].compute()


def count_labels(y, weights=None):
    """Return the sorted labels of rows with a weight above zero, and the sums of their weights.

    Parameters
    ----------
    y : array or dask array of shape (n,)
    weights : None, number, array or dask array of shape (n,)
    """
    if not is_dask(y):
        return merge_counts([_count(None, y, weights)])
    return RowBlocks(y.reshape(-1, 1), y, weights).reduce(_count, merge_counts)


def _count(_, y, weights):
    y = np.asarray(y)
    weights = np.broadcast_to(1.0 if weights is None else np.asarray(weights, dtype=float), y.shape)
    labels, numbers = np.unique(y[weights > 0], return_inverse=True)
    return labels, np.bincount(numbers, weights[weights > 0], len(labels))


def merge_counts(parts):
    """Return labels and sums of several parts as those of one."""
    labels, sums = (np.concatenate(column) for column in zip(*parts))
    labels, numbers = np.unique(labels, return_inverse=True)
    return labels, np.bincount(numbers, sums, len(labels))


def _delayed_rows(array):
    return list(array.to_delayed().ravel())


def _cut_like(X, array, name):
    """Return ``array`` as a dask array with the row blocks of X."""
    import dask.array as da

    if not is_dask(array):
        array = da.from_array(np.asarray(array), chunks=-1)
    if array.ndim == 2:
        array = array.rechunk({1: -1})
    sizes = np.array([sum(X.chunks[0]), sum(array.chunks[0])])
    if np.isnan(sizes).any():
        if len(X.chunks[0]) != len(array.chunks[0]):
            raise ValueError(
                f"X and {name} have blocks of unknown size and different numbers of them: call "
                "compute_chunk_sizes() on both first."
            )
        return array
    if sizes[0] != sizes[1]:
        raise ValueError(f"X has {sizes[0]} rows and {name} has {sizes[1]}.")
    return array.rechunk({0: X.chunks[0]})
