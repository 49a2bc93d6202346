"""What models are made of, as ONNX: scalings, codes, quadratic forms, features."""

import numpy as np
from scipy.special import ndtr

from skopu._core.scaling import NormalQuantiles

_LIMIT = 3.0  # where normal quantiles are clipped
_SINGLE = 2.0**-23
_AT_THE_END = 1e-7  # from the smallest or largest value, which is where scikit-learn puts it
_PER_BLOCK = 32

# Rational approximation of the normal quantile of a share s, divided by x = 2 s - 1, in powers of
# log(1 - x^2), of which it is a smooth function: fitted to least relative squares in 40 digits
# from -3 to 3, where the quantile is met to 2e-14.
_ABOVE = (
    *(1.253314137315497, -0.5006586515188111, 0.13861571892600685, -0.026143962063876165),
    *(0.003550823688524, -0.00035020963214790816, 2.326900438878145e-05, -8.15948773317476e-07),
)
_BELOW = (
    *(1.0, -0.1376684204797966, 0.06152579687037927, -0.005593227801096482),
    *(0.0010742586162479752, -5.470342385168267e-05, 4.352037455103293e-06),
    *(-2.986676850925424e-08,),
)


def scaled(graph, X, scaler):
    """Return X (n, d) as a fitted scaler of ``skopu._core.scaling`` makes it."""
    if scaler is None:
        return X
    if isinstance(scaler, NormalQuantiles):
        return _normal_quantiles(graph, X, scaler)
    if scaler.with_mean:
        X = graph("Sub", X, scaler.mean_)
    return graph("Div", X, scaler.scale_)


def linear(graph, X, coef, intercept=None):
    """Return X @ coef + intercept."""
    coef = np.asarray(coef, dtype=np.float64)
    if intercept is None:
        return graph("MatMul", X, coef)
    return graph("Gemm", X, coef, np.asarray(intercept, dtype=np.float64))


def exceeding(graph, values, threshold):
    """Return 1.0 where values exceed a threshold, else 0.0."""
    return graph.as_double(graph("Greater", values, np.asarray(threshold, dtype=np.float64)))


def form_values(graph, bits, form):
    """Return the values (n, q) of a ``QuadraticForm`` at bits or their probabilities (n, k)."""
    c = graph("Unsqueeze", graph("Sub", bits, np.float64(0.5)), np.array([0]))
    slopes = graph("MatMul", c, form.pairs)
    slopes = graph("Add", slopes, np.asarray(form.linear, dtype=np.float64)[:, None])
    values = graph.sum(graph("Mul", slopes, c), -1)
    return graph("Add", graph("Transpose", values, perm=[1, 0]), np.asarray(form.bias))


def halved_logits(graph, X, scaler, coef, intercept):
    """Return half of the logits (n, E k) of encoders (E, k, d), one product for all of them."""
    if isinstance(scaler, NormalQuantiles):
        X = _normal_quantiles(graph, X, scaler)
    elif scaler is not None:
        # A linear scaling and a linear encoder are one.
        coef = coef / scaler.scale_
        if scaler.with_mean:
            intercept = intercept - coef @ scaler.mean_
    return linear(graph, X, coef.reshape(-1, coef.shape[-1]).T / 2, intercept.ravel() / 2)


def forms_of_encoders(graph, logits, form):
    """Return the summed values (n, q) of forms (E, q, ...) of bits with halved logits (n, E k).

    The probability of a logit t is (1 + tanh(t / 2)) / 2: the form is one of the tanh.
    """
    (n_encoders, _, n_bits), pairs = form[0].shape, form[1] / 4
    terms = form[0][..., None, :] / 2
    # Single precision takes half the time, where its rounding is a tenth of what is promised: what
    # a value gains by that of its bits is their length at most times that of the slopes.
    steepest = 2 * np.sqrt(n_bits) * np.linalg.norm(pairs) + np.linalg.norm(terms)
    real = np.float32 if _SINGLE * steepest < 1e-6 else np.float64
    c = graph("Tanh", graph.as_single(logits) if real is np.float32 else logits)
    c = graph("Reshape", c, np.array([-1, n_encoders, 1, n_bits]))
    c = graph("Transpose", c, perm=[1, 2, 0, 3])  # encoders first
    slopes = graph(
        "Add", graph("MatMul", c, graph.constant(pairs, real)), graph.constant(terms, real)
    )
    values = graph.sum(graph.as_double(graph("Mul", slopes, c)), [0, 3])
    return graph("Transpose", values, perm=[1, 0])


