"""What binarizers share: codes of rows, fits without or with targets, and rows from codes."""

from typing import Self

import numpy as np
from scipy.special import expit
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from skopu._core.callbacks import CallbackSupportMixin
from skopu._core.chunks import row_chunks
from skopu._core.dask import is_dask, map_rows
from skopu._core.documented import Documented
from skopu._core.estimation import SupervisedFit
from skopu._core.fitting import whole
from skopu._core.rows import merge_repeated_rows
from skopu._core.scaling import apply_scaler, takes_sparse
from skopu._core.targets import encode_targets, keep_labels
from skopu._core.validation import REAL, check_weights, fit_context, validate_data
from skopu.devices.base import check_codes


class Binarizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Documented):
    """Makes codes of rows; a subclass has ``_bits(X)``, booleans (n, k) of validated rows."""

    def transform(self, X):
        """Return codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to make codes of.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_bits), dtype uint8
        """
        check_is_fitted(self)
        if is_dask(X):
            empty = np.empty((0, 0), np.uint8)
            return map_rows(self, "transform", X, self._n_features_out, empty)
        return self._codes(self._validate(X))

    def _validate(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, accept_sparse="csr", dtype=REAL)

    def _codes(self, X):
        """Return codes of validated rows, a chunk at a time: the sums are 8 times their size."""
        codes = np.empty((X.shape[0], self._n_features_out), dtype=np.uint8)
        for rows in row_chunks(X.shape[0]):
            codes[rows] = self._bits(X[rows])
        return codes

    def _bits(self, X):
        raise NotImplementedError(f"{type(self).__name__} must implement _bits")

    @property
    def _n_features_out(self):
        return len(self.coef_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = takes_sparse(self)
        tags.transformer_tags.preserves_dtype = []
        return tags


class LinearBinarizer(Binarizer):
    """Bits by the sides of hyperplanes ``coef_`` (k, d), ``intercept_`` (k,), in scaled inputs."""

    def _bits(self, X):
        return self._logits(X) > 0

    def _probabilities(self, X):
        """Return each bit's probability of being 1, for validated X."""
        probabilities = np.empty((X.shape[0], len(self.coef_)))
        for rows in row_chunks(X.shape[0]):
            probabilities[rows] = expit(self._logits(X[rows]))
        return probabilities

    def _logits(self, X):
        # float64: the last bit of a sum must not decide a bit of a code.
        scaled = apply_scaler(self.scaler_, X).astype(np.float64, copy=False)
        return safe_sparse_dot(scaled, self.coef_.T, dense_output=True) + self.intercept_


class TaskBinarizer(SupervisedFit, Binarizer):
    """Learns from floats or labels; a subclass has ``_fit_encoder(rows, loss)``."""

    def _fit_given(self, X, y, sample_weight):
        """Set the fitted attributes; return validated X."""
        given = y
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=REAL,
            multi_output=True,
            y_numeric=self.loss == "squared_error",
        )
        weights = check_weights(sample_weight, X)
        targets = encode_targets(keep_labels(y, given), self.loss, weights)
        self._fit_encoder(merge_repeated_rows(X, targets.values, weights), targets.loss)
        return X

    def _fit_encoder(self, rows, loss):
        raise NotImplementedError(f"{type(self).__name__} must implement _fit_encoder")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


class RowBinarizer(CallbackSupportMixin, Binarizer):
    """Learns from rows alone; a subclass has ``_fit_rows(X, weights)`` on validated ones."""

    _min_rows = 1

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Fit to rows, without targets.

        If there is training, an interruption (Ctrl-C) ends it early with an
        ``InterruptedFitWarning`` and keeps the best state.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        X = validate_data(
            self, X, accept_sparse="csr", dtype=REAL, ensure_min_samples=self._min_rows
        )
        self._fit_rows(X, check_weights(sample_weight, X))
        return self

    def _fit_rows(self, X, weights):
        raise NotImplementedError(f"{type(self).__name__} must implement _fit_rows")


class RestoringMixin:
    """Takes codes back to rows; the class has ``_restored(codes)``."""

    def inverse_transform(self, X) -> np.ndarray:
        """Return rows restored from codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bits)
            Codes of zeros and ones, as ``transform`` returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), dtype float64
            In the units of the columns.

        Raises
        ------
        NotBinaryError
            If a value is neither 0 nor 1.
        ValueError
            If the codes have another length than those of ``transform``.
        """
        check_is_fitted(self)
        codes = check_codes(X, "X")
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but codes of this {type(self).__name__} have "
                f"{self._n_features_out} bits: give what transform returns."
            )
        return self._restored(codes)
