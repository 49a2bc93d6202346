"""What models are made of, as ONNX: scalings, codes, quadratic forms, features."""

import numpy as np
from scipy.special import ndtr

from skopu._core.scaling import NormalQuantiles

_LIMIT = 3.0  # where normal quantiles are clipped
_SINGLE = 2.0**-23

# Rational approximations of the normal quantile function, exact to 1e-15: of its middle, in
# .180625 - q^2 for shares .5 + q, and of its tails, in r - 1.6 with r = sqrt(-log(share)).
# (M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988.)
_MIDDLE, _CENTRE, _TAIL = 0.425, 0.180625, 1.6
_MIDDLE_ABOVE = (
    *(3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3),
    *(1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4),
    *(3.3430575583588128105e4, 2.5090809287301226727e3),
)
_MIDDLE_BELOW = (
    *(1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3),
    *(2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4),
    *(5.2264952788528545610e3,),
)
_TAIL_ABOVE = (
    *(1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0),
    *(3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1),
    *(2.27238449892691845833e-2, 7.74545014278341407640e-4),
)
_TAIL_BELOW = (
    *(1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1),
    *(1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4),
    *(1.05075007164441684324e-9,),
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
    product = graph("MatMul", X, np.asarray(coef, dtype=np.float64))
    return product if intercept is None else graph("Add", product, intercept)


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


def halved_tanh(graph, X, scaler, coef, intercept):
    """Return probabilities of bits by encoders (E, k, d), less one half and doubled: (E, 1, n, k).

    The probability of a logit t is (1 + tanh(t / 2)) / 2. Encoders are the leading axis from here
    on: a transposition of rows and encoders costs a single row more than all sums.
    """
    if isinstance(scaler, NormalQuantiles):
        X = _normal_quantiles(graph, X, scaler)
    elif scaler is not None:
        # A linear scaling and a linear encoder are one.
        coef = coef / scaler.scale_
        if scaler.with_mean:
            intercept = intercept - coef @ scaler.mean_
    W, b = coef.mT[:, None] / 2, intercept[:, None, None] / 2
    return graph("Tanh", linear(graph, graph("Unsqueeze", X, np.array([0, 1])), W, b))


def forms_of_encoders(graph, c, form):
    """Return the summed values (n, q) of the forms (E, q, ...) of what ``halved_tanh`` gives."""
    terms, pairs = form[0][..., None, :] / 2, form[1] / 4
    # Single precision takes half the time, where its rounding is a tenth of what is promised.
    if _SINGLE * np.linalg.norm(pairs) < 1e-6:
        slopes = graph.as_double(graph("MatMul", graph.as_single(c), graph.single(pairs)))
    else:
        slopes = graph("MatMul", c, pairs)
    values = graph.sum(graph("Mul", graph("Add", slopes, terms), c), [0, 3])
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
    """Look up what ``NormalQuantiles`` does, operation by operation."""
    knots = scaler.quantiles_  # (m, d)
    row = graph("Unsqueeze", X, np.array([2]))

    def count(comparison):
        is_counted = graph(comparison, np.ascontiguousarray(knots.T), row)
        return graph.as_index(graph.sum(graph.as_single(is_counted), -1))

    n_gaps = len(knots) - 1  # of levels that are evenly spaced from 0 to 1
    low = graph("Max", graph("Sub", count("LessOrEqual"), np.int64(1)), np.int64(0))
    high = graph("Min", count("Less"), np.int64(n_gaps))
    left, right = (graph("GatherElements", knots, which, axis=0) for which in (low, high))
    gap = graph("Sub", right, left)
    is_between = graph("Greater", gap, np.float64(0))
    way = graph("Div", graph("Sub", X, left), graph("Where", is_between, gap, np.float64(1)))
    # On a knot, or on several that are the same: the middle of their levels.
    doubled = graph.as_double(graph("Add", low, high))
    inside = graph("Add", graph.as_double(low), way)
    share = graph("Where", is_between, inside, graph("Mul", doubled, np.float64(0.5)))
    share = graph("Div", share, np.float64(n_gaps))
    share = graph("Where", graph("Less", knots[-1:] - 1e-7, X), np.float64(1), share)
    share = graph("Where", graph("Greater", knots[:1] + 1e-7, X), np.float64(0), share)
    return _normal_quantile(graph, share)


def _normal_quantile(graph, share):
    """Clipped as the scaling is, so that the far tails are not needed."""
    share = graph("Max", graph("Min", share, ndtr(_LIMIT)), ndtr(-_LIMIT))
    q = graph("Sub", share, np.float64(0.5))
    t = graph("Sub", np.float64(_CENTRE), graph("Mul", q, q))
    middle = graph("Mul", q, _ratio(graph, t, _MIDDLE_ABOVE, _MIDDLE_BELOW))
    tail = graph("Min", share, graph("Sub", np.float64(1), share))
    r = graph("Sqrt", graph("Neg", graph("Log", tail)))
    t = graph("Sub", r, np.float64(_TAIL))
    outside = graph("Mul", graph("Sign", q), _ratio(graph, t, _TAIL_ABOVE, _TAIL_BELOW))
    is_middle = graph("LessOrEqual", graph("Abs", q), np.float64(_MIDDLE))
    return graph("Where", is_middle, middle, outside)


def _ratio(graph, t, above, below):
    """Both polynomials at once: fewer operations, of which each has its price."""
    powers = graph("Pow", graph("Unsqueeze", t, np.array([2])), np.arange(float(len(above))))
    values = graph("MatMul", powers, np.column_stack([above, below]))
    above, below = (graph("Gather", values, np.int64(which), axis=2) for which in (0, 1))
    return graph("Div", above, below)
