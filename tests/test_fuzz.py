"""Random estimators on random rows, and random files: a clear error, or a sound answer.

In the suite a few examples, always the same; as many as are asked for, and others each time, by

    SKOPU_FUZZ=200 pytest tests/test_fuzz.py

An error is clear if scikit-learn or this package raises it on purpose, of a type that it
documents. An answer is sound if it has its shape and is finite, a second fit gives the same to the
last bit, and every row has it alone, too. Neither changes the state of the process.
"""

import linecache
import os
import traceback
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from batteries import METHODS, MODELS, fresh
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from laboratory import changed, process_state
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from skopu._core.validation import Interval, StrOptions
from skopu.comparison.csv_files import read_csv_problem
from skopu.comparison.problems import InputError

N = int(os.environ.get("SKOPU_FUZZ", "0"))
FIXED = {"random_state", "verbose", "torch_device", "n_jobs", "warm_start"}


def examples(n):
    """Settings of ``n`` examples that are always the same, or of as many as were asked for."""
    return settings(
        max_examples=N or n,
        derandomize=not N,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def values(constraints):
    """Small values that the constraints of a parameter allow."""
    small = [0, 1, 2, 3, 5, 1e-9, 1e-3, 0.3, 0.5, 1.0, 2.5, 1e3]
    found = []
    for constraint in constraints:
        if isinstance(constraint, StrOptions):
            found += sorted(constraint.options)
        elif isinstance(constraint, Interval):
            found += [value for value in small if constraint.is_satisfied_by(value)]
        elif constraint == "boolean":
            found += [False, True]
        elif constraint is None:
            found.append(None)
    return found


@st.composite
def parameters(draw, model):
    """Up to three parameters with other values."""
    own = model.get_params(deep=False)
    constraints = {n: c for n, c in model._parameter_constraints.items() if n in own}
    choices = {name: values(allowed) for name, allowed in constraints.items()}
    names = sorted(name for name in choices if len(choices[name]) > 1 and name not in FIXED)
    changes = draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else []
    return {
        name: draw(st.sampled_from([v for v in choices[name] if name != "max_iter" or v in (1, 2)]))
        for name in changes
    }


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0]),
    st.floats(-10, 10),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e-310, 1e-30, 1e30, -1e150, 1e308, np.nan, np.inf]),
)
USUAL = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5]), st.floats(-10, 10))
CONTAINERS = {
    "array": np.asarray,
    "columns first": np.asfortranarray,
    "single": lambda X: X.astype(np.float32),
    "integers": lambda X: np.nan_to_num(X).clip(-100, 100).astype(int),
    "truths": lambda X: X > 0,
    "objects": lambda X: X.astype(object),
    "list": np.ndarray.tolist,
    "frame": lambda X: pd.DataFrame(X, columns=[f"c{n}" for n in range(X.shape[1])]),
    "sparse": sparse.csr_array,
    "sparse columns": sparse.csc_matrix,
}


@st.composite
def rows_and_targets(draw, classes):
    """Rows, targets and weights, of all kinds of values and containers."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    numbers = draw(st.sampled_from([USUAL, USUAL, NUMBERS]))
    X = draw(arrays(np.float64, (n, d), elements=numbers))
    if draw(st.booleans()):
        X = X[draw(arrays(np.int64, n, elements=st.integers(0, n - 1)))]  # some of them twice
    if classes:
        labels = draw(st.sampled_from([["a", "b"], [0, 1], [-1.0, 3.0], [True, False], "xyz"]))
        y = np.array(draw(st.lists(st.sampled_from(list(labels)), min_size=n, max_size=n)))
    else:
        shape = draw(st.sampled_from([(n,), (n,), (n, 2)]))
        y = draw(arrays(np.float64, shape, elements=numbers))
    weights = draw(
        st.none()
        | arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0, 1.0, 2.0, 1e-12, 1e12]))
    )
    with np.errstate(over="ignore"):
        return CONTAINERS[draw(st.sampled_from(list(CONTAINERS)))](X), y, weights


def is_clear(error):
    """Whether an error was raised on purpose, and says something."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = any(f"{os.sep}{name}{os.sep}" in frame.filename for name in ("skopu", "sklearn"))
    line = linecache.getline(frame.filename, frame.lineno)
    is_on_purpose = is_ours and line.lstrip().startswith("raise")
    return is_on_purpose and isinstance(error, (ValueError, TypeError)) and len(str(error)) > 20


def answers(model, X, y, weights):
    """All that a fit leads to, by method; None if it ends with a clear error."""
    try:
        is_weighted = weights is not None and has_fit_parameter(model, "sample_weight")
        model.fit(X, y, **({"sample_weight": weights} if is_weighted else {}))
        names = filter(partial(hasattr, model), METHODS)
        return {name: dense(getattr(model, name)(X)) for name in names}
    except Exception as error:
        if not is_clear(error):
            raise
        return None


def dense(answer):
    return answer.toarray() if sparse.issparse(answer) else np.asarray(answer)


def is_tie(scores):
    """Whether rounding decides between labels of the first row."""
    if scores is None:
        return False
    scores = np.sort(scores[0] if scores.ndim == 2 else [0.0, scores[0]])
    return scores[-1] - scores[-2] < 1e-6


