"""Models in ONNX. Oracle: their own predictions, to 1e-5, in onnxruntime."""

import numpy as np
import pytest
from sklearn.datasets import make_friedman1
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skopu
from skopu.deploy import to_onnx
from skopu.devices import Camera, SimulatedOPU
from skopu.exceptions import IncompatiblePartsError
from skopu.rules.conditions import Condition
from skopu.rules.rules import Rule

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")

X, y = make_friedman1(120, n_features=6, random_state=0)
X[:, 5] = np.exp(4 * X[:, 5])  # skewed, for the quantiles
Y = np.column_stack([y, np.sin(y)])
NAMES = np.array(["low", "mid", "top"])[np.digitize(y, [12, 17])]
ENCODER = skopu.SupervisedBinarizer(8, n_components=40, max_iter=20, scaler="quantile")
HYPERPLANES = skopu.HyperplaneBinarizer(16, random_state=0)


def cross_fitted(kind, **parameters):
    return kind(8, cv=2, max_iter=20, random_state=0, **parameters)


def joint(kind, **parameters):
    return kind(ENCODER, random_state=0, n_draws=3, **parameters)


REGRESSORS = {
    "cross-fitted": cross_fitted(skopu.CrossFittedOPURegressor),
    "sums": cross_fitted(skopu.CrossFittedOPURegressor, scaler="standard"),
    "mean": joint(skopu.EndToEndOPURegressor, prediction="mean"),
    "draws": joint(skopu.EndToEndOPURegressor),
    "threshold": joint(skopu.EndToEndOPURegressor, prediction="threshold"),
    "ridge": skopu.OPUKernelRidge(n_components=40, binarizer=ENCODER),
    "hyperplanes": skopu.OPUKernelRidge(n_components=40, binarizer=HYPERPLANES),
    "thermometer": skopu.OPUKernelRidge(n_components=40, binarizer=skopu.ThermometerBinarizer(16)),
    "linear": skopu.OPUKernelRidge(kernel="linear"),
    "rbf": skopu.OPUKernelRidge(kernel="rbf"),
    "fourier": skopu.OPUKernelRidge(
        kernel="rbf", kernel_approximation="fourier", n_components=50, random_state=0
    ),
    "pipeline": make_pipeline(ENCODER, skopu.OPURandomFeatures(40), skopu.OPUKernelRidge()),
    "raw": make_pipeline(
        HYPERPLANES, skopu.OPURandomFeatures(40, form="raw", gamma=0.5), skopu.OPUKernelRidge()
    ),
    "products": make_pipeline(
        HYPERPLANES, skopu.OPURandomFeatures(form="exact"), skopu.OPUKernelRidge()
    ),
    "thresholds": make_pipeline(
        StandardScaler(), skopu.OPURandomFeatures(40), skopu.OPUKernelRidge()
    ),
    "dfa": make_pipeline(
        skopu.DFABinarizer(8, n_components=20, max_iter=3, random_state=0),
        skopu.OPURandomFeatures(40),
        skopu.OPUKernelRidge(),
    ),
    "feedback": skopu.DFARegressor((12, 6), max_iter=3, random_state=0),
    "relu": skopu.DFARegressor(
        (12,), "relu", scaler="quantile", refit=False, max_iter=3, random_state=0
    ),
    "trees": skopu.OPUKernelRidge(n_components=40, binarizer=skopu.TreeBinarizer(16)),
}
TWO_TARGETS = {"sums", "mean", "ridge", "feedback"}
CLASSIFIERS = {
    "cross-fitted": cross_fitted(skopu.CrossFittedOPUClassifier),
    "mean": joint(skopu.EndToEndOPUClassifier, prediction="mean"),
    "draws": joint(skopu.EndToEndOPUClassifier),
    "ridge": skopu.OPUKernelRidgeClassifier(n_components=40, binarizer=ENCODER),
    "pipeline": make_pipeline(
        StandardScaler(),
        HYPERPLANES,
        skopu.OPURandomFeatures(40),
        LogisticRegression(C=1e-3, max_iter=1000),
    ),
    "feedback": skopu.DFAClassifier((12,), "logistic", max_iter=3, random_state=0),
    "identity": skopu.DFAClassifier((12,), "identity", scaler=None, max_iter=3, random_state=0),
    "binary": skopu.BinaryMLPClassifier((12, 6), max_iter=3, random_state=0),
    "layer": skopu.BinaryMLPClassifier(
        (12,), normalization="layer", scaler=None, max_iter=3, random_state=0
    ),
    "rectified": skopu.BinaryMLPClassifier((12, 6), activation="relu", max_iter=3, random_state=0),
    "latent": skopu.BinaryMLPClassifier(
        (12,), weight_optimizer="ste", weights="latent", max_iter=3, random_state=0
    ),
}
BINARIZERS = {
    "supervised": ENCODER,
    "hyperplanes": HYPERPLANES,
    "thermometer": skopu.ThermometerBinarizer(16),
    "splits": skopu.TreeBinarizer(16, n_estimators=5, random_state=0),
    "leaves": skopu.TreeBinarizer(40, kind="leaves", n_estimators=5, random_state=0),
    "tied": skopu.AutoencoderBinarizer(8, max_iter=10, random_state=0),
    "tied, unscaled": skopu.AutoencoderBinarizer(8, scaler=None, max_iter=10, random_state=0),
    "autoencoder": skopu.BinaryAutoencoder(8, max_iter=10, random_state=0),
    "deep autoencoder": skopu.BinaryAutoencoder(
        8, hidden_layer_sizes=(9, 7), feature_range=(0, 2), max_iter=10, random_state=0
    ),
    "real autoencoder": skopu.BinaryAutoencoder(8, weights="real", max_iter=10, random_state=0),
}


