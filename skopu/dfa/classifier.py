"""Classification by a network trained by direct feedback alignment."""

from typing import Self

import numpy as np
from sklearn.utils.multiclass import unique_labels

from skopu._core.classification import LabelFit, ProbabilisticClassifier
from skopu._core.fitting import whole
from skopu._core.targets import Targets, check_several_classes
from skopu._core.validation import fit_context
from skopu.dfa.base import DFANetwork


class DFAClassifier(LabelFit, ProbabilisticClassifier, DFANetwork):
    r"""Multilayer perceptron trained by direct feedback alignment.

    With :math:`a_i = W_i h_{i-1} + b_i`, :math:`h_i = f(a_i)` and softmax outputs, the update of
    hidden layer i takes the error :math:`e = \hat y - y` through a fixed random matrix instead
    of the layers above (equation 3 of [1]_, with e and :math:`B_i e` columns):

    .. math:: \delta W_i = -[(B_i e) \odot f'(a_i)] h_{i-1}^\top.

    The output layer has its own gradient, :math:`-e h_{N-1}^\top`. Adam takes the mean of a
    minibatch. The projections of all layers are one product, which a device with holography
    does optically: the errors are then rounded to -1, 0 and 1 (equation 4), and the positive
    and negative parts shown one after the other. Prediction needs no device.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Neurons of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, default="tanh"
        f of the hidden layers.
    scaler : {"standard", "quantile"} or None, default="standard"
        Scaling of the inputs; see :class:`SupervisedBinarizer`. Inputs that are not centred
        give all neurons of a layer the same large part of the update, and errors that are
        encoded then drive them to saturation together.
    algorithm : {"dfa", "backprop", "frozen"}, default="dfa"
        "backprop" takes the gradient of the loss; "frozen" leaves the hidden layers as they
        start and trains the output layer. Both are there to compare.
    projector : object with ``project(codes, n_components)`` or None, default=None
        Returns complex fields (n, D), linear in binary codes; each hidden layer has a slice of
        the D components. If it raises, so does the fit, with the state of that moment kept:
        ``warm_start=True`` or ``partial_fit`` go on from there. None: Gaussian matrices from
        ``random_state``.
    error_encoding : {"ternary", "sign"} or None, default=None
        "ternary": the sign of e, and 0 where :math:`|e|` is at most ``threshold``; "sign": the
        sign of e; None: e as it is, which a projector cannot show. For hidden layers only.
    threshold : float, default=0.1
        Of "ternary".
    alpha : float, default=1e-4
        Of the penalty :math:`\alpha \|W\|^2 / 2`, divided by the rows of a minibatch.
    batch_size : int or "auto", default="auto"
        Rows in a minibatch; all rows if there are fewer. "auto": a twentieth of the rows, but
        at least 32 and at most 200.
    learning_rate : {"linear", "cosine", "constant"}, default="linear"
        What becomes of the learning rate in ``fit``: a decay to 0, to a thousandth, or nothing.
    learning_rate_init : float or "auto", default="auto"
        First learning rate. "auto": 0.01, or one over the widest hidden layer if that is less.
    max_iter : int or "auto", default="auto"
        Number of epochs. "auto": 100, or as many as 10000 minibatches take if these are more.
    early_stopping : bool or "auto", default="auto"
        Hold out rows, stop when their loss no longer falls, and keep the best state. "auto":
        if ``max_iter`` is "auto" and there are 100 rows or more.
    validation_fraction : float, default=0.1
        Share of the rows held out by ``early_stopping``.
    n_iter_no_change : int, default=20
        Hundredths of ``max_iter`` without a better validation loss after which to stop.
    compute_alignment : bool, default=False
        Record ``alignment_``; costs one backpropagation an epoch.
    warm_start : bool, default=False
        Go on from the weights of the last ``fit``, with the same feedback.
    torch_device : str, default="cpu"
        Where torch trains: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of the first weights, the feedback and the minibatches.
    verbose : int, default=0
        Above 0: a progress bar.

    Attributes
    ----------
    scaler_ : transformer or None
        The fitted scaling of the inputs.
    classes_ : ndarray of shape (n_classes,)
        The labels of rows with a weight above zero, sorted.
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        Weights of each layer, those of the first for scaled inputs.
    intercepts_ : list of ndarray of shape (n_outputs,)
        Biases of each layer.
    feedbacks_ : list of ndarray of shape (n_neurons, n_classes) or None
        :math:`B_i`; None where there is a projector, or nothing to project.
    projector_ : object or None
        The projector in use.
    alignment_ : ndarray of shape (n_iter, n_hidden_layers) or None
        Cosine between the update of a hidden layer and that of backpropagation, on the last
        minibatch of each epoch; NaN where there is no update, as when no error of this minibatch
        reaches the threshold.
    n_passes_ : int
        Frames of the device: as the projector counts them in its ``n_passes``, or codes sent.
    loss_curve_ : list of float
        Mean loss of each epoch, penalty not included.
    loss_ : float
        The last of these.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
        That of the last call.
    n_iter_ : int
        Epochs done.
    n_layers_ : int
        Number of layers, inputs and outputs included.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Trained by backpropagation.
    DFARegressor : The regressor.

    References
    ----------
    .. [1] Launay et al., "Light-in-the-loop: using a photonics co-processor for scalable
       training of neural networks", 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skopu import DFAClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = DFAClassifier((64, 64), max_iter=15, random_state=0).fit(X[:1400], y[:1400])
    >>> bool(model.score(X[1400:], y[1400:]) > 0.9)
    True
    """

    def _fit_codes(self, X, codes, weights):
        self._train(X, self._targets(codes), weights, is_partial=False)

    @fit_context(prefer_skip_nested_validation=True)
    @whole
    def partial_fit(self, X, y, classes=None, sample_weight=None) -> Self:
        """Go once through some rows, at the constant rate ``learning_rate_init``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will come; needed in the first call only.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
        """
        is_first = not hasattr(self, "coefs_")
        X, y, weights = self._check_labelled(X, y, sample_weight, reset=is_first)
        if is_first:
            if classes is None:
                raise ValueError(
                    "classes=None in the first call of partial_fit: give all labels that will "
                    "come, for example classes=np.unique(y)."
                )
            self.classes_ = unique_labels(classes)
            check_several_classes(self.classes_)
        if unknown := set(np.unique(y).tolist()) - set(self.classes_.tolist()):
            raise ValueError(
                f"y has labels {sorted(unknown, key=str)[:5]}, which are not among the classes "
                "of the first call of partial_fit: name all of them there."
            )
        codes = np.searchsorted(self.classes_, y)
        return self._train(X, self._targets(codes), weights, is_partial=True)

    def _check_classes(self, classes):
        if self._goes_on() and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True needs the classes of the last fit, {self.classes_.tolist()}, "
                f"and y has {classes.tolist()}: use partial_fit or warm_start=False."
            )

    def _targets(self, codes):
        return Targets(np.eye(len(self.classes_))[codes], "cross_entropy")
