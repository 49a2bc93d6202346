"""Classification with binarizer, features and readout trained jointly."""

import numpy as np

from skopu._core.classification import LabelFit, ProbabilisticClassifier
from skopu._core.rows import merge_repeated_rows
from skopu._core.targets import signed_targets
from skopu._core.temperature import fit_temperature
from skopu.end_to_end.base import EndToEnd
from skopu.kernel_ridge.classifier import OPUKernelRidgeClassifier


class EndToEndOPUClassifier(LabelFit, ProbabilisticClassifier, EndToEnd):
    r"""Classification with codes, OPU features and readout trained jointly.

    Trains the encoder of :class:`SupervisedBinarizer` with a softmax readout through the
    device by cross-entropy (equation 6 of [1]_), then refits the readout by ridge on targets
    -1 and 1. Probabilities are the softmax (for two classes the sigmoid) of the ridge scores
    times one factor, fitted to the scores of rows left out of that ridge, class weights included.

    Parameters
    ----------
    binarizer : SupervisedBinarizer or None, default=None
        Holds the settings of the training; see :class:`EndToEndOPURegressor`.
    features : OPURandomFeatures or None, default=None
        Holds device, number and form of the features.
    ridge : OPUKernelRidgeClassifier or None, default=None
        The final readout; None: ``OPUKernelRidgeClassifier(alpha="loo")``.
    prediction : {"draws", "threshold", "mean"}, default="draws"
        What the readout is fitted to and predicts from; see :class:`EndToEndOPURegressor`.
    n_draws : int or "auto", default=10
        S, draws a row, for "draws"; "auto": as many as their variance asks for, from 10 to 80.
    warm_start : bool, default=False
        Go on from the last fit. One that was cut short by the device is completed: training is not
        repeated, and neither are passes of the readout (if rows and parameters are the same).
        After one that was finished under ``warm_start``, the encoder is trained for another
        ``max_iter`` minibatches.
    random_state : int, RandomState instance or None, default=None
        Source of training and of the draws.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of rows with a weight above zero, sorted.
    temperature_ : float
        The factor that makes probabilities of scores.
    feature_importances_ : ndarray of shape (n_features,)
        As in :class:`EndToEndOPURegressor`, of the scores.
    binarizer_, features_, ridge_, thresholds_, n_iter_, n_passes_, history_
        As in :class:`EndToEndOPURegressor`.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    EndToEndOPURegressor : The regressor.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import EndToEndOPUClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    >>> model = EndToEndOPUClassifier(random_state=0)
    >>> model = model.set_params(binarizer__n_bits=16, binarizer__max_iter=100).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    >>> model.predict_proba(X_test).shape
    (143, 2)
    """

    _loss = "cross_entropy"
    _ridge_class = OPUKernelRidgeClassifier
    _parameter_constraints = {
        **EndToEnd._parameter_constraints,
        "ridge": [OPUKernelRidgeClassifier, None],
    }

    def _fit_codes(self, X, codes, weights):
        rows = merge_repeated_rows(X, np.eye(len(self.classes_))[codes], weights)
        with self._fit_parts(rows) as Phi:
            left_out = self._fit_ridge(Phi, codes[rows.kept], self.classes_, rows.weights)
            self.temperature_ = fit_temperature(*left_out)
        self._weigh_columns(rows, signed_targets(codes[rows.kept], len(self.classes_)))
