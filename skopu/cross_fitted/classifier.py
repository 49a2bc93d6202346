"""Classification with a cross-fitted ensemble."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skopu._core.classification import LabelFit, ProbabilisticClassifier
from skopu._core.targets import signed_targets
from skopu._core.temperature import fit_temperature, probabilities_of_scores
from skopu.cross_fitted.base import CrossFitted
from skopu.cross_fitted.conformal import Residuals, check_coverage
from skopu.cross_fitted.grouped import GroupedFit
from skopu.cross_fitted.through_device import pipeline_of
from skopu.kernel_ridge.classifier import OPUKernelRidgeClassifier


class CrossFittedOPUClassifier(GroupedFit, LabelFit, ProbabilisticClassifier, CrossFitted):
    """Classification with a cross-fitted ensemble of exactly trained binary codes.

    As :class:`CrossFittedOPURegressor`, by squared error of targets -1 and 1, one column for
    two classes and one a class for more. Probabilities are the sigmoid, or softmax, of the
    scores times one factor, fitted to the scores of rows left out.

    Parameters
    ----------
    n_bits : int, default=64
        k, bits of each encoder.
    cv : int, splitter, iterable of splits or None, default=None
        K, folds, with classes spread over them evenly; None: 8 below 1000 rows, else 4. Where
        rows come in groups and new groups will be predicted, give ``groups`` to ``fit``. A
        splitter or splits must hold every row out exactly once.
    n_best : int, default=3
        Encoders of each fold whose codes a readout shares, and strengths of each scaling that
        are trained to the end.
    scaler : {"auto", "both", "standard", "quantile", "relevance"}, default="auto"
        Scaling of the inputs, as in :class:`CrossFittedOPURegressor`.
    learning_rate : float, default=0.05
        First learning rate of encoders and forms (Adam, cosine decay to a thousandth).
    max_iter : int or "auto", default="auto"
        Number of minibatches. "auto": two for every three rows of a fold, from 1200 to 6000.
    batch_size : int or "auto", default="auto"
        Rows in a minibatch; the whole training part of a fold if it has fewer. "auto": a 64th
        of it, from 64 to 128.
    trees, prediction, opu, n_components, n_codes, n_draws, warm_start
        As in :class:`CrossFittedOPURegressor`.
    torch_device : str, default="cpu"
        Where torch computes: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of folds, start and minibatches.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    temperature_ : float
        The factor that makes probabilities of scores.
    classes_ : ndarray of shape (n_classes,)
        The labels of rows with a weight above zero, sorted.
    scalers_, encoder_scaler_, encoder_coef_, encoder_intercept_, bias_, linear_, pairs_
        As in :class:`CrossFittedOPURegressor`, with one output for two classes.
    feature_importances_, candidates_, validation_error_, n_passes_, n_iter_, history_
        As in :class:`CrossFittedOPURegressor`.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    CrossFittedOPURegressor : The regressor, with the method in full.
    EndToEndOPUClassifier : One encoder, and draws through a device.

    References
    ----------
    .. [1] Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence
       2015.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import CrossFittedOPUClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    >>> model = CrossFittedOPUClassifier(n_bits=8, cv=2, max_iter=50, random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    >>> model.predict_proba(X_test).shape
    (143, 2)
    >>> bool(model.predict_set(X_test, coverage=0.9)[range(143), y_test].mean() > 0.8)
    True
    """

    def _fit_codes(self, X, codes, weights):
        targets = signed_targets(codes, len(self.classes_))
        found = self._fit_ensemble(X, targets, weights, codes)
        codes = codes[found.kept]
        self.temperature_ = fit_temperature(found.predictions, codes, found.weights)
        scores = self._strangeness(found.predictions)[np.arange(len(codes)), codes]
        self._residuals_ = Residuals(scores[:, None], found.folds, found.weights, found.groups)

    def _strangeness(self, outputs):
        """Return one less the probability of each class, (..., n, n_classes)."""
        return 1 - probabilities_of_scores(self.temperature_ * self._decide(outputs))

    def predict_set(self, X, coverage=0.9):
        """Predict sets of labels that hold the right one for a share of new rows.

        A label is in the set unless its probability is so small as seldom happened to the labels
        of rows left out (cross-conformal prediction), by the models that have left them out.
        Where ``groups`` were given to ``fit``, the share is that of rows of new groups.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        coverage : float, default=0.9
            The share, above 0 and below 1.

        Returns
        -------
        members : ndarray of shape (n_samples, n_classes), dtype bool
            Which of ``classes_`` are in the set of each row: all where nothing can be told, none
            where no label fits.
        """
        check_coverage(coverage)
        strange = np.stack([self._strangeness(own) for own in self._outputs_of_folds(X)])
        return self._residuals_.ranks(strange) > 1 - coverage

    def to_pipeline(self):
        """Return a model that shows one code to a device as a pipeline.

        Returns
        -------
        pipeline : Pipeline
            As of :meth:`CrossFittedOPURegressor.to_pipeline`; it has no probabilities.

        Raises
        ------
        ValueError
            If the model has no code, or several.
        """
        check_is_fitted(self)
        ridge = OPUKernelRidgeClassifier(kernel="linear")
        ridge._set_classes(self.classes_)
        return pipeline_of(self, ridge, 1.0, 0.0)
