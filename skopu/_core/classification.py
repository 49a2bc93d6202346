"""Classifiers made of scores: what each of them does around its own training and outputs.

A classifier of the package has ``_outputs(X)``: scores of shape (n, q) for rows as the user
gave them, with q = 1 or 2 columns for two classes and one for each of several. The rest is the
same for all: how scores become decisions, labels and probabilities, and how labels become class
numbers.
"""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from skopu._core.dask import is_dask, map_rows
from skopu._core.estimation import Prediction, SupervisedFit, in_precision_of
from skopu._core.targets import encode_labels
from skopu._core.temperature import probabilities_of_scores
from skopu._core.validation import REAL, check_weights, validate_data


class ScoringClassifier(Prediction, ClassifierMixin):
    """Decides by the scores of ``_outputs``: the largest one wins."""

    # Whether dask arrays are predicted a block at a time, when their result is asked for.
    _maps_blocks = False

    def decision_function(self, X) -> np.ndarray:
        """Return the scores of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one a row, positive for ``classes_[1]``.
        """
        if self._maps_blocks and is_dask(X):
            n_columns = None if len(self.classes_) == 2 else len(self.classes_)
            meta = np.empty(0 if n_columns is None else (0, 0))
            return map_rows(self, "decision_function", X, n_columns, meta)
        return in_precision_of(X, self._decide(self._outputs(X)))

    def _predicted(self, X):
        if self._maps_blocks and is_dask(X):
            return map_rows(self, "predict", X, None, np.empty(0, self.classes_.dtype))
        scores = self.decision_function(X)
        winners = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[winners]

    def _decide(self, scores):
        """Return scores as scikit-learn wants them: a single one a row for two classes."""
        if len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]


class ProbabilisticClassifier(ScoringClassifier):
    """Has probabilities too: softmax of the scores, times ``temperature_`` if there is one."""

    def predict_proba(self, X) -> np.ndarray:
        """Predict probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as for :meth:`predict`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        # Scores that were trained by cross-entropy are logits, which need no factor.
        scores = self.decision_function(X)
        return probabilities_of_scores(getattr(self, "temperature_", 1.0) * scores)


class LabelFit(SupervisedFit):
    """Fits to labels: the class has ``_fit_codes(X, codes, weights)`` on validated rows."""

    _dtypes: object = REAL

    def _fit_given(self, X, y, sample_weight):
        X, y, weights = self._check_labelled(X, y, sample_weight)
        classes, codes = encode_labels(y, weights)
        self._check_classes(classes)
        self.classes_ = classes
        self._fit_codes(X, codes, weights)

    def _check_labelled(self, X, y, sample_weight, reset=True):
        """Return validated rows, labels and weights."""
        X, y = validate_data(self, X, y, reset=reset, accept_sparse="csr", dtype=self._dtypes)
        check_classification_targets(y)
        return X, y, check_weights(sample_weight, X)

    def _check_classes(self, classes):
        """Refuse classes that the model cannot go on with; any will do for one that starts."""
