"""OPUKernelRidge on rows that come in chunks, against the same rows at once."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import RidgeCV

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
)
from skopu.exceptions import InterruptedFitWarning
from skopu.ridge.leave_one_out import LeaveOneOut

N, K, D = 400, 16, 64
SIZES = (90, 1, 209, 100)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, size=(N, K)).astype(np.uint8)
    target = 1.0 * codes[:, 0] * codes[:, 1] - codes[:, 2] + 0.1 * rng.standard_normal(N)
    weights = rng.uniform(0.5, 2, size=N)
    return codes, target, weights


def cut(*arrays):
    """Chunks of the rows, of different sizes."""
    starts = np.cumsum((0, *SIZES))
    return [tuple(a[i:j] for a in arrays) for i, j in pairwise(starts)]


def model(alpha=0.1, **parameters):
    return OPUKernelRidge(alpha, n_components=D, **parameters)


class TestAgreement:
    """Oracle: fit on all rows at once, to 1e-8 for float64."""

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    def test_chunks_and_calls(self, rows, fit_intercept, weighted):
        data = rows if weighted else rows[:2]
        whole = model(fit_intercept=fit_intercept).fit(*data)
        chunks = model(fit_intercept=fit_intercept).fit_chunks(iter(cut(*data)))
        calls = model(fit_intercept=fit_intercept)
        for chunk in cut(*data):
            calls.partial_fit(*chunk)
        for other in (chunks, calls):
            np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)
            np.testing.assert_allclose(other.intercept_, whole.intercept_, atol=1e-8)
            assert other.features_.opu_.n_passes == N

    @pytest.mark.parametrize("chunk_size", [1, 7, 150, None])
    @pytest.mark.parametrize("alpha", [0.1, "loo", "gcv"])
    def test_chunk_size_does_not_matter(self, rows, chunk_size, alpha):
        whole = model(alpha, chunk_size=N).fit(*rows)
        other = model(alpha, chunk_size=chunk_size).fit(*rows)
        np.testing.assert_allclose(other.predict(rows[0]), whole.predict(rows[0]), atol=1e-8)
        np.testing.assert_allclose(other.alpha_, whole.alpha_, rtol=1e-8)

    def test_no_more_than_a_chunk_of_features_is_made(self, rows, monkeypatch):
        made = []
        transform = OPURandomFeatures.transform

        def spy(self, X):
            made.append(len(X))
            return transform(self, X)

        monkeypatch.setattr(OPURandomFeatures, "transform", spy)
        for alpha in (1.0, "loo"):
            model(alpha, chunk_size=70).fit(*rows)
        model(chunk_size=70).fit_chunks([rows]).predict(rows[0])
        assert max(made) == 70

    def test_rows_of_one_chunk_pass_the_device_once(self, rows):
        assert model("loo").fit(*rows).features_.opu_.n_passes == N
        assert model("loo", chunk_size=N - 1).fit(*rows).features_.opu_.n_passes == 2 * N

    @pytest.mark.parametrize("kernel", ["opu", "linear", "rbf"])
    @pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, sparse.csr_matrix])
    def test_kernels_and_containers(self, rows, kernel, convert):
        options = {"kernel": kernel, "kernel_approximation": "fourier", "random_state": 0}
        whole = model(**options).fit(*rows)
        chunks = [(convert(X), *rest) for X, *rest in cut(*rows)]
        other = model(**options).fit_chunks(chunks)
        np.testing.assert_allclose(other.predict(rows[0]), whole.predict(rows[0]), atol=1e-8)

    def test_memory_map(self, rows, tmp_path):
        X, y, weights = rows
        np.save(tmp_path / "codes.npy", X)
        mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
        for alpha in (0.1, "loo"):
            whole = model(alpha).fit(X, y, weights)
            other = model(alpha, chunk_size=50).fit(mapped, y, weights)
            np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)

    def test_features_say_that_they_are_features(self, rows):
        X, y, _ = rows
        features = OPURandomFeatures(D).fit_transform(X)
        other = OPUKernelRidge(0.1).fit_chunks(cut(features, y))
        assert other.kernel_ == "linear"
        whole = OPUKernelRidge(0.1).fit(features, y)
        np.testing.assert_allclose(other.coef_, whole.coef_, atol=1e-8)

    def test_several_targets_with_a_penalty_each(self, rows):
        X, y, weights = rows
        Y, alpha = np.column_stack([y, y**2]), np.array([0.1, 3.0])
        whole = model(alpha).fit(X, Y, weights)
        other = model(alpha).fit_chunks(cut(X, Y, weights))
        assert other.readout_coef_.shape == (2, D)
        np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)


class TestPenalties:
    @pytest.mark.parametrize("alpha", ["loo", "gcv"])
    def test_chosen_from_chunks(self, rows, alpha):
        """Oracle: fit on all rows, none of them repeated."""
        whole = model(alpha).fit(*rows)
        for chunks in (cut(*rows), lambda: iter(cut(*rows))):
            other = model(alpha).fit_chunks(chunks)
            assert other.alpha_ == pytest.approx(whole.alpha_, rel=1e-8)
            assert other.loo_error_ == pytest.approx(whole.loo_error_, rel=1e-8)
            np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)

    def test_given_penalties(self, rows):
        """Oracle: RidgeCV over the same ones."""
        X, y, _ = rows
        alphas = np.logspace(-3, 3, 10)
        features = OPURandomFeatures(D).fit_transform(X).astype(float)
        expected = RidgeCV(alphas).fit(features, y)
        found = OPUKernelRidge("loo", alphas=alphas, kernel="linear").fit(features, y)
        assert found.alpha_ == expected.alpha_
        np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-8)
        assert found.loo_error_ == pytest.approx(-expected.best_score_)

    def test_gcv_is_close_to_leave_one_out(self, rows):
        """Oracle: the exact error; leverages of random rows are nearly equal."""
        exact, close = (model(alpha).fit(*rows[:2]).loo_error_ for alpha in ("loo", "gcv"))
        assert close == pytest.approx(exact, rel=0.05)

    @pytest.mark.parametrize("alpha", ["loo", "gcv"])
    def test_fewer_rows_than_features(self, rows, alpha):
        """Oracle: the normal equations of the same rows, which ``fit`` avoids."""
        X, y, _ = (part[:40] for part in rows)
        alphas = [0.01, 0.1, 1.0]
        whole = model(alpha, alphas=alphas).fit(X, y)
        other = model(alpha, alphas=alphas).fit_chunks([(X, y)])
        assert other.alpha_ == whole.alpha_
        np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-6)

    @pytest.mark.parametrize("alpha", ["loo", "gcv"])
    def test_rows_that_are_seen_once(self, rows, alpha):
        """Oracle: generalised cross-validation, which needs no second pass."""
        whole = model("gcv").fit(*rows)
        calls = model(alpha)
        for chunk in cut(*rows):
            calls.partial_fit(*chunk)
        once = model(alpha).fit_chunks(iter(cut(*rows)))
        for other in (calls, once):
            assert other.alpha_ == pytest.approx(whole.alpha_, rel=1e-8)
            assert other.loo_error_ == pytest.approx(whole.loo_error_, rel=1e-8)
            np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)


@pytest.mark.parametrize(("gram", "tolerance"), [("float32", 1e-4), ("int7", 0.03)])
def test_faster_arithmetic(rows, gram, tolerance):
    """Oracle: predictions in float64, apart by this share of the target's spread."""
    X, y, weights = rows
    for given in ((X, y), (X, y, weights)):
        exact = model(1.0).fit(*given).predict(X)
        found = model(1.0, gram=gram, chunk_size=150).fit(*given).predict(X)
        assert np.sqrt(np.mean((found - exact) ** 2)) < tolerance * y.std()


