"""Regression with a cross-fitted ensemble."""

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skopu._core.regression import OutputRegressor, TargetFit
from skopu.cross_fitted.base import CrossFitted
from skopu.cross_fitted.conformal import Residuals, check_coverage
from skopu.cross_fitted.grouped import GroupedFit
from skopu.cross_fitted.through_device import pipeline_of
from skopu.kernel_ridge.regressor import OPUKernelRidge


class CrossFittedOPURegressor(GroupedFit, TargetFit, OutputRegressor, CrossFitted):
    r"""Regression with a cross-fitted ensemble of exactly trained binary codes.

    The most accurate model of the package in closed form; it predicts through a device, too. A
    readout of OPU features is a quadratic form of the code's bits, so its mean over codes is

    .. math:: E[F(z)] = b + a^\top c + c^\top Q_0 c, \qquad c = \sigma(Wx + b_W) - \tfrac12

    and its variance is known too. ``fit`` works in three steps:

    1. For each of K folds (4 or 8), each scaling of the inputs and each of five strengths of
       penalties and variance price (:math:`\kappa`), an encoder is trained with a free form on
       the fold's training part, by the exact loss of
       :class:`SupervisedBinarizer(gradient="exact") <SupervisedBinarizer>`: 15 K models side by
       side. After a quarter of the run, all but the better two scalings and the ``n_best``
       strengths of each are given up. More than eight outputs are trained in eight directions.
    2. New readouts for the codes of the ``n_best`` best encoders together: kernel ridge with
       the sum of their kernels (a sum of kernels is a concatenation of features: several
       codes through one device), its alpha searched for among powers of a thousand, judged on
       rows that neither encoder nor readout has seen. The same is done with the best encoders of
       each scaling.
    3. Encoders with their forms and readouts, and trees with theirs, are averaged by greedy forward
       selection on the predictions of rows left out [1]_. The chosen readouts are solved once more
       on all rows.

    The result is a sum of quadratic forms of bits and tables of leaves; no training row is kept.
    Nothing of this takes a pass. With ``prediction="draws"`` or "threshold" there is a fourth step:

    4. Encoders of different folds, scalings and strengths, and trees, ``n_codes`` in number, show
       their codes to the device, and one readout is fitted to all answers together. Its alpha is
       judged in each fold by codes, and a readout, that have not seen the fold's rows. (So are
       ``validation_error_`` and intervals, by fewer codes than predictions have.)

    Parameters
    ----------
    n_bits : int, default=64
        k, bits of each encoder.
    cv : int, splitter, iterable of splits or None, default=None
        K, folds; None: 8 below 1000 rows, else 4. Where rows come in groups and new groups will
        be predicted, give ``groups`` to ``fit``. A splitter or splits must hold every row out
        exactly once.
    n_best : int, default=3
        Encoders of each fold whose codes a readout shares, and strengths of each scaling that
        are trained to the end.
    scaler : {"auto", "both", "standard", "quantile", "relevance"}, default="auto"
        Scaling of the inputs: "standard" and "quantile" as in :class:`SupervisedBinarizer`;
        "relevance" is "standard" with each column multiplied by the root of its share in what a
        forest explains, relative to the largest share. A forest is grown in each fold on the rows
        that it does not hold out. "both" trains encoders for the first two and lets the selection
        decide, "auto" for all three, of which the better two go on. For sparse X "auto" is
        "standard"; below 100 different rows it is "both".
    learning_rate : float, default=0.05
        First learning rate of encoders and forms (Adam, cosine decay to a thousandth).
    max_iter : int or "auto", default="auto"
        Number of minibatches. "auto": two for every three rows of a fold, from 1200 to 6000.
    batch_size : int or "auto", default="auto"
        Rows in a minibatch; the whole training part of a fold if it has fewer. "auto": a 64th
        of it, from 64 to 128.
    trees : bool or "auto", default="auto"
        Whether trees are candidates too: the splits of a boosted ensemble and the leaves of two
        forests, grown in every fold on the rows that it does not hold out, and read as codes of
        encoders are; a device is shown splits. "auto": for dense X of at least 100 different rows.
    prediction : {"mean", "draws", "threshold"}, default="mean"
        "mean": in closed form, without a device. Otherwise the codes of some encoders go through
        ``opu``, and a readout is fitted to what it answers: to averages over ``n_draws`` seeded
        draws of each code, or to the most probable code, one pass.
    opu : {"simulated"}, OPUDevice or None, default="simulated"
        The device, for "draws" and "threshold".
    n_components : int, default=4096
        D, features of each code.
    n_codes : int, default=8
        J, most codes that are shown, of ``n_bits`` bits, or 256 splits of trees: a row takes J
        passes, for "draws" at most J times ``n_draws``, in ``fit`` and in ``predict``.
    n_draws : int, default=10
        S, draws of each code. Splits take one, and the encoders beside them have the rest.
    warm_start : bool, default=False
        Complete a fit that Ctrl-C, an error, the device or its budget has ended after the training
        of encoders, with these and what was answered by then, if rows and parameters are the same.
    torch_device : str, default="cpu"
        Where torch computes: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of folds, start and minibatches.
    verbose : int, default=0
        Above 0: a progress bar each of training, of the choice of readouts and of the passes.

    Attributes
    ----------
    scalers_ : list of transformers
        The fitted scalers of the inputs; weights of columns are in ``encoder_coef_``.
    encoder_scaler_ : ndarray of shape (n_encoders,)
        Which of them each encoder in use takes.
    encoder_coef_ : ndarray of shape (n_encoders, n_bits, n_features)
        W of each encoder in use.
    encoder_intercept_ : ndarray of shape (n_encoders, n_bits)
        :math:`b_W` of each.
    bias_ : ndarray of shape (n_outputs,)
        b, of the sum, in units of the standardised target; so are the next two.
    linear_ : ndarray of shape (n_encoders, n_outputs, n_bits)
        a of each.
    pairs_ : ndarray of shape (n_encoders, n_outputs, n_bits, n_bits)
        :math:`Q_0` of each, symmetric with zero diagonal.
    feature_importances_ : ndarray of shape (n_features,)
        Mean over training rows (at most 512) of the squared gradient of the prediction, in
        standard deviations of the target for a step of one in what each scaler makes of the
        column; summed over outputs. Trees add the variance of what they predict, by the gains of
        their splits.
    candidates_ : dict of lists
        What was chosen from, as columns for ``pandas.DataFrame``: kind ("net", "ridge", or one of
        trees),
        encoders (their scaling and strengths), alpha (relative to the trace of the kernel),
        error (mean squared error of rows left out, standardised targets) and share in the
        average.
    validation_error_ : float
        Error of the average on rows left out; since it was chosen on them, a little low.
    n_passes_ : int
        Codes that went through the device during ``fit``.
    n_iter_ : int
        Minibatches done.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    CrossFittedOPUClassifier : The classifier.
    EndToEndOPURegressor : One encoder, and draws through a device.

    Notes
    -----
    Above 4096 rows the readouts are fitted to all rows with 2048 of them as centres (the
    Nystroem approximation). Ctrl-C while encoders are trained keeps the best state, with an
    ``InterruptedFitWarning``, and goes on to the readouts. A device that fails ends ``fit`` with a
    ``DeviceFault``; a budget of passes that is too small ends it before the training.

    References
    ----------
    .. [1] Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
    .. [2] Barber, Candes, Ramdas, Tibshirani, "Predictive inference with the jackknife+", Annals
       of Statistics 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import CrossFittedOPURegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> model = CrossFittedOPURegressor(n_bits=8, cv=2, max_iter=50, random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.3)
    True
    >>> model.predict_interval(X_test, coverage=0.8).shape
    (111, 2)
    >>> sorted(model.candidates_)
    ['alpha', 'encoders', 'error', 'kind', 'share']
    """

    def _fit_targets(self, X, Y, weights):
        self._target_scaler = StandardScaler().set_output(transform="default")
        targets = self._target_scaler.fit_transform(Y, sample_weight=weights)
        found = self._fit_ensemble(X, targets, weights)
        scores = np.abs(targets[found.kept] - found.predictions)
        self._residuals_ = Residuals(scores, found.folds, found.weights, found.groups)

    def _units(self, outputs):
        # What its own method does, which validates them first: a tenth of the time of a row.
        return outputs * self._target_scaler.scale_ + self._target_scaler.mean_

    def predict_interval(self, X, coverage=0.9):
        """Predict intervals that hold a share of new targets.

        From the residuals of rows left out and the models that have left them out (CV+), so
        that the noise need not be normal, nor the model right. Where ``groups`` were given to
        ``fit``, the share is that of rows of new groups.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        coverage : float, default=0.9
            The share, above 0 and below 1; of each output for itself.

        Returns
        -------
        intervals : ndarray of shape (n_samples, 2) or (n_samples, 2, n_outputs)
            Lower and upper ends; infinite if there were too few rows for the coverage.
        """
        check_coverage(coverage)
        predictions = self._outputs_of_folds(X)
        ends = self._residuals_.lower, self._residuals_.upper
        intervals = np.stack([end(predictions, coverage) for end in ends], axis=1)
        intervals = self._units(intervals)
        return intervals[..., 0] if self._is_single else intervals

    def to_pipeline(self):
        """Return a model that shows one code to a device as a pipeline.

        Returns
        -------
        pipeline : Pipeline
            Steps "binarizer", "features" and "ridge", already fitted. Its ``predict`` makes one
            pass a row: what this model predicts if it was fitted with ``prediction="threshold"``.

        Raises
        ------
        ValueError
            If the model has no code, or several.
        """
        check_is_fitted(self)
        ridge = OPUKernelRidge(kernel="linear")
        ridge._is_flat_ = self._is_single
        scaler = self._target_scaler
        return pipeline_of(self, ridge, scaler.scale_, scaler.mean_)
