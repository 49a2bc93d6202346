"""Ridge regression on a card; on the processor by the same code where there is none."""

import pickle
from copy import copy

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skopu import (
    CrossFittedOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
)
from skopu._core.places import Card, to_host
from skopu.devices import SimulatedOPU
from skopu.exceptions import RidgeConditionWarning
from skopu.forms.kernel import mean_kernel
from skopu.kernel_ridge import inputs
from skopu.ridge import held_out, normal_equations
from skopu.ridge.leave_one_out import LeaveOneOut
from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.solvers import solve, solve_positive
from skopu.ridge.systems import FeatureSystem

N, K, D = 700, 12, 40


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (N, K), dtype=np.uint8)
    y = 1.0 * codes[:, 0] * codes[:, 1] - codes[:, 2] + 0.1 * rng.standard_normal(N)
    return codes, np.column_stack([y, y**2]), rng.uniform(0.5, 2, N) * (rng.random(N) > 0.1)


def model(alpha=0.1, **parameters):
    return OPUKernelRidge(alpha, n_components=D, **parameters)


def assert_same_fit(found, expected, tolerance=1e-8):
    coef = "coef_" if expected.kernel_ == "linear" else "readout_coef_"
    for name in (coef, "intercept_", "alpha_"):
        one, other = getattr(found, name), getattr(expected, name)
        assert not isinstance(one, torch.Tensor)
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max(), rtol=1e-8)


class TestSums:
    """Oracle: numpy's, in float64."""

    def sums(self, data, places, gram="float64"):
        Phi = np.asarray(OPURandomFeatures(D).fit_transform(data[0]), dtype=np.float64) + 3
        equations = NormalEquations(gram)
        for number, place in enumerate(places):
            rows = slice(number, None, len(places))
            part = Phi[rows] if place is None else torch.from_numpy(Phi[rows]).to(place)
            equations.add(part, data[1][rows], data[2][rows])
        return equations

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("alpha", [0.3, np.array([0.3, 5.0])])
    def test_solutions(self, data, fit_intercept, alpha, card, monkeypatch):
        monkeypatch.setattr(normal_equations, "_STRIP", 16)
        readouts = [
            solve(FeatureSystem(self.sums(data, [place] * 3), fit_intercept), alpha)
            for place in (None, card)
        ]
        for found, expected in zip(*readouts):
            assert isinstance(found, np.ndarray)
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)

    def test_parts_from_several_places(self, data, card):
        expected = self.sums(data, [None] * 3)
        for places in ([card, None, card], [None, card, card]):
            found = self.sums(data, places)
            assert found.place.is_card == (places[-1] is not None)
            merged = copy(expected).merge(found)
            np.testing.assert_allclose(to_host(found.gram()), expected.gram(), rtol=1e-9)
            np.testing.assert_allclose(to_host(merged.gram()), 2 * expected.gram(), rtol=1e-9)

    def test_a_pickle_needs_no_card_and_a_copy_stays_there(self, data, card):
        sums = self.sums(data, [card])
        assert copy(sums).place.is_card
        assert copy(sums)._gram is sums._gram
        found = pickle.loads(pickle.dumps(sums))
        assert isinstance(found._gram, np.ndarray)
        np.testing.assert_array_equal(found.gram(), to_host(sums.gram()))

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_errors_of_rows_left_out(self, data, fit_intercept, card):
        alphas, found = np.logspace(-3, 2, 5), []
        kept = data[2] > 0
        Phi = np.asarray(OPURandomFeatures(D).fit_transform(data[0]), dtype=np.float64)[kept]
        rest = data[1][kept], data[2][kept]
        for place in (None, card):
            rows = Phi if place is None else torch.from_numpy(Phi).to(place)
            system = FeatureSystem(NormalEquations("float64").add(rows, *rest), fit_intercept)
            scan = LeaveOneOut(system, alphas)
            choice = scan.choose(scan.errors(rows, *rest))
            found.append((choice.errors, scan.gcv(), scan.predictions(0.1, *rest, rows)))
        for ours, expected in zip(*found):
            np.testing.assert_allclose(ours, expected, rtol=1e-8)

    def test_rows_elsewhere_than_the_sums(self, data, card):
        """As a worker with a card meets them, whose sums were put together on another machine."""
        alphas, kept = np.logspace(-3, 2, 5), data[2] > 0
        Phi = np.asarray(OPURandomFeatures(D).fit_transform(data[0]), dtype=np.float64)[kept]
        rest, choices = (data[1][kept], data[2][kept]), []
        for rows in (Phi, torch.from_numpy(Phi).to(card)):
            system = FeatureSystem(NormalEquations("float64").add(Phi, *rest), True)
            scan = LeaveOneOut(system, alphas)
            choices.append(scan.choose(scan.errors(rows, *rest)))
        np.testing.assert_allclose(choices[1].errors, choices[0].errors, rtol=1e-8)
        np.testing.assert_allclose(choices[1].readout.coef, choices[0].readout.coef, rtol=1e-8)

    def test_singular_and_indefinite_systems(self, card):
        B = torch.tensor([[2.0], [2.0]], dtype=torch.float64, device=card)
        singular = torch.ones((2, 2), dtype=torch.float64, device=card)
        with pytest.warns(RidgeConditionWarning, match="after adding"):
            X = solve_positive(singular, B)
        np.testing.assert_allclose(to_host(singular @ X), to_host(B), rtol=1e-5)
        assert (singular == 1).all()
        indefinite = torch.tensor([[1.0, 0], [0, -1]], dtype=torch.float64, device=card)
        with pytest.warns(RidgeConditionWarning, match="indefinite"):
            X = solve_positive(indefinite, B)
        np.testing.assert_allclose(to_host(X), [[2.0], [-2.0]])
        with pytest.raises(ValueError, match="NaN or infinite"):
            solve_positive(singular * np.inf, B)