def test_targets_beyond_the_range_of_float32(rows):
    """Oracle: the fit in other units."""
    X, y, _ = rows
    for gram in ("float32", "int7"):
        plain, scaled = (model(gram=gram).fit(X, unit * y) for unit in (1.0, 1e100))
        np.testing.assert_allclose(
            scaled.readout_coef_ / 1e100, plain.readout_coef_, rtol=1e-4, atol=1e-6
        )


class TestBinarizer:
    def test_first_chunk_trains_it(self, rows):
        """Oracle: the steps by hand."""
        _, y, _ = rows
        X = np.random.default_rng(1).standard_normal((N, 5))
        binarizer = HyperplaneBinarizer(K, random_state=0)
        found = model(binarizer=binarizer).fit_chunks(cut(X, y))
        codes = clone(binarizer).fit(X[: SIZES[0]]).transform(X)
        np.testing.assert_allclose(
            found.predict(X), model().fit(codes, y).predict(codes), atol=1e-8
        )

    def test_binary_first_must_stay_binary(self, rows):
        X, y, _ = rows
        with pytest.raises(ValueError, match="must hold only 0 and 1"):
            model().fit_chunks([(X[:50], y[:50]), (0.5 * X[50:], y[50:])])


class TestClassifier:
    @pytest.fixture
    def labelled(self, rows):
        X, y, weights = rows
        return X, np.array(["low", "middle", "top"])[np.digitize(y, [-0.5, 0.5])], weights

    @pytest.mark.parametrize("class_weight", [None, "balanced", {"low": 3.0}])
    def test_chunks(self, labelled, class_weight):
        """Oracle: fit on all rows, to 1e-8."""
        settings = {"n_components": D, "class_weight": class_weight}
        whole = OPUKernelRidgeClassifier(0.1, **settings).fit(*labelled)
        other = OPUKernelRidgeClassifier(0.1, **settings).fit_chunks(cut(*labelled))
        np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)
        np.testing.assert_array_equal(other.predict(labelled[0]), whole.predict(labelled[0]))

    def test_calls(self, labelled):
        whole = OPUKernelRidgeClassifier(0.1, n_components=D).fit(*labelled)
        other = OPUKernelRidgeClassifier(0.1, n_components=D)
        for X, y, weights in cut(*labelled):
            other.partial_fit(X, y, classes=whole.classes_, sample_weight=weights)
        np.testing.assert_allclose(other.readout_coef_, whole.readout_coef_, atol=1e-8)
        again = clone(whole).fit_chunks(iter(cut(*labelled)), classes=["top", "low", "middle"])
        np.testing.assert_allclose(again.readout_coef_, whole.readout_coef_, atol=1e-8)

    def test_bad_input(self, labelled):
        classifier = OPUKernelRidgeClassifier(n_components=D)
        with pytest.raises(ValueError, match="classes must be passed on the first call"):
            classifier.partial_fit(*labelled[:2])
        with pytest.raises(ValueError, match="such as 'top': name all of them in classes"):
            classifier.partial_fit(*labelled[:2], classes=["low", "middle"])
        with pytest.raises(ValueError, match="classes must be given with an iterator"):
            classifier.fit_chunks(iter(cut(*labelled)))
        with pytest.raises(ValueError, match="takes the counts of all labels"):
            clone(classifier).set_params(class_weight="balanced").partial_fit(
                *labelled[:2], classes=["low", "middle", "top"]
            )


