"""Converters of skl2onnx: what each estimator becomes."""

import numpy as np
from sklearn.base import is_classifier

from skopu import (
    AutoencoderBinarizer,
    BinaryAutoencoder,
    BinaryMLPClassifier,
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    DFABinarizer,
    DFAClassifier,
    DFARegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    NeuralDNFClassifier,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
    ThermometerBinarizer,
    TreeBinarizer,
)
from skopu.deploy import onnx_networks as networks
from skopu.deploy import onnx_parts as parts
from skopu.deploy.onnx_graph import Graph
from skopu.exceptions import IncompatiblePartsError
from skopu.kernel_ridge.readout_form import form_of_readout


def convert_binarizer(graph, model):
    """Give codes of rows."""
    graph.give(_codes(graph, model))


def convert_features(graph, model):
    """Give features of codes, or of values above the threshold."""
    _check_matrix(model.opu_, model.form)
    codes = graph.X if model.binarize is None else parts.exceeding(graph, graph.X, model.binarize)
    graph.give(parts.features_of_codes(graph, codes, model))


def convert_ridge(graph, model):
    """Give the readout of rows, of codes through a device, or of Fourier features."""
    finish(graph, model, _read_out(graph, model))


def convert_end_to_end(graph, model):
    """Give the form that device and readout are together, at the bits that it predicts from."""
    logits, form = _logits(graph, model.binarizer_), _form(model.features_, model.ridge_)
    if model.prediction == "mean":
        finish(graph, model, parts.form_values(graph, graph("Sigmoid", logits), form))
        return
    thresholds = model._used_thresholds(model.thresholds_)
    n_draws, n_bits = len(thresholds), model.binarizer_.n_bits
    p = graph("Unsqueeze", graph("Sigmoid", logits), np.array([1]))
    codes = graph("Reshape", parts.exceeding(graph, p, thresholds), np.array([-1, n_bits]))
    values = parts.form_values(graph, codes, form)
    values = graph("Reshape", values, np.array([-1, n_draws, len(form.bias)]))
    finish(graph, model, graph("Div", graph.sum(values, 1), np.float64(n_draws)))


def convert_cross_fitted(graph, model):
    """Add up the forms of all encoders in use, and what trees say."""
    if model._optical_ is not None:
        raise IncompatiblePartsError(
            f"this {type(model).__name__} predicts from a device's answers, which an ONNX model "
            "cannot ask for: fit one with opu=None."
        )
    order = np.argsort(model.encoder_scaler_, kind="stable")
    groups = []
    for number, scaler in enumerate(model.scalers_):
        chosen = order[model.encoder_scaler_[order] == number]
        if len(chosen):
            encoders = (
                np.asarray(part[chosen], dtype=np.float64)
                for part in (model.encoder_coef_, model.encoder_intercept_)
            )
            groups.append(parts.halved_logits(graph, graph.X, scaler, *encoders))
    logits = groups[0] if len(groups) == 1 else graph("Concat", *groups, axis=1)
    form = (np.asarray(part[order], dtype=np.float64) for part in (model.linear_, model.pairs_))
    total = graph("Add", parts.forms_of_encoders(graph, logits, tuple(form)), model.bias_)
    if model._trees_:
        X = parts.scaled(graph, graph.X, model.scalers_[0])
        for part in model._trees_:
            total = graph("Add", total, parts.tree_values(graph, X, part))
    finish(graph, model, total)


def convert_feedback(graph, model):
    """Give what a network trained by feedback alignment says; no device is asked to predict."""
    finish(graph, model, networks.feedback_network(graph, model))


def convert_binary_network(graph, model):
    """Give what signs and weights -1 and 1 say."""
    finish(graph, model, networks.binary_network(graph, model))


def convert_rules(graph, model):
    """Give the label of the first rule that holds, and as scores 1 for it and 0 for others."""
    rule = networks.first_rule(graph, model)
    said = [*(rule.label for rule in model.rules_), model.default_]
    codes = np.searchsorted(model.classes_, said)
    graph.give(graph("Gather", _labels(model)[codes], rule, axis=0), 0)
    graph.give(graph("Gather", np.eye(len(model.classes_))[codes], rule, axis=0), 1)


def finish(graph, model, outputs):
    """Give predictions in the units of y, or labels and probabilities (scores, if there are none).

    Scores of two classes are -s and s, one column a class as for more of them.
    """
    if not is_classifier(model):
        scaler = getattr(model, "_target_scaler", None)
        if scaler is not None:
            outputs = graph("Add", graph("Mul", outputs, scaler.scale_), scaler.mean_)
        graph.give(outputs)
        return
    n_columns = _n_columns(model)
    if n_columns == 1:
        outputs = graph("Concat", graph("Neg", outputs), outputs, axis=1)
    winners = graph("ArgMax", outputs, axis=1, keepdims=0)
    graph.give(graph("Gather", _labels(model), winners, axis=0), 0)
    if hasattr(model, "predict_proba"):
        # Two scores are of one number, s, whose sigmoid is the softmax of -s/2 and s/2.
        factor = getattr(model, "temperature_", 1.0) / (2 if n_columns == 1 else 1)
        outputs = graph("Softmax", graph("Mul", outputs, np.float64(factor)), axis=1)
    graph.give(outputs, 1)


def _labels(model):
    """Return classes as ONNX has them: whole numbers or text."""
    labels = model.classes_
    return labels.astype(np.int64) if labels.dtype.kind in "biu" else labels.astype(str)


