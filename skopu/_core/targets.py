"""Targets as numbers that a readout can be trained on."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets


class Targets(NamedTuple):
    """Targets ready for training.

    ``values`` is (n, q): standardised outputs, or one column a class; ``loss`` names the loss
    for them.
    """

    values: np.ndarray
    loss: str


def encode_targets(y, loss, weights):
    """Return the ``Targets`` of y.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, q)
        Floats are quantities, anything else labels, unless ``loss`` decides.
    loss : {"auto", "squared_error", "cross_entropy"}
    weights : ndarray of shape (n,)
        For the mean and standard deviation of quantities.

    Raises
    ------
    ValueError
        If all labels are the same.
    """
    if loss == "auto":
        loss = "squared_error" if y.dtype.kind == "f" else "cross_entropy"
    if loss == "cross_entropy":
        return Targets(one_hot(y), loss)
    values = y.reshape(len(y), -1).astype(np.float64)
    return Targets(standardise(values, weights), loss)


def keep_labels(y, given):
    """Return validated y as integers if ``given`` held whole numbers or booleans.

    Validation makes floats of pandas' nullable integers, which would turn labels into
    quantities.
    """
    kind = getattr(getattr(given, "dtype", None), "kind", "")
    return y.astype(np.int64) if kind in ("i", "u", "b") and y.dtype.kind == "f" else y


def one_hot(y):
    """Return labels as columns of zeros and ones, shape (n, n_classes)."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if y.ndim != 1:
        raise ValueError(
            f"labels must have shape (n_samples,), got {y.shape}; several outputs are taken as "
            "quantities if they are floats."
        )
    # Also warns if nearly every row has a label of its own, as whole-numbered quantities do.
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    check_several_classes(classes)
    return np.eye(len(classes))[codes]


def encode_labels(y, weights):
    """Return the labels of rows with a weight above zero, sorted, and each row's class number.

    A row of weight zero may hold a label of its own; its number means nothing.

    Parameters
    ----------
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n,) of int

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    classes = np.unique(y[weights > 0])
    check_several_classes(classes)
    return classes, np.searchsorted(classes, y).clip(max=len(classes) - 1)


def signed_targets(codes, n_classes):
    """Targets of -1 and 1 for class numbers: one column for two classes, else one a class."""
    targets = np.where(codes[:, None] == np.arange(n_classes), 1.0, -1.0)
    return targets[:, 1:] if n_classes == 2 else targets


def check_several_classes(classes):
    """Raise ValueError unless there are two classes or more."""
    if len(classes) < 2:
        found = f"one class only, {classes.tolist()[0]!r}" if len(classes) else "no class"
        raise ValueError(
            f"y has {found}: a classifier needs rows of at least two classes, with weights "
            "above zero."
        )


def as_columns(y):
    """Return targets as float64 (n, q), refusing those whose squares overflow."""
    Y = y.reshape(len(y), -1).astype(np.float64)
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(np.vdot(Y, Y))
    if not is_finite:
        raise ValueError(
            f"y holds {Y.flat[np.abs(Y).argmax()]:.3g}, and its squares add up to more than a "
            "float can hold: divide y by its maximum."
        )
    return Y


def standardise(values, weights):
    """Subtract the weighted mean and divide by the standard deviation (1 if constant)."""
    # In units of the largest value, squares neither overflow nor vanish.
    peak = np.abs(values).max(axis=0)
    values = values / np.where(peak > 0, peak, 1.0)
    mean = np.average(values, axis=0, weights=weights)
    spread = np.sqrt(np.average(np.square(values - mean), axis=0, weights=weights))
    return (values - mean) / np.where(spread > 1e-14, spread, 1.0)