def session_of(model, rows):
    return onnxruntime.InferenceSession(to_onnx(model, rows).SerializeToString())


def check_close(found, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name, dtype):
    rows, targets = X.astype(dtype), Y if name in TWO_TARGETS else y
    model = REGRESSORS[name].fit(rows, targets)
    (found,) = session_of(model, rows).run(None, {"X": rows})
    expected = model.predict(rows)
    assert found.dtype == dtype
    check_close(found, expected.reshape(len(rows), -1))


@pytest.mark.parametrize("labels", [NAMES, y > 14, (y > 14) + 5], ids=["names", "bool", "int"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, labels):
    model = CLASSIFIERS[name].fit(X, labels)
    found, scores = session_of(model, X).run(None, {"X": X})
    np.testing.assert_array_equal(found, model.predict(X))
    if hasattr(model, "predict_proba"):
        check_close(scores, model.predict_proba(X))
    else:
        decision = model.decision_function(X)
        expected = decision if decision.ndim == 2 else np.column_stack([-decision, decision])
        check_close(scores, expected)


def test_quantiles_to_the_last_bit_of_a_cut():
    """On values that were seen, once or often, on both sides of them, and at both ends."""
    rng = np.random.default_rng(0)
    often = rng.integers(0, 6, 120)
    columns = [rng.standard_normal(120), often, often * 1e9, often * 1e-8, np.full(120, 0.1)]
    rows = np.column_stack(columns)
    model = REGRESSORS["relu"].fit(rows, y)
    near = [np.nextafter(rows, way * np.inf) for way in (-1, 1)]
    ends = [rows + move for move in (-1.1e-7, -0.9e-7, 0.9e-7, 1.1e-7)]
    shown = np.vstack([rows, *near, *ends, (rows + rows[::-1]) / 2, 2 * rows - rows[::-1]])
    (found,) = session_of(model, shown).run(None, {"X": shown})
    check_close(found[:, 0], model.predict(shown))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARIZERS)