def _n_columns(model):
    """Columns of a model's outputs: of a classifier's a single one for two classes, for most."""
    if isinstance(model, (CrossFittedOPUClassifier, CrossFittedOPURegressor)):
        return len(model.bias_)
    if hasattr(model, "intercepts_"):
        return len(model.intercepts_[-1])
    return len(getattr(model, "ridge_", model)._readout_.intercept)


def _logits(graph, binarizer):
    X = parts.scaled(graph, graph.X, binarizer.scaler_)
    return parts.linear(graph, X, binarizer.coef_.T, np.asarray(binarizer.intercept_, float))


def _read_out(graph, model):
    readout = model._readout_
    if model.kernel_ == "linear":
        return parts.linear(graph, graph.X, readout.coef, readout.intercept)
    if model.kernel_ == "rbf":
        return _read_out_rbf(graph, model)
    if model.kernel_approximation_ != "opu":
        raise IncompatiblePartsError(
            f"the exact kernel {model.kernel_!r} has no ONNX form here: export kernel='opu', "
            "'rbf' or 'linear', or save the model by skopu.deploy.save_model."
        )
    codes = graph.X if model.binarizer_ is None else _codes(graph, model.binarizer_)
    return parts.form_values(graph, codes, _form(model.features_, model))


def _read_out_rbf(graph, model):
    readout, X = model._readout_, graph.X
    if model.kernel_approximation_ == "fourier":
        sampler = model.features_
        angles = parts.linear(graph, X, sampler.random_weights_, sampler.random_offset_)
        # Cosines have no float64 in onnxruntime, sines have.
        waves = graph("Sin", graph("Add", angles, np.float64(np.pi / 2)))
        coef = np.sqrt(2 / sampler.n_components) * readout.coef
        return parts.linear(graph, waves, coef, readout.intercept)
    centres = np.asarray(model.X_fit_, dtype=np.float64)
    gamma = 1 / centres.shape[1] if model.gamma is None else model.gamma
    squares = graph.sum(graph("Mul", X, X), -1, keepdims=True)
    crossed = parts.linear(graph, X, -2 * centres.T, np.square(centres).sum(axis=1))
    distances = graph("Max", graph("Add", squares, crossed), np.float64(0))
    kernel = graph("Exp", graph("Mul", distances, np.float64(-gamma)))
    return parts.linear(graph, kernel, readout.coef, readout.intercept)


def _codes(graph, binarizer):
    """Codes of a binarizer, alone or inside a model."""
    if isinstance(binarizer, HyperplaneBinarizer):
        X = parts.scaled(graph, graph.X, binarizer.scaler_)
        return parts.exceeding(graph, parts.linear(graph, X, binarizer.coef_.T), 0)
    if isinstance(binarizer, ThermometerBinarizer):
        columns = graph("Gather", graph.X, binarizer.columns_, axis=1)
        return parts.exceeding(graph, columns, binarizer.thresholds_)
    if isinstance(binarizer, (SupervisedBinarizer, DFABinarizer)):
        return parts.exceeding(graph, _logits(graph, binarizer), 0)
    if isinstance(binarizer, TreeBinarizer):
        if binarizer.kind == "splits":
            return parts.split_codes(graph, graph.X, binarizer._made)
        return parts.leaf_values(graph, graph.X, binarizer.forest_)
    if isinstance(binarizer, AutoencoderBinarizer):
        return networks.tied_codes(graph, binarizer)
    if isinstance(binarizer, BinaryAutoencoder):
        return networks.encoder_codes(graph, binarizer)
    raise IncompatiblePartsError(
        f"{type(binarizer).__name__} has no ONNX form here: take another binarizer, or save the "
        "model by skopu.deploy.save_model."
    )


def _form(features, ridge):
    _check_matrix(features.opu_, features.form)
    return form_of_readout(features, ridge._readout_)


def _check_matrix(opu, form):
    if form == "exact" or (opu.known_matrix and getattr(opu, "medium", "gaussian") != "structured"):
        return
    raise IncompatiblePartsError(
        f"an ONNX model computes what {type(opu).__name__} answers, for which its matrix must be "
        "known: export a model of SimulatedOPU(medium='gaussian'), of form='exact', or a "
        "cross-fitted one."
    )


CONVERTERS = {
    AutoencoderBinarizer: convert_binarizer,
    BinaryAutoencoder: convert_binarizer,
    BinaryMLPClassifier: convert_binary_network,
    CrossFittedOPUClassifier: convert_cross_fitted,
    CrossFittedOPURegressor: convert_cross_fitted,
    DFABinarizer: convert_binarizer,
    DFAClassifier: convert_feedback,
    DFARegressor: convert_feedback,
    EndToEndOPUClassifier: convert_end_to_end,
    EndToEndOPURegressor: convert_end_to_end,
    HyperplaneBinarizer: convert_binarizer,
    NeuralDNFClassifier: convert_rules,
    OPUKernelRidge: convert_ridge,
    OPUKernelRidgeClassifier: convert_ridge,
    OPURandomFeatures: convert_features,
    SupervisedBinarizer: convert_binarizer,
    ThermometerBinarizer: convert_binarizer,
    TreeBinarizer: convert_binarizer,
}


def n_outputs(model):
    """Count the columns of what a model that is no classifier gives."""
    return model._n_features_out if hasattr(model, "transform") else _n_columns(model)


def converter(convert):
    """Return a converter in the words of skl2onnx."""

    def converted(scope, operator, container):
        convert(Graph(scope, operator, container), operator.raw_operator)

    return converted