def has_bound(model, weights):
    """Whether equal rows with different targets have coefficients that leave digits to predict."""
    alpha = getattr(model, "alpha", "loo")
    heaviest = 1.0 if weights is None else np.max(weights)
    return isinstance(alpha, str) or np.min(alpha) >= 1e-9 * heaviest


def check_rows(model, X, found, scale, is_bounded=True):
    """Shape, finiteness, and each row alone."""
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    for method, answer in found.items():
        axis = answer.ndim - 2 if method == "bit_probabilities" else 0  # of several encoders
        assert answer.shape[axis] == n, method
        # With fewer rows than a coverage asks for, an interval has no end: that is its answer.
        is_endless = method == "predict_interval" and np.isinf(answer).any()
        if answer.dtype.kind in "fc":
            assert not np.isnan(answer).any() if is_endless else np.isfinite(answer).all(), method
        if not is_bounded:
            continue
        one = dense(getattr(model, method)(X.iloc[:1] if hasattr(X, "iloc") else X[:1]))
        if answer.dtype.kind != "f" or is_endless:
            if method != "predict" or not is_tie(found.get("decision_function")):
                np.testing.assert_array_equal(one, answer.take([0], axis))
            continue
        # The coefficients of nearly dependent rows may be 1e9 times what is predicted.
        size = np.abs(answer).max() + scale
        np.testing.assert_allclose(one, answer.take([0], axis), rtol=0, atol=1e-6 * size)


@pytest.mark.parametrize("name", MODELS)
@examples(4)
@given(data=st.data())
def test_estimators(name, data):
    """Oracle: see the head of the file."""
    model = fresh(MODELS[name])
    model.set_params(**data.draw(parameters(model)))
    X, y, weights = data.draw(rows_and_targets(is_classifier(model)))
    before = process_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = answers(model, X, y, weights)
        if found is not None:
            scale = 1.0 if is_classifier(model) else np.abs(y).max()
            check_rows(model, X, found, scale, has_bound(model, weights))
            again = answers(clone(model), X, y, weights)
            for method, answer in found.items():
                np.testing.assert_array_equal(again[method], answer)
    assert changed(before) == []


# What files are made of.
PIECES = [*",;\t|\"' \n\n\n", "\r\n", *"0127.-+eE%#", "a", "b", "yes", "NA", "é", "1.5", "1,234.5"]
PIECES += ["1.234,5", "2024-01-31", "y", "x", "nan", "inf", "1e400", "\x00", "\ufeff", "?", "TRUE"]
LINES = st.lists(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), max_size=12)
SEPARATORS = [",", ";", "\t", "|"]


def read(path, content, task):
    """The problem in a file; None if it is refused as one that cannot be read."""
    path.write_bytes(content)
    try:
        return read_csv_problem(str(path), "y", task)
    except InputError as refusal:
        if "\n" in str(refusal) or len(str(refusal)) < 20:
            raise
        return None


def check_problem(problem):
    assert len(problem.X) == len(problem.y) > 0
    assert problem.X.shape[1] > 0
    if problem.task == "regression":
        assert np.isfinite(problem.y).all()
    numbers = problem.X.select_dtypes("number").to_numpy(float)
    assert not np.isinf(numbers).any()


@examples(60)
@given(data=st.data())
def test_any_file(tmp_path_factory, data):
    """Oracle: the one error that is documented, of one line; or rows and targets that fit."""
    head = data.draw(st.sampled_from(["x,y\n", "y;x\n", "a\tx\ty\n", "", '"y" "x"\n', "y,y\n"]))
    text = head + data.draw(st.sampled_from(["\n", "\r\n"])).join(data.draw(LINES))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    content = text.encode(encoding, errors="replace")
    content = data.draw(st.sampled_from([content] * 9 + [content[::-1]]))
    task = data.draw(st.sampled_from(["auto", "classification", "regression"]))
    problem = read(tmp_path_factory.getbasetemp() / "any.csv", content, task)
    if problem is not None:
        check_problem(problem)


@examples(40)
@given(data=st.data())
def test_a_table_is_read_as_it_was_written(tmp_path_factory, data):
    """Oracle: the numbers themselves, whatever the separator, decimals, quotes and line ends."""
    n = data.draw(st.integers(5, 15))
    table = data.draw(
        arrays(np.float64, (n, 3), elements=st.floats(-1e6, 1e6).map(lambda v: round(v, 3)))
    )
    table += np.arange(n)[:, None] / 8  # no column is constant
    separator = data.draw(st.sampled_from(SEPARATORS))
    decimal = data.draw(st.sampled_from(".," if separator != "," else "."))
    quote = data.draw(st.sampled_from(["", '"']))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    cells = [["first", "second", "y"]]
    cells += [[f"{value:.3f}".replace(".", decimal) for value in row] for row in table]
    text = end.join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in cells)
    path = tmp_path_factory.getbasetemp() / "table.csv"
    problem = read(path, text.encode(data.draw(st.sampled_from(["utf-8", "utf-16"]))), "regression")
    np.testing.assert_allclose(problem.y, np.round(table[:, 2], 3), rtol=0, atol=6e-4)
    for number, name in enumerate(["first", "second"]):
        if name in problem.X:  # columns that number the rows are dropped
            found = problem.X[name].to_numpy(float)
            np.testing.assert_allclose(found, np.round(table[:, number], 3), rtol=0, atol=6e-4)