def test_codes(name, dtype):
    """Rows beyond the range of training are clipped, a constant column says nothing."""
    rows = np.hstack([X, np.full((len(X), 1), 0.1)]).astype(dtype)
    model = BINARIZERS[name].fit(rows, y)
    for shown in (rows, 3 * rows - 1):
        (found,) = session_of(model, shown).run(None, {"X": shown})
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, model.transform(shown))
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("labels", [NAMES, y > 14, (y > 14) + 5], ids=["names", "bool", "int"])
def test_rules(labels):
    """The first rule that holds decides, cuts are at values that occur; scores are 1 for it."""
    rows = np.column_stack([X[:, :2], np.digitize(X[:, 2:5], [0.5])])
    model = skopu.NeuralDNFClassifier(2, max_iter=5, random_state=0).fit(rows, labels)
    first, last = model.classes_.tolist()[0], model.classes_.tolist()[-1]
    cuts = [float(np.sort(rows[:, column])[len(rows) // 2]) for column in (0, 1)]
    indicators = [Condition(feature, "=", float(feature % 2)) for feature in (2, 3, 4)]
    bodies = [
        (Condition(0, "<=", cuts[0]), Condition(1, ">", cuts[1]), indicators[0]),
        (Condition(1, "<=", cuts[1]), *indicators),
        (Condition(0, ">", cuts[0]),),
    ]
    said = [first, last, first]
    model.rules_ = [Rule(label, body, 1.0, 1.0) for label, body in zip(said, bodies)]
    model.default_ = last
    for shown in (rows, rows.astype(np.float32)):
        found, scores = session_of(model, shown).run(None, {"X": shown})
        np.testing.assert_array_equal(found, model.predict(shown))
        np.testing.assert_array_equal(scores, model.predict(shown)[:, None] == model.classes_)


def test_no_rules_at_all():
    """A constant column leaves the default alone."""
    rows = np.ones((len(X), 1))
    model = skopu.NeuralDNFClassifier(2, max_iter=5, random_state=0).fit(rows, NAMES)
    assert not model.rules_
    np.testing.assert_array_equal(
        session_of(model, rows).run(None, {"X": rows})[0], model.predict(rows)
    )


@pytest.mark.parametrize("outputs", [slice(0, 1), slice(None)], ids=["one", "two"])
def test_trees_of_an_ensemble(outputs):
    """Splits are read by forms, leaves by tables; on a target with jumps both are in use."""
    jumps = np.column_stack([np.floor(y / 4), (X[:, 0] > 0.5) + 2 * (X[:, 1] > 0.3)])[:, outputs]
    model = cross_fitted(skopu.CrossFittedOPURegressor, trees=True, scaler="both").fit(X, jumps)
    assert {part.kind for part in model._trees_} > {"splits"}
    for rows in (X, X.astype(np.float32)):
        (found,) = session_of(model, rows).run(None, {"X": rows})
        check_close(found, model.predict(rows))


def test_new_rows_outside_the_range():
    """Quantiles end at the smallest and largest value, and a spike goes no further."""
    model = REGRESSORS["cross-fitted"].fit(X, y)
    far = np.vstack([X - 100, X + 100, X[:1], X.mean(axis=0, keepdims=True)])
    (found,) = session_of(model, far).run(None, {"X": far})
    check_close(found[:, 0], model.predict(far))


def test_every_estimator_is_exported(public_estimators):
    from skopu.deploy.onnx_converters import CONVERTERS

    assert {kind.__name__ for kind in CONVERTERS} == set(public_estimators)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (skopu.OPUKernelRidge(kernel="laplacian"), "kernel 'laplacian' has no ONNX form"),
        (KernelRidge(), "KernelRidge, or a step before it"),
        (
            skopu.OPUKernelRidge(
                n_components=20, binarizer=HYPERPLANES, opu=SimulatedOPU(camera=Camera())
            ),
            "its matrix must be known",
        ),
    ],
    ids=["kernel", "estimator", "device"],
)
def test_what_has_no_form_says_so(model, words):
    with pytest.raises(IncompatiblePartsError, match=words):
        to_onnx(model.fit(X, y), X)


def test_a_file(tmp_path):
    model = REGRESSORS["linear"].fit(X, y)
    made = to_onnx(model, X, path=tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == made.SerializeToString()
