"""What networks and rules become in ONNX: layers, signs, and the first rule that holds."""

import numpy as np

from skopu.deploy import onnx_parts as parts
from skopu.discrete.classifier import ROW_EPS

_ACTIVATIONS = {"identity": None, "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def feedback_network(graph, model):
    """Return the outputs (n, q) of a network trained by feedback alignment, in units of y."""
    H = parts.scaled(graph, graph.X, model.scaler_)
    activation = _ACTIVATIONS[model.activation]
    for number, layer in enumerate(zip(model.coefs_, model.intercepts_)):
        if number and activation is not None:
            H = graph(activation, H)
        H = parts.linear(graph, H, *layer)
    if hasattr(model, "target_scale_"):
        H = graph("Add", graph("Mul", H, model.target_scale_), model.target_mean_)
    return H


def binary_network(graph, model):
    """Return the logits (n, q) of a network of binary weights, or of its latent ones."""
    layers = model._layers_in_use()
    norm = _normalized if model.normalization == "layer" else None
    activate = _sign if model.activation == "sign" else _rectified
    return _layers(graph, parts.scaled(graph, graph.X, model.scaler_), layers, activate, norm)


def encoder_codes(graph, model):
    """Return the codes of a ``BinaryAutoencoder``: the signs of its encoder's last layer."""
    middle, half = model.low_ / 2 + model.high_ / 2, model.high_ / 2 - model.low_ / 2
    # A column without a range is 0, whatever comes.
    X = graph("Mul", graph("Sub", graph.X, middle), np.asarray(half > 0, dtype=np.float64))
    X = _clipped(graph, graph("Div", X, np.where(half > 0, half, 1.0)))
    n_layers = len(model.coefs_) // 2
    layers = (part[:n_layers] for part in (model.coefs_, model.scales_, model.intercepts_))
    return _not_below_zero(graph, _layers(graph, X, zip(*layers), _sign))


def tied_codes(graph, model):
    """Return the codes of an ``AutoencoderBinarizer``, whose scaled rows are clipped."""
    X = parts.scaled(graph, graph.X, model.scaler_)
    X = _clipped(graph, graph("Div", X, np.float64(model._unit)))
    return parts.exceeding(graph, parts.linear(graph, X, model.coef_.T), 0)


def first_rule(graph, model):
    """Return for each row (n,) the number of the first rule that holds, the default's at last."""
    rules = model.rules_
    conditions = sorted({condition for rule in rules for condition in rule.conditions})
    # Of each rule the conditions that fail are counted. The default has none, and always holds.
    members = np.zeros((len(conditions) + 1, len(rules) + 1))
    for number, rule in enumerate(rules):
        members[[conditions.index(condition) for condition in rule.conditions], number] = 1
    counts = graph("MatMul", _failed(graph, conditions), members)
    holds = graph("Less", counts, np.float64(0.5))
    return graph("ArgMax", graph.as_index(holds), axis=1, keepdims=0)


def _failed(graph, conditions):
    """Return 1 where a condition fails (n, K + 1); the last column is 0, so that there is one."""
    columns = np.array([*(condition.feature for condition in conditions), 0])
    values = np.array([*(condition.value for condition in conditions), 0.0])
    operators = np.array([*(condition.operator for condition in conditions), ""])
    X = graph("Gather", graph.X, columns, axis=1)
    above, below = graph("Greater", X, values), graph("Less", X, values)
    # Fails for "<=" where above, for "=" where above or below, for ">" where not above.
    parts_of_failure = [
        graph("And", above, np.isin(operators, ["<=", "="])),
        graph("And", below, np.isin(operators, ["="])),
        graph("And", graph("Not", above), np.isin(operators, [">"])),
    ]
    failed = graph("Or", graph("Or", *parts_of_failure[:2]), parts_of_failure[2])
    return graph.as_double(failed)


def _layers(graph, H, layers, activate, normalized=None):
    """Apply (coef, scale, intercept) of each layer, activated before each but the first."""
    for number, (coef, scale, intercept) in enumerate(layers):
        H = activate(graph, H) if number else H
        H = parts.linear(graph, H, coef)
        H = H if normalized is None else normalized(graph, H)
        H = graph("Add", graph("Mul", H, np.asarray(scale, float)), np.asarray(intercept, float))
    return H


def _sign(graph, H):
    return graph("Sub", graph("Mul", _not_below_zero(graph, H), np.float64(2)), np.float64(1))


def _rectified(graph, H):
    return graph("Relu", H)


def _normalized(graph, H):
    """Return each row less its mean, over its standard deviation."""
    H = graph("Sub", H, graph("ReduceMean", H, axes=[1]))
    variance = graph("ReduceMean", graph("Mul", H, H), axes=[1])
    return graph("Div", H, graph("Sqrt", graph("Add", variance, np.float64(ROW_EPS))))


def _not_below_zero(graph, values):
    return graph.as_double(graph("GreaterOrEqual", values, np.float64(0)))


def _clipped(graph, values):
    return graph("Max", graph("Min", values, np.float64(1)), np.float64(-1))
