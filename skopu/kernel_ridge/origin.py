"""Whether an array came out of ``OPURandomFeatures``, and so must not be projected again."""

import re
import warnings

import numpy as np
from scipy.sparse import issparse

from skopu._core.places import dtype_name, is_tensor, to_host

# How OPURandomFeatures names its columns, also behind the prefix of a FeatureUnion.
_FEATURE_NAME = re.compile(r"(.*__)?opurandomfeatures\d+$")
# Where inputs are looked at whether they are features: fewer columns are no features that anyone
# asks for, and of fewer rows a skewness says nothing.
_MANY_COLUMNS, _FEW_ROWS, _PROBED_ROWS = 100, 30, 1000


class OPUFeatures(np.ndarray):
    """An array that came out of ``OPURandomFeatures``; slices of it say so too.

    ``OPUKernelRidge(kernel="auto")`` sees by the type that its input has been through a
    device. Results of arithmetic are plain arrays again.
    """

    def __array_wrap__(self, array, context=None, return_scalar=False):
        """Return results of ufuncs as plain arrays and numbers."""
        array = np.asarray(array)
        return array[()] if return_scalar else array


def mark_as_features(features):
    """Return an array as ``OPUFeatures``, or a tensor with an attribute that says the same."""
    if is_tensor(features):
        features.is_opu_features = True
        return features
    return features.view(OPUFeatures)


def is_opu_features(X):
    """Whether X says that it came out of an ``OPURandomFeatures``: by type, or column names."""
    if is_tensor(X):
        return getattr(X, "is_opu_features", False)
    if isinstance(getattr(X, "_meta", X), OPUFeatures):  # what the blocks of a dask array are
        return True
    columns = getattr(X, "columns", ())
    return len(columns) > 0 and all(_FEATURE_NAME.match(str(name)) for name in columns)


def warn_of_lost_features(X):
    """Warn if inputs (n, d) look like features that a step in between made plain numbers of.

    Intensities of speckle are skewed to the right, all alike. Over three sets, three binarizers,
    two forms, scaled or not, 9 of 10 columns had a skewness above -0.1 and 49 of 50 one below
    3.1, and its median was from 0.7 to 1.5. Pixels of MNIST, plain or standardised, are not so.
    """
    n_rows, n_columns = X.shape
    if issparse(X) or n_columns < _MANY_COLUMNS or n_rows < _FEW_ROWS:
        return
    if not dtype_name(X).startswith("float"):
        return
    X = to_host(X[:_PROBED_ROWS])
    centred = X - X.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    if not spread.all():
        return
    with np.errstate(over="ignore", invalid="ignore"):
        low, middle, high = np.quantile((centred**3).mean(axis=0) / spread**3, [0.1, 0.5, 0.98])
    if low > -0.2 and 0.5 < middle < 2 and high < 4:
        warnings.warn(
            f"kernel='auto' takes X, of {X.shape[1]} columns, for inputs and trains a binarizer "
            "on them, but they look like features of a device. If a step after OPURandomFeatures "
            "(a scaler, a FeatureUnion) made plain numbers of them, write kernel='linear'; if they "
            "are inputs, write kernel='opu'.",
            stacklevel=2,
        )