class TestBadInput:
    def test_a_first_chunk_of_one_class(self):
        """Oracle: the same rows, shuffled. A binarizer without labels takes any chunk."""
        data = np.random.default_rng(1).standard_normal((60, 5))
        labels = np.repeat(["no", "yes"], 30)
        chunks = [(data[:30], labels[:30]), (data[30:], labels[30:])]
        classifier = OPUKernelRidgeClassifier(n_components=D, random_state=0)
        classifier.set_params(binarizer__n_bits=8, binarizer__max_iter=2)
        for fit in (
            lambda: classifier.fit_chunks(chunks),
            lambda: classifier.partial_fit(*chunks[0], classes=["no", "yes"]),
        ):
            with pytest.raises(ValueError, match=r"the first chunk .* holds one class only, 'no'"):
                fit()
        mixed = [(data[i::2], labels[i::2]) for i in range(2)]
        assert classifier.fit_chunks(mixed).binarizer_ is not None
        for model in (
            classifier.set_params(binarizer=HyperplaneBinarizer(8)),
            OPUKernelRidgeClassifier(kernel="linear"),
        ):
            assert list(model.fit_chunks(chunks).classes_) == ["no", "yes"]

    def test_partial_fit_after_fit_begins_anew(self, rows):
        """Oracle: a fresh model. After ``fit_chunks`` it goes on."""
        first, second = cut(*rows)[0], cut(*rows)[2]
        found = model().fit(*first).partial_fit(*second)
        np.testing.assert_array_equal(
            found.readout_coef_, model().partial_fit(*second).readout_coef_
        )
        found = model().fit_chunks([first]).partial_fit(*second)
        np.testing.assert_allclose(
            found.readout_coef_, model().fit_chunks([first, second]).readout_coef_
        )

    def test_fit_forgets_the_sums(self, rows):
        """Oracle: a fresh model."""
        other = model().partial_fit(*cut(*rows)[0]).fit(*rows)
        np.testing.assert_array_equal(other.readout_coef_, model().fit(*rows).readout_coef_)

    def test_precomputed_kernels_have_no_chunks(self, rows):
        assert not hasattr(OPUKernelRidge(kernel="precomputed"), "partial_fit")
        with pytest.raises(AttributeError, match="has no attribute 'fit_chunks'"):
            _ = OPUKernelRidge(kernel="precomputed").fit_chunks

    def test_other_number_of_targets_or_columns(self, rows):
        X, y, _ = rows
        fitted = model().partial_fit(X, y)
        with pytest.raises(ValueError, match=r"y has 2 target\(s\) in this chunk and had 1"):
            fitted.partial_fit(X, np.column_stack([y, y]))
        with pytest.raises(ValueError, match="15 features, but OPUKernelRidge is expecting 16"):
            fitted.partial_fit(X[:, 1:], y)

    def test_nothing_to_fit(self):
        with pytest.raises(ValueError, match="the chunks are empty"):
            model().fit_chunks([])

    def test_penalties(self, rows):
        for alphas in ([], [0.0, 1.0], [[1.0]]):
            with pytest.raises(ValueError, match="alphas must hold positive numbers"):
                model("loo", alphas=alphas).fit(*rows)