def tree_values(graph, X, part):
    """Return what a ``TreePart`` adds (n, q): a form of split bits, or a table of leaves."""
    if part.kind == "splits":
        return form_values(graph, split_codes(graph, X, part.bits), part.whole)
    return leaf_values(graph, X, part.bits.forest, part.whole)


def split_codes(graph, X, bits):
    """Return codes of ``SplitBits``."""
    columns = graph("Gather", X, bits.columns, axis=1)
    return graph.as_double(graph("LessOrEqual", columns, bits.thresholds))


def leaf_values(graph, X, forest, table=None):
    """Return the sum of a table's rows (k, q) at the leaves of rows, or codes of the leaves."""
    # Forests compare rows in single precision with cuts in double.
    X = graph.as_double(graph.as_single(X))
    return graph.forest(X, **_nodes(forest), **_leaves(forest, table))


def _numbers(forest):
    """Return the trees of a forest, and of each node the number of its tree and its own in it."""
    trees = [grown.tree_ for grown in forest.estimators_]
    counts = [tree.node_count for tree in trees]
    own = np.concatenate([np.arange(count) for count in counts])
    return trees, np.repeat(np.arange(len(trees)), counts), own


def _nodes(forest):
    """Return the attributes of ONNX's trees that say how they ask."""
    trees, tree, node = _numbers(forest)
    left, right, column, cut = (
        np.concatenate([getattr(grown, name) for grown in trees])
        for name in ("children_left", "children_right", "feature", "threshold")
    )
    return {
        "nodes_treeids": tree,
        "nodes_nodeids": node,
        "nodes_featureids": column.clip(0),
        "nodes_values_as_tensor": cut,
        "nodes_modes": np.where(left < 0, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": left.clip(0),
        "nodes_falsenodeids": right.clip(0),
    }


def _leaves(forest, table):
    """Return the attributes that say what leaves add: rows of a table, or 1 to a bit of theirs."""
    trees, tree, node = _numbers(forest)
    # In the order of the bits, which is that of the table.
    leaf = np.flatnonzero(np.concatenate([grown.children_left for grown in trees]) < 0)
    if table is None:
        n_outputs, outputs, weights = len(leaf), np.arange(len(leaf)), np.ones(len(leaf))
    else:
        n_outputs = table.shape[1]
        outputs = np.tile(np.arange(n_outputs), len(leaf))
        leaf, weights = leaf.repeat(n_outputs), np.asarray(table).ravel() / np.sqrt(len(trees))
    return {
        "target_treeids": tree[leaf],
        "target_nodeids": node[leaf],
        "target_ids": outputs,
        "target_weights_as_tensor": weights,
        "n_targets": n_outputs,
    }


def features_of_codes(graph, codes, features):
    """Return the features (n, D) of a fitted ``OPURandomFeatures`` whose matrix is known."""
    gamma = np.broadcast_to(np.square(features.gamma_), (features._n_features_out,))
    n_bits = features.n_features_in_
    if features.form == "exact":
        return _products(graph, codes, n_bits, gamma)
    R = features.opu_.matrix(n_bits, features._n_projected()).T.astype(np.complex128)
    squares = [linear(graph, codes, np.ascontiguousarray(part)) for part in (R.real, R.imag)]
    intensities = graph("Add", *(graph("Mul", part, part) for part in squares))
    if features.form == "raw":
        return graph("Mul", intensities, gamma / np.sqrt(len(gamma)))
    popcount = graph.sum(codes, -1, keepdims=True)
    centred = graph("Sub", intensities, popcount)
    centred = graph("Mul", centred, gamma[:-1] / np.sqrt(max(1, len(gamma) - 1)))
    return graph("Concat", centred, graph("Mul", popcount, gamma[-1:]), axis=1)


def _products(graph, codes, n_bits, factor):
    """Return the features of ``skopu.forms.products.expand``."""
    mixing = np.eye(n_bits) + 1 / (1 + np.sqrt(1 + n_bits))
    first, second = np.triu_indices(n_bits, 1)
    single = linear(graph, codes, mixing * factor[:n_bits])
    double = graph("Mul", *(graph("Gather", codes, which, axis=1) for which in (first, second)))
    return graph("Concat", single, graph("Mul", double, np.sqrt(2) * factor[n_bits:]), axis=1)


def _normal_quantiles(graph, X, scaler):
    """Look up where ``NormalQuantiles`` puts values, in blocks of cuts, and take the quantiles."""
    pieces = [_pieces(knots) for knots in scaler.quantiles_.T]
    n_cuts = max(len(cuts) for cuts, *_ in pieces)
    n_blocks = -(-(n_cuts + 1) // _PER_BLOCK)
    n_padded, n_columns = n_blocks * _PER_BLOCK, len(pieces)
    # Cuts at infinity end the last block. Values are above all of a block's cuts or in it.
    cuts, *lines = (
        np.stack([np.pad(part, (0, n_padded - len(part)), constant_values=last) for part in parts])
        for parts, last in zip(zip(*pieces), (np.inf, 0.0, 0.0, 0.0))
    )
    cuts = cuts.reshape(n_columns, n_blocks, _PER_BLOCK)

    def count(below):
        counted = graph.as_single(graph("Less", below, graph("Unsqueeze", X, np.array([2]))))
        return graph.as_index(graph.sum(counted, -1))

    block = graph("Add", count(cuts[:, :-1, -1]), np.arange(n_columns) * n_blocks)
    own = count(graph("Gather", cuts.reshape(-1, _PER_BLOCK), block, axis=0))
    place = graph("Add", graph("Mul", block, np.int64(_PER_BLOCK)), own)
    start, slope, level = (graph("Gather", line.ravel(), place, axis=0) for line in lines)
    x = graph("Add", graph("Mul", graph("Sub", X, start), slope), level)
    return _normal_quantile(graph, x)


def _pieces(knots):
    """Return cuts (m) and the lines x = (X - start) * slope + level between them, each (m + 1,).

    x is 2 s - 1 for the share s of values below, of which those on a knot, or on several that are
    the same, have the middle of their levels. A value is beyond a cut if above it.
    """
    values, first = np.unique(knots, return_index=True)
    last = np.append(first[1:], len(knots)) - 1
    levels = np.linspace(-1, 1, len(knots))
    on, gaps = (levels[first] + levels[last]) / 2, np.diff(values)
    slopes = (levels[first[1:]] - levels[last[:-1]]) / gaps
    # Each value has a cut just below it and one at it.
    cuts = np.column_stack([np.nextafter(values, -np.inf), values]).ravel()
    lines = np.zeros((3, len(cuts) + 1))
    lines[2, 1::2] = on
    lines[:, 2:-1:2] = values[:-1], slopes, levels[last[:-1]]
    # The ends are wider than a value, and the lower one goes first.
    low, high = np.nextafter(knots[0] + _AT_THE_END, -np.inf), knots[-1] - _AT_THE_END
    kept = np.array([low, *cuts[(cuts > low) & (cuts < high)], *([high] if high > low else [])])
    inside = lines[:, np.searchsorted(cuts, kept[:-1], side="right")]
    ends = np.array([[0.0, 0.0], [0.0, 0.0], [-1.0, 1.0]])
    return kept, *np.column_stack([ends[:, :1], inside, ends[:, 1:]])


def _normal_quantile(graph, x):
    """Clipped as the scaling is, so that the far tails are not needed."""
    x = graph("Clip", x, 2 * ndtr(-_LIMIT) - 1, 2 * ndtr(_LIMIT) - 1)
    t = graph("Log", graph("Sub", np.float64(1), graph("Mul", x, x)))
    powers = graph("Pow", graph("Unsqueeze", t, np.array([2])), np.arange(float(len(_ABOVE))))
    above, below = (graph("MatMul", powers, np.array(part)) for part in (_ABOVE, _BELOW))
    return graph("Mul", x, graph("Div", above, below))
