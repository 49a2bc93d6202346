"""Regression with binarizer, features and readout trained jointly."""

import numpy as np

from skopu._core.chunks import row_chunks
from skopu._core.regression import OutputRegressor, TargetFit
from skopu._core.rows import merge_repeated_rows
from skopu._core.targets import standardise
from skopu.end_to_end.base import EndToEnd
from skopu.end_to_end.certainty import mean_and_std
from skopu.kernel_ridge.regressor import OPUKernelRidge


class EndToEndOPURegressor(TargetFit, OutputRegressor, EndToEnd):
    r"""Regression with codes, OPU features and readout trained jointly.

    Trains the encoder of :class:`SupervisedBinarizer` with a readout through the device
    (equation 6 of [1]_, or equation 10 with ``binarizer__objective="isolated"``), then refits
    the readout by ridge on the features that prediction will use.

    Parameters
    ----------
    binarizer : SupervisedBinarizer or None, default=None
        Holds the settings of the training; None: the defaults. Nested parameters can be set
        at once: ``EndToEndOPURegressor().set_params(binarizer__n_bits=32)``. Its ``opu``,
        ``n_components``, ``loss`` and ``warm_start`` are replaced by those that the other
        parts imply.
    features : OPURandomFeatures or None, default=None
        Holds device, number and form of the features, for training and prediction; with
        ``form="exact"`` the device is for training alone. ``gamma="learn"`` is learned jointly
        with the encoder. None: device and number of
        components are taken from ``binarizer``; for the mean, which takes no pass, at least
        k(k + 1)/2 components, up to 4096, so that they span all quadratic forms of the bits.
    ridge : OPUKernelRidge or None, default=None
        The final readout; None: ``OPUKernelRidge(alpha="loo")``. Its kernel is set to "linear".
    prediction : {"draws", "threshold", "mean"}, default="draws"
        What the readout is fitted to and predicts from: the average of the features of
        ``n_draws`` seeded draws of the codes; those of the most probable code, one pass; or the
        expected features in closed form, without any pass, where the device's matrix is known
        (or the form is exact).
    n_draws : int or "auto", default=10
        S, draws a row, for "draws". The thresholds are the same for every row and stratified
        over the draws, so a row's prediction does not depend on the rows beside it. "auto": ten,
        doubled up to 80 while the variance of their average is more than a tenth of the
        leave-one-out error of the ridge, and ``max_passes`` of the device allows it. It takes
        ``alpha="loo"`` or "gcv"; how many there are is the length of ``thresholds_``.
    warm_start : bool, default=False
        Go on from the last fit. One that was cut short by the device is completed: training is not
        repeated, and neither are passes of the readout (if rows and parameters are the same).
        After one that was finished under ``warm_start``, the encoder is trained for another
        ``max_iter`` minibatches.
    random_state : int, RandomState instance or None, default=None
        Source of training (where ``binarizer`` has none of its own) and of the draws.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    binarizer_ : SupervisedBinarizer
        The fitted encoder.
    features_ : OPURandomFeatures
        The fitted features.
    ridge_ : OPUKernelRidge
        The fitted readout.
    thresholds_ : ndarray of shape (n_draws, n_bits)
        A bit of draw s is 1 where its probability exceeds ``thresholds_[s]``.
    feature_importances_ : ndarray of shape (n_features,)
        Mean over training rows of the squared gradient of the mean prediction, in closed form: in
        standard deviations of the target for one of the scaled column, summed over outputs.
        Absent where the device's matrix is not known.
    n_iter_ : int
        Minibatches done.
    n_passes_ : int
        Codes that went through the device during ``fit``.
    history_ : dict of lists
        As in :class:`SupervisedBinarizer`.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    Notes
    -----
    A device that fails ends ``fit`` with a ``DeviceFault``, and a budget of passes too small for
    the readout with a ``PassBudgetError`` (training stops in time to leave enough for it). The
    model is then what it was before; what was done is kept aside, and ``warm_start=True`` lets
    the next fit go on from there.

    See Also
    --------
    EndToEndOPUClassifier : The classifier.
    OPUKernelRidge : Drop-in for ``KernelRidge``; one pass a row.
    ConvergenceDisplay : Draws the training.

    References
    ----------
    .. [1] Kozyrskiy et al., "Binarization for Optical Processing Units via REINFORCE", 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from skopu import EndToEndOPURegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> model = EndToEndOPURegressor(random_state=0)
    >>> model.set_params(binarizer__n_bits=16, binarizer__max_iter=100).fit(X, y)
    EndToEndOPURegressor(binarizer=SupervisedBinarizer(max_iter=100, n_bits=16),
                         random_state=0)
    >>> bool(model.score(X_test, y_test) > 0.2)
    True
    >>> model.to_pipeline().predict(X_test).shape
    (111,)
    """

    _loss = "squared_error"
    _ridge_class = OPUKernelRidge
    _parameter_constraints = {**EndToEnd._parameter_constraints, "ridge": [OPUKernelRidge, None]}

    def predict(self, X, return_std=False):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return the standard deviation of a new target too: that of the ridge (see
            :meth:`OPUKernelRidge.predict`), which must have ``compute_std=True``, and for several
            draws that of their average. It knows nothing of errors of the encoder.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        std : ndarray of the same shape
            If ``return_std``.

        Raises
        ------
        ValueError
            With ``return_std``, if the ridge was fitted without ``compute_std``.
        """
        if not return_std:
            return super().predict(X)
        probabilities = self._probabilities(X)
        parts = [mean_and_std(self, probabilities[rows]) for rows in row_chunks(len(probabilities))]
        found = (np.concatenate(part) for part in zip(*parts))
        return tuple(part[:, 0] if self._is_single else part for part in found)

    def _fit_targets(self, X, Y, weights):
        rows = merge_repeated_rows(X, standardise(Y, weights), weights)
        with self._fit_parts(rows) as Phi:
            self._fit_ridge(Phi, Y[rows.kept], self._is_single, rows.weights)
        self._weigh_columns(rows, Y[rows.kept])