@pytest.mark.parametrize("alpha", [0.1, "loo"])
def test_interrupted_fit_is_solved_from_the_rows_seen(rows, alpha):
    """Oracle: the fit of these rows alone."""

    def interrupted():
        calls.append(None)
        yield from cut(*rows)[:3]
        if len(calls) == 1:
            raise KeyboardInterrupt
        yield from cut(*rows)[3:]  # which must not be left out of sums that they are not in

    calls = []
    with pytest.warns(InterruptedFitWarning, match="after 300 rows: the readout is solved"):
        found = model(alpha).fit_chunks(interrupted)
    expected = model(alpha).fit(*(part[:300] for part in rows))
    np.testing.assert_allclose(found.readout_coef_, expected.readout_coef_, atol=1e-8)


@pytest.mark.parametrize("step", ["reading again", "solving"])
def test_an_interruption_while_it_is_solved_loses_nothing(rows, step, monkeypatch):
    """Oracle: all rows, alpha by generalised cross-validation. A second one ends the fit."""
    calls = []

    def chunks():
        calls.append(None)
        if step == "reading again" and len(calls) == 2:
            raise KeyboardInterrupt
        return iter(cut(*rows))

    if step == "solving":
        choose = LeaveOneOut.choose

        def interrupted(*arguments):
            calls.append(None)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return choose(*arguments)

        monkeypatch.setattr(LeaveOneOut, "choose", interrupted)
    with pytest.warns(InterruptedFitWarning, match="solved all the same with alpha by general"):
        found = model("loo").fit_chunks(chunks)
    expected = model("gcv").fit(*rows)
    assert found.alpha_ == pytest.approx(expected.alpha_)
    np.testing.assert_allclose(found.readout_coef_, expected.readout_coef_, atol=1e-8)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(LeaveOneOut, "choose", stop)
    before = found.readout_coef_
    with (
        pytest.warns(InterruptedFitWarning, match="solved all the same"),
        pytest.raises(KeyboardInterrupt),
    ):
        found.fit_chunks([rows])
    assert found.readout_coef_ is before
    monkeypatch.undo()
    expected = model("gcv").fit_chunks([rows])
    np.testing.assert_array_equal(found.solve().readout_coef_, expected.readout_coef_)


def test_chunks_without_weight_are_left_out(rows):
    """Oracle: the other chunks; the first of all decides nothing if it counts for nothing."""
    X, y, weights = rows
    nothing = 0.5 * X[:9], y[:9], np.zeros(9)  # not even binary
    chunks = [nothing, (X[:200], y[:200], weights[:200]), nothing]
    found = model().fit_chunks(chunks)
    expected = model().fit(X[:200], y[:200], weights[:200])
    np.testing.assert_allclose(found.readout_coef_, expected.readout_coef_, atol=1e-8)


def test_progress_is_shown(rows, capsys):
    model("loo", verbose=1).fit(*rows)
    shown = capsys.readouterr().err
    assert "summing the normal equations: 100%" in shown
    assert "leaving one out: 100%" in shown
