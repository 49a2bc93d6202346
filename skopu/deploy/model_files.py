"""Models as files that are safe to load: skops runs no code out of a file but what it is told."""

from sklearn.utils.validation import check_is_fitted

# What fitted estimators of skopu hold beside scikit-learn's, numpy's and scipy's own: estimators,
# simulated devices and other parts that store what they are given and open nothing. Recordings and
# drivers of machines are not among them: who loads those names them.
_TRUSTED = """
numpy.dtype
sklearn.tree._tree.Tree
skopu._core.scaling.NormalQuantiles
skopu.binarizers.autoencoder.AutoencoderBinarizer
skopu.binarizers.dfa.DFABinarizer
skopu.binarizers.hyperplane.HyperplaneBinarizer
skopu.binarizers.supervised.SupervisedBinarizer
skopu.binarizers.supervised._Left
skopu.binarizers.thermometer.ThermometerBinarizer
skopu.binarizers.tree.TreeBinarizer
skopu.binarizers.tree_bits.LeafBits
skopu.binarizers.tree_bits.SplitBits
skopu.cross_fitted.classifier.CrossFittedOPUClassifier
skopu.cross_fitted.conformal.Residuals
skopu.cross_fitted.fold_models.FoldForms
skopu.cross_fitted.optical_readout.OpticalReadout
skopu.cross_fitted.regressor.CrossFittedOPURegressor
skopu.cross_fitted.shown_codes.EncoderCode
skopu.cross_fitted.shown_codes.SplitCode
skopu.cross_fitted.trees.TreePart
skopu.devices.meter.Meter
skopu.devices.optics.anchors.AnchorRetrieval
skopu.devices.optics.camera.Camera
skopu.devices.optics.holography.OffAxisHolography
skopu.devices.optics.holography.PhaseShiftingHolography
skopu.devices.simulated.SimulatedOPU
skopu.dfa.classifier.DFAClassifier
skopu.dfa.regressor.DFARegressor
skopu.discrete.autoencoder.BinaryAutoencoder
skopu.discrete.classifier.BinaryMLPClassifier
skopu.end_to_end.classifier.EndToEndOPUClassifier
skopu.end_to_end.regressor.EndToEndOPURegressor
skopu.forms.quadratic.QuadraticForm
skopu.gradients.antithetic.ARM
skopu.gradients.antithetic.DisARM
skopu.gradients.exact.Exact
skopu.gradients.local.LocalExpectation
skopu.gradients.quadratic.Quadratic
skopu.gradients.rebar.REBAR
skopu.gradients.relaxed.AdaptiveNoise
skopu.gradients.relaxed.GumbelSigmoid
skopu.gradients.relaxed.SigmoidSurrogate
skopu.gradients.relaxed.StraightThrough
skopu.gradients.score.LeaveOneOut
skopu.gradients.score.Reinforce
skopu.kernel_ridge.classifier.OPUKernelRidgeClassifier
skopu.kernel_ridge.features.OPURandomFeatures
skopu.kernel_ridge.regressor.OPUKernelRidge
skopu.kernels.OPUKernel
skopu.penalties.BinaryQuantizer
skopu.ridge.posterior.Posterior
skopu.ridge.readout.LinearReadout
skopu.ridge.rotations.KernelRotation
skopu.rules.classifier.NeuralDNFClassifier
skopu.rules.conditions.Condition
skopu.rules.rules.Rule
"""


def list_trusted():
    """Return the names of the types that :func:`load_model` makes without being asked to.

    Beside those of numpy, scipy and scikit-learn that skops trusts itself.

    Returns
    -------
    names : list of str

    Examples
    --------
    >>> from skopu.deploy import list_trusted
    >>> "skopu.kernel_ridge.regressor.OPUKernelRidge" in list_trusted()
    True
    """
    return _TRUSTED.split()


def save_model(model, path):
    """Write a fitted model to a file, to be loaded by :func:`load_model`.

    The file is skops', a zip of arrays and JSON. It loads on other machines, without torch, and,
    unlike a pickle, can be had from others. The versions of skopu and scikit-learn should be the
    same.

    Parameters
    ----------
    model : estimator
        Of skopu or scikit-learn, or a pipeline of both.
    path : str or path
        By custom ending in ".skops".

    Raises
    ------
    ModuleNotFoundError
        If skops is missing: ``pip install "skopu[skops]"``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import OPUKernelRidge
    >>> from skopu.deploy import load_model, save_model
    >>> X, y = load_diabetes(return_X_y=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.skops")
    ...     save_model(OPUKernelRidge(kernel="rbf").fit(X, y), path)
    ...     load_model(path).predict(X[:2]).shape
    (2,)
    """
    check_is_fitted(model)
    _skops().dump(model, path)


def load_model(path, trusted=()):
    """Load a model that :func:`save_model`, or skops itself, has written.

    Parameters
    ----------
    path : str or path
    trusted : iterable of str, default=()
        Names of types to be made beside those of :func:`list_trusted`: parts of your own.

    Returns
    -------
    model : estimator

    Raises
    ------
    ValueError
        If the file holds other types; they are named.
    ModuleNotFoundError
        If skops is missing: ``pip install "skopu[skops]"``.
    """
    skops = _skops()
    known = {*list_trusted(), *trusted}
    strange = sorted(set(skops.get_untrusted_types(file=path)) - known)
    if strange:
        raise ValueError(
            f"{path} holds types that skopu does not vouch for: {', '.join(strange)}. If you "
            f"trust whoever wrote it: load_model(path, trusted={strange})."
        )
    return skops.load(path, trusted=sorted(known))


def _skops():
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'model files need {error.name}: pip install "skopu[skops]".', name=error.name
        ) from None
    return skops.io