class TestPrecision:
    @pytest.mark.parametrize("before", ["highest", "high"])
    @pytest.mark.parametrize("gram", ["auto", "float32", "tf32"])
    def test_tf32_is_a_choice(self, data, gram, before, monkeypatch):
        """Oracle: torch's setting while the product is made; it is put back."""
        seen, stored = [], normal_equations._Stored

        def spy(*arguments):
            seen.append(torch.get_float32_matmul_precision())
            return stored(*arguments)

        monkeypatch.setattr(normal_equations, "_Stored", spy)
        torch.set_float32_matmul_precision(before)
        try:
            NormalEquations(gram).add(torch.ones(3, 2), np.ones((3, 1)), np.ones(3))
            assert torch.get_float32_matmul_precision() == before
        finally:
            torch.set_float32_matmul_precision("highest")
        assert seen == ["high" if gram == "tf32" else "highest"]

    @pytest.mark.parametrize("gram", ["auto", "float32", "tf32", "int7", "float64"])
    def test_errors_of_each_arithmetic(self, data, gram, card):
        """Oracle: float64 on the processor. TF32's is larger by the digits that it lacks."""
        exact = model().fit(*data)
        found = model(gram=gram, torch_device=card).fit(*data)
        tolerance = {"tf32": 3e-3, "float64": 1e-9}.get(gram, 1e-5)
        difference = np.abs(found.predict(data[0]) - exact.predict(data[0])).max()
        assert difference < tolerance * np.abs(data[1]).max()

    @pytest.mark.parametrize("gram", ["auto", "tf32"])
    def test_on_the_processor_they_are_what_was_there(self, data, gram):
        expected = model(gram={"auto": "float64", "tf32": "float32"}[gram]).fit(*data)
        np.testing.assert_array_equal(
            model(gram=gram).fit(*data).readout_coef_, expected.readout_coef_
        )


