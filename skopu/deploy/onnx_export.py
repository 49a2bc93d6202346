"""Export to ONNX, through the registry of skl2onnx."""

from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

# What runtimes of the last years read.
_OPSET = {"": 17, "ai.onnx.ml": 3}


def register_converters():
    """Tell skl2onnx about the estimators of skopu, so that pipelines that hold them convert.

    Its own ``skl2onnx.to_onnx`` and ``convert_sklearn`` then know them; :func:`to_onnx` does this
    by itself. Doing it again changes nothing.

    Raises
    ------
    ModuleNotFoundError
        If skl2onnx is missing: ``pip install "skopu[onnx]"``.
    """
    skl2onnx = _skl2onnx()
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.common.utils import check_input_and_output_numbers

    from skopu.deploy.onnx_converters import CONVERTERS, converter, n_outputs

    def shapes(operator):
        check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
        kind = skl2onnx.common.data_types.guess_tensor_type(operator.inputs[0].type)
        shape = [operator.inputs[0].get_first_dimension(), n_outputs(operator.raw_operator)]
        operator.outputs[0].type = type(kind)(shape)

    flag = [False, True]
    options = {"zipmap": [True, False, "columns"], "output_class_labels": flag, "nocl": flag}
    for model, convert in CONVERTERS.items():
        classifies = is_classifier(model())
        skl2onnx.update_registered_converter(
            model,
            f"Skopu{model.__name__}",
            calculate_linear_classifier_output_shapes if classifies else shapes,
            converter(convert),
            options=options if classifies else None,
        )


def to_onnx(model, X, *, path=None):
    """Return a fitted model, or a pipeline of them and scikit-learn's steps, as ONNX.

    Every estimator of skopu can be exported: ensembles, end-to-end models of every prediction,
    kernel ridge (kernels "opu", "rbf", "linear"), features, binarizers, networks and rules. Codes
    go through the matrix of a simulated Gaussian medium, which must be known. Predictions agree
    with those of the model to 1e-5: sums are in float64 inside, whatever the type of the input.

    Parameters
    ----------
    model : estimator
        Fitted.
    X : ndarray of shape (n_samples, n_features)
        Rows such as the model will be given; only number of columns and dtype (float32 or
        float64) matter.
    path : str, path or None, default=None
        Where to write the file; None: nowhere.

    Returns
    -------
    onnx_model : onnx.ModelProto
        With one input, "X", and as outputs predictions of shape (n_samples, n_outputs), or labels
        and probabilities (n_samples, n_classes); scores in their place for a classifier that
        has no ``predict_proba``, -s and s for two classes, or for rules 1 for the label and 0.

    Raises
    ------
    IncompatiblePartsError
        If a part has no ONNX form; the message says what to take.
    ModuleNotFoundError
        If skl2onnx is missing: ``pip install "skopu[onnx]"``.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skopu import EndToEndOPURegressor
    >>> from skopu.deploy import to_onnx
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = EndToEndOPURegressor(prediction="mean", random_state=0)
    >>> model = model.set_params(binarizer__n_bits=8, binarizer__max_iter=50).fit(X, y)
    >>> exported = to_onnx(model, X[:1])
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(exported.SerializeToString())
    >>> (predicted,) = session.run(None, {"X": X})
    >>> bool(abs(predicted[:, 0] / model.predict(X) - 1).max() < 1e-5)
    True
    """
    check_is_fitted(model)
    skl2onnx = _skl2onnx()
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    from skopu.exceptions import IncompatiblePartsError

    register_converters()
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    options = {id(last): {"zipmap": False}} if is_classifier(last) else None
    try:
        made = skl2onnx.to_onnx(model, X[:1], options=options, target_opset=_OPSET)
    except (MissingConverter, MissingShapeCalculator, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "converter" not in str(error):
            raise
        raise IncompatiblePartsError(
            f"{type(last).__name__}, or a step before it, has no ONNX form: export an estimator "
            "of skopu, or a pipeline with steps that skl2onnx knows, or save the model by "
            "skopu.deploy.save_model."
        ) from error
    if path is not None:
        with open(path, "wb") as file:
            file.write(made.SerializeToString())
    return made


def _skl2onnx():
    try:
        import skl2onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'exporting to ONNX needs {error.name}: pip install "skopu[onnx]".', name=error.name
        ) from None
    return skl2onnx