class TestEstimator:
    """Oracle: the fit by numpy, with the products in float64 where numbers are to agree."""

    @pytest.mark.parametrize("alpha", [0.1, "loo", "gcv"])
    @pytest.mark.parametrize("chunk_size", [None, 150])
    def test_arrays(self, data, alpha, chunk_size, card):
        expected = model(alpha, chunk_size=chunk_size).fit(*data)
        options = {"gram": "float64", "torch_device": card, "chunk_size": chunk_size}
        found = model(alpha, **options).fit(*data)
        assert_same_fit(found, expected)
        predicted = found.predict(data[0])
        assert isinstance(predicted, np.ndarray)
        np.testing.assert_allclose(predicted, expected.predict(data[0]), atol=1e-7)
        assert found.features_.opu_.n_passes == expected.features_.opu_.n_passes

    @pytest.mark.parametrize("alpha", [0.1, "loo"])
    def test_tensors_stay_on_their_device(self, data, alpha, card, monkeypatch):
        """From codes to predictions: nothing as large as the features, or the codes, is copied."""
        chunks = [data]  # in chunks, repeated rows are not merged either
        expected = model(alpha).fit_chunks(chunks)
        X = torch.from_numpy(data[0]).to(card)
        sizes, cpu = [], torch.Tensor.cpu

        def spy(tensor):
            sizes.append(tensor.numel())
            return cpu(tensor)

        monkeypatch.setattr(torch.Tensor, "cpu", spy)
        found = model(alpha, gram="float64", chunk_size=300).fit(X, *data[1:])
        predicted = found.predict(X)
        assert max(sizes) < N * K
        assert_same_fit(found, expected)
        assert predicted.device == X.device
        np.testing.assert_allclose(to_host(predicted), expected.predict(data[0]), atol=1e-7)

    def test_a_pipeline_of_tensors(self, data, card):
        """The chain knows that what came out of the device is features."""
        expected = make_pipeline(OPURandomFeatures(D), OPUKernelRidge(0.1)).fit(data[0], data[1])
        X, Y = (torch.from_numpy(part).to(card) for part in data[:2])
        chain = make_pipeline(OPURandomFeatures(D), OPUKernelRidge(0.1, gram="float64")).fit(X, Y)
        assert chain[-1].kernel_ == "linear"
        assert_same_fit(chain[-1], expected[-1])
        np.testing.assert_allclose(to_host(chain.predict(X)), expected.predict(data[0]), atol=1e-7)

    @pytest.mark.parametrize("form", ["raw", "centered", "exact"])
    @pytest.mark.parametrize("gamma", [0.5, "each"])
    def test_features_of_tensors(self, data, form, gamma, card):
        gamma = np.linspace(0.5, 2, 78 if form == "exact" else 80) if gamma == "each" else gamma
        features = OPURandomFeatures(80, form=form, gamma=gamma).fit(data[0])
        found = features.transform(torch.from_numpy(1.0 * data[0]).to(card))
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(to_host(found), features.transform(data[0]))

    def test_rows_that_come_in_parts(self, data, card):
        parts = [[part[rows] for part in data] for rows in (slice(300), slice(300, None))]
        tensors = [(torch.from_numpy(X).to(card), *rest) for X, *rest in parts]
        expected = model().fit_chunks(parts)
        options = {"gram": "float64", "torch_device": card}
        for chunks in (parts, tensors):
            assert_same_fit(model(**options).fit_chunks(chunks), expected)
            found = model(**options)
            for part in chunks:
                found = pickle.loads(pickle.dumps(found.partial_fit(*part)))
            assert_same_fit(found, expected)

    def test_dask_blocks_in_this_process(self, data, card):
        """Oracle: the local fit; sums of blocks are put together where they are."""
        dask = pytest.importorskip("dask", reason="needs dask: pip install skopu[dask]")
        import dask.array as da

        blocks = [da.from_array(part, chunks=(200, *part.shape[1:])) for part in data]
        with dask.config.set(scheduler="sync"):
            found = model("loo", gram="float64", torch_device=card).fit(*blocks)
        assert_same_fit(found, model("loo").fit_chunks([data]))

    def test_fewer_rows_than_features(self, data, card):
        few = [part[:30] for part in data]
        expected = model().fit(*few)
        assert_same_fit(model(torch_device=card).fit(*few), expected)

    @pytest.mark.parametrize("kind", ["sparse", "real", "fourier", "poly"])
    def test_other_input(self, data, kind, card):
        X, options = data[0], {}
        if kind == "sparse":
            X = sparse.csr_array(X)
        elif kind == "real":
            X = X + np.random.default_rng(1).normal(size=X.shape)
            options = {"binarizer": HyperplaneBinarizer(8, random_state=0)}
        else:
            options["kernel"] = "rbf" if kind == "fourier" else "poly"
            options["kernel_approximation"] = "fourier" if kind == "fourier" else "auto"
        options["random_state"] = 0
        expected = model().set_params(**options).fit(X, *data[1:])
        found = model(gram="float64", torch_device=card).set_params(**options).fit(X, *data[1:])
        np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-7)
        if kind == "poly":
            tensor = torch.from_numpy(1.0 * X).to(card)
            again = clone(found).fit(tensor, *data[1:])
            np.testing.assert_allclose(
                to_host(again.predict(tensor)), expected.predict(X), atol=1e-7
            )

    def test_a_classifier_gives_labels(self, data, card):
        labels = np.where(data[1][:, 0] > 0, "high", "low")
        expected = OPUKernelRidgeClassifier(0.1, n_components=D).fit(data[0], labels)
        X = torch.from_numpy(data[0]).to(card)
        found = OPUKernelRidgeClassifier(0.1, n_components=D, gram="float64").fit(X, labels)
        np.testing.assert_array_equal(found.predict(X), expected.predict(data[0]))

    @pytest.mark.parametrize("where", ["sums", "features"])
    def test_out_of_memory_halves_the_chunk(self, data, where, monkeypatch):
        expected = model().fit(*data)
        target, name = (
            (normal_equations, "_product")
            if where == "sums"
            else (inputs.OPURandomFeatures, "transform")
        )
        plain, sizes = getattr(target, name), []

        def small(*arguments):
            rows = arguments[0] if where == "sums" else arguments[1]
            sizes.append(len(rows))
            if len(rows) > 200:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return plain(*arguments)

        monkeypatch.setattr(target, name, small)
        found = model(gram="float64", torch_device="cpu:0").fit(*data)
        assert_same_fit(found, expected)
        assert max(sizes) > 200
        assert found.features_.opu_.n_passes == expected.features_.opu_.n_passes

    def test_without_a_card_a_sentence_before_any_work(self, data, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        opu = SimulatedOPU()
        with pytest.raises(ValueError, match="torch_device='cuda' asks for a graphics card"):
            model(opu=opu, torch_device="cuda").fit(*data)
        assert opu.n_passes == 0
        found = model(torch_device="auto").fit(*data)
        np.testing.assert_array_equal(found.readout_coef_, model().fit(*data).readout_coef_)

    @pytest.mark.parametrize(
        "estimator",
        [
            HyperplaneBinarizer(4, random_state=0),
            CrossFittedOPURegressor(4, cv=2, max_iter=4, random_state=0),
            OPURandomFeatures(20, gamma="learn"),
        ],
        ids=lambda estimator: type(estimator).__name__,
    )
    def test_others_make_arrays_of_tensors(self, estimator, data, card):
        """Oracle: the same fit to the arrays."""
        X, y = 1.0 * data[0][:80], data[1][:80, 0]
        method = "predict" if hasattr(estimator, "predict") else "transform"
        expected = getattr(clone(estimator).fit(X, y), method)(X)
        tensors = torch.from_numpy(X).to(card), torch.from_numpy(y).to(card)
        found = getattr(clone(estimator).fit(*tensors), method)(tensors[0])
        np.testing.assert_array_equal(to_host(found), expected)

    def test_tensors_that_are_wrong(self, card):
        X = torch.eye(4, device=card)
        fitted = model().fit(X, np.arange(4.0))
        with pytest.raises(ValueError, match="has 3 features, but OPUKernelRidge is expecting 4"):
            fitted.predict(X[:, :3])
        with pytest.raises(ValueError, match="contains NaN"):
            model().fit(X * np.nan, np.arange(4.0))
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            model().fit(X, np.arange(5.0))

    def test_a_card_counts_more_bytes(self):
        rows = [
            inputs.rows_at_a_time(10**6, "auto", place=place) for place in (inputs.HOST, Card("x"))
        ]
        assert rows == [2**10 * 2**20 // (16 * 10**6), 2**10 * 2**20 // (24 * 10**6)]


class TestCrossFitted:
    """Oracle: the same by numpy."""

    @pytest.mark.parametrize("max_rows", [4096, 50])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_readouts_of_kernels(self, max_rows, dtype, card, monkeypatch):
        monkeypatch.setattr(held_out, "MAX_ROWS", max_rows)
        monkeypatch.setattr(held_out, "N_CENTRES", 30)
        rng = np.random.default_rng(0)
        codes, Y, weights = rng.random((80, 6)) - 0.5, rng.random((80, 2)), rng.uniform(1, 2, 80)
        found = []
        for convert in (np.asarray, lambda part: torch.from_numpy(part).to(card)):
            kernel = Kernel(convert(codes.astype(dtype)))
            ridge = held_out.ridge_on_rows(kernel, np.arange(80), Y, weights, seed=0)
            readouts = [ridge.solve(alpha) for alpha in (1e-3, 1e-2)]
            kernels = kernel.between(np.arange(80), ridge.centres)
            found.append([to_host(readout.predict(kernels)) for readout in readouts])
        tolerance = 1e-8 if dtype == np.float64 else 1e-3
        np.testing.assert_allclose(*found, atol=tolerance)

    @pytest.mark.parametrize("is_sparse", [False, True])
    def test_fit(self, is_sparse, card):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(120, 5)).astype(np.float32)
        y = X[:, 0] * X[:, 1] + X[:, 2]
        X = sparse.csr_array(X) if is_sparse else X
        model = CrossFittedOPURegressor(6, cv=2, max_iter=20, n_best=2, random_state=0)
        predictions = [
            clone(model).set_params(torch_device=name).fit(X, y).predict(X)
            for name in ("cpu", card)
        ]
        # Kernels in single precision; on a card training is rounded otherwise, too.
        tolerance = 1e-3 if card == "cpu:0" else 0.05
        np.testing.assert_allclose(*predictions, atol=tolerance)


class Kernel:
    """The form kernel of codes, by the numbers of their rows."""

    def __init__(self, codes):
        self.codes = codes

    def between(self, rows, centres):
        return mean_kernel([self.codes[rows]], [self.codes[centres]])

    def among(self, rows):
        return mean_kernel([self.codes[rows]], [self.codes[rows]], is_lower=True)
