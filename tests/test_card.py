"""What runs on a card, on the processor by the same code; and on a card where there is one."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skopu import (
    AutoencoderBinarizer,
    BinaryAutoencoder,
    BinaryMLPClassifier,
    CrossFittedOPURegressor,
    DFABinarizer,
    DFAClassifier,
    NeuralDNFClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu._core import integer_product
from skopu._core.chunks import Portions
from skopu._core.integer_product import integers_win
from skopu._core.places import HOST, Card, find_place, place_of, resolve_torch_device, to_host
from skopu.devices import Camera, GuardedOPU, OPUDevice, SimulatedOPU, gaussian, structured
from skopu.exceptions import NotBinaryError, PassBudgetError
from skopu.ridge.normal_equations import NormalEquations
from skopu.ridge.systems import FeatureSystem
from skopu.training import answers


def random_codes(n_codes, n_bits, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n_codes, n_bits), dtype=np.uint8)


class TestPlaces:
    def test_without_a_card_a_sentence(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert resolve_torch_device("auto") == "cpu"
        for name in ("cuda", "cuda:3"):
            with pytest.raises(ValueError, match=f"torch_device='{name}' asks for .* no card on"):
                resolve_torch_device(name)
            with pytest.raises(ValueError, match=r"use torch_device='cpu', or 'auto'"):
                SimulatedOPU(torch_device=name).project(np.eye(3), 2)

    def test_a_card_too_far(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert resolve_torch_device("cuda:1") == "cuda:1"
        assert resolve_torch_device("auto") == "cuda"
        with pytest.raises(ValueError, match=r"sees 2 card\(s\)"):
            resolve_torch_device("cuda:2")

    def test_an_unknown_name(self):
        with pytest.raises(ValueError, match="torch_device='gpu' is no device of torch"):
            find_place("gpu")

    def test_the_processor_is_numpy_unless_torch_is_asked_for(self):
        assert find_place("cpu") is HOST
        assert find_place("cpu:0") == place_of(torch.zeros(1)) == Card("cpu")
        assert pickle.loads(pickle.dumps(HOST)) == HOST


class TestPortions:
    """Oracle: every row once, in order, whatever fits."""

    @pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
    def test_rows_are_halved_until_they_fit(self, error):
        done, tried = [], []

        def task(rows):
            tried.append(rows.stop - rows.start)
            if tried[-1] > 3:
                raise error("full")
            done.extend(range(20)[rows])

        portions = Portions(HOST, 14)
        portions.run(task, slice(2, 20))
        assert done == list(range(2, 20))
        assert tried == [14, 7, *[3] * 6]  # and what has not fitted once is not tried again

    def test_a_row_that_does_not_fit(self):
        def task(rows):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

        with pytest.raises(MemoryError, match=r"memory of cuda:0 does not hold .* 20 GiB"):
            Portions(FakeCard("cuda:0"), 8).run(task, slice(0, 8))

    def test_other_errors_are_passed_on(self):
        with pytest.raises(RuntimeError, match="device-side assert"):
            Portions(HOST, 8).run(
                lambda rows: (_ for _ in ()).throw(RuntimeError("device-side assert")), slice(0, 8)
            )


class FakeCard(Card):
    def release(self):
        pass


def strict_int_mm(left, right, out=None):
    """``torch._int_mm`` as it is on cards: picky about sizes."""
    (n, k), m = left.shape, right.shape[1]
    if n <= 16 or k % 8 or m % 8:
        raise RuntimeError(f"self.size(0) needs to be greater than 16, sizes multiples of 8: {n}")
    product = left.int() @ right.int()
    if n % 32:
        product += 1  # as with CUDA 12.1 for 17 rows
    return product if out is None else out.copy_(product)


class TestGaussian:
    """Oracle: the same device by numpy, to the last bit."""

    @pytest.mark.parametrize("sizes", [(1, 5, 3), (40, 130, 301), (33, 64, 512), (3, 1000, 257)])
    @pytest.mark.parametrize("max_memory", [0, 2**30])
    def test_the_same_numbers(self, sizes, max_memory, card):
        n_codes, n_bits, n_components = sizes
        codes = random_codes(n_codes, n_bits)
        expected = SimulatedOPU(3).project(codes, n_components)
        device = SimulatedOPU(3, max_memory=max_memory, torch_device=card)
        np.testing.assert_array_equal(device.project(codes, n_components), expected)
        given = torch.from_numpy(codes).to(card)
        found = SimulatedOPU(3, max_memory=max_memory).project(given, n_components)
        assert found.device == given.device
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(to_host(found), expected)

    @pytest.mark.parametrize("way", ["integer", "picky", "float"])
    def test_whichever_product(self, way, monkeypatch):
        codes = random_codes(21, 130)
        expected = SimulatedOPU().project(codes, 300)
        calls = []
        product = integer_product.float_product
        if way != "float":
            product = integer_product.integer_product
            mm = strict_int_mm if way == "picky" else torch._int_mm
            monkeypatch.setattr(torch, "_int_mm", lambda *a, **k: (calls.append(1), mm(*a, **k))[1])
        monkeypatch.setattr(gaussian, "choose_product", lambda *job: product)
        found = SimulatedOPU(torch_device="cpu:0").project(codes, 300)
        np.testing.assert_array_equal(found, expected)
        assert bool(calls) == (way != "float")

    @pytest.mark.parametrize("max_memory", [0, 2**30])
    def test_chunks_of_rows_components_and_bits(self, max_memory, card, monkeypatch):
        codes = random_codes(150, 700)
        expected = SimulatedOPU().project(codes, 600)
        small = gaussian._ON_CARD._replace(rows=64, sums=2**14, rows_to_a_block=70, bits=128)
        monkeypatch.setattr(gaussian, "_ON_CARD", small)
        monkeypatch.setattr(gaussian, "_SLAB", 1)
        for n_jobs in (1, 2):
            device = SimulatedOPU(torch_device=card, max_memory=max_memory, n_jobs=n_jobs)
            np.testing.assert_array_equal(device.project(codes, 600), expected)
            assert (device._kept[1]._parts is None) == (max_memory == 0)

    def test_many_bits(self, card):
        """Sums beyond 2^24, where float32 does not hold them."""
        codes = np.ones((2, 140_000), dtype=np.uint8)
        expected = SimulatedOPU(max_memory=0).project(codes, 3)
        found = SimulatedOPU(max_memory=0, torch_device=card).project(codes, 3)
        np.testing.assert_array_equal(found, expected)

    def test_out_of_memory_halves_the_rows(self, monkeypatch):
        codes, sizes = random_codes(100, 40), []
        expected = SimulatedOPU().project(codes, 30)

        def product(left, right, out=None, largest=1):
            sizes.append(len(left))
            if len(left) > 30:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return integer_product.float_product(left, right, out, largest)

        monkeypatch.setattr(gaussian, "choose_product", lambda *job: product)
        device = SimulatedOPU(torch_device="cpu:0")
        np.testing.assert_array_equal(device.project(codes, 30), expected)
        assert sizes[:2] == [100, 50]
        assert max(sizes[2:]) == 25
        assert device.n_passes == 100

    @pytest.mark.parametrize("most", [200_000, 60_000])
    def test_memory_that_ends_anywhere(self, most, monkeypatch):
        """Where R, or the sums, or the result would be made."""
        codes = random_codes(200, 100)
        expected = SimulatedOPU().project(codes, 600)

        def small(method):
            def allocate(place, shape, *dtype):
                if np.prod(shape) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return method(place, shape, *dtype)

            return allocate

        for name in ("empty", "zeros"):
            monkeypatch.setattr(Card, name, small(getattr(Card, name)))
        device = SimulatedOPU(torch_device="cpu:0")
        np.testing.assert_array_equal(device.project(codes, 600), expected)
        assert (device._kept[1]._parts is None) == (most < 2 * 100 * 600)
        if most == 60_000:
            with pytest.raises(MemoryError, match="does not hold 600 intensities of each of 200"):
                SimulatedOPU().project(torch.from_numpy(codes), 600)

    def test_matrix_and_field(self, card):
        here, there = SimulatedOPU(1), SimulatedOPU(1, torch_device=card)
        np.testing.assert_array_equal(there.matrix(13, 21), here.matrix(13, 21))
        codes = random_codes(5, 13)
        fields = [device._field(codes, 21) for device in (here, there)]
        assert fields[1].dtype == np.complex128
        np.testing.assert_array_equal(*fields)


class TestStructured:
    @pytest.mark.parametrize("sizes", [(5, 60, 40), (7, 300, 1000), (3, 40_000, 50_000)])
    @pytest.mark.parametrize("max_memory", [0, 2**30])
    def test_the_same_but_for_rounding(self, sizes, max_memory, card):
        """Oracle: numpy's, to 1e-5 of the largest intensity."""
        n_codes, n_bits, n_components = sizes
        codes = random_codes(n_codes, n_bits)
        options = {"medium": "structured", "max_memory": max_memory}
        expected = SimulatedOPU(**options).project(codes, n_components)
        found = SimulatedOPU(**options, torch_device=card).project(codes, n_components)
        tensor = SimulatedOPU(**options).project(torch.from_numpy(codes).to(card), n_components)
        for answer in (found, to_host(tensor)):
            np.testing.assert_allclose(answer, expected, atol=1e-5 * expected.max(), rtol=0)

    def test_out_of_memory_halves_the_rows(self, monkeypatch):
        codes, sizes = random_codes(40, 60), []
        expected = SimulatedOPU(medium="structured", torch_device="cpu:0").project(codes, 30)
        fft = Card.fft

        def small(place, table, axes):
            sizes.append(len(table))
            if len(table) > 16:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return fft(place, table, axes)

        monkeypatch.setattr(Card, "fft", small)
        monkeypatch.setattr(structured, "_CARD_VALUES", 61 * 32)
        found = SimulatedOPU(medium="structured", torch_device="cpu:0").project(codes, 30)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert sizes == [30, 15, 15, 10]


class TestNothingIsMixed:
    """Oracle: torch, which refuses to add what is on two devices; "meta" stands for a card."""

    @pytest.mark.parametrize("product", ["integer_product", "float_product"])
    @pytest.mark.parametrize("max_memory", [0, 2**30])
    @pytest.mark.parametrize("sizes", [(100, 130, 301), (128, 128, 304), (2, 140_000, 3)])
    def test_gaussian(self, product, max_memory, sizes, monkeypatch):
        product = getattr(integer_product, product)
        monkeypatch.setattr(gaussian, "choose_product", lambda *job: product)
        codes = torch.empty(sizes[:2], dtype=torch.uint8, device="meta")
        medium = gaussian.GaussianMedium(0, *sizes[1:], max_memory, place_of(codes))
        found = medium.intensities(codes)
        assert found.is_meta
        assert found.shape == (sizes[0], sizes[2])

    @pytest.mark.parametrize("sizes", [(5, 60, 90), (3, 40_000, 50_000)])
    def test_structured(self, sizes):
        codes = torch.empty(sizes[:2], dtype=torch.uint8, device="meta")
        medium = structured.StructuredMedium(0, *sizes[1:], 2**30, place_of(codes))
        assert medium.intensities(codes).shape == (sizes[0], sizes[2])

    @pytest.mark.parametrize("form", ["raw", "centered"])
    @pytest.mark.parametrize("gamma", [1.0, np.ones(21)])
    def test_features_and_their_sums(self, form, gamma, monkeypatch):
        features = OPURandomFeatures(21, form=form, gamma=gamma).fit(np.eye(9, dtype=np.uint8))
        codes = torch.empty((50, 9), dtype=torch.uint8, device="meta")
        frames = torch.empty((50, 20 + (form == "raw")), device="meta")
        Phi = features._of_frames(codes, frames, features.gamma_)
        monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: False)
        sums = NormalEquations().add(Phi, np.ones((50, 2)), np.arange(50.0))
        assert sums.system(False)[0].is_meta
        P, targets, share = FeatureSystemOf(sums).hat_rows(
            (Phi, np.ones((50, 2)), np.ones(50)), np.ones(21), sums.gram()
        )
        assert P.is_meta
        assert targets.is_meta
        assert share.is_meta


class FeatureSystemOf(FeatureSystem):
    """A system of which no value is looked at."""

    def __init__(self, sums):
        self.mean, self.target_mean = sums.mean, sums.target_mean
        self.weight, self.fit_intercept, self._dtype = sums.weight, True, "float32"


class TestDevice:
    def test_a_camera_has_the_noise_of_its_place(self, card):
        """Oracle: the law of the noise, and the same seed."""
        codes = random_codes(400, 64)
        camera = Camera(bits=None, exposure=10.0, read_noise=3.0, random_state=1)
        light = SimulatedOPU().project(codes, 100)
        one, two = (
            SimulatedOPU(camera=camera, torch_device=card).project(codes, 100) for _ in range(2)
        )
        np.testing.assert_array_equal(one, two)
        other = clone(camera).set_params(random_state=2)
        third = SimulatedOPU(camera=other, torch_device=card).project(codes, 100)
        assert (one != third).mean() > 0.9
        bright = light > 20  # the well does not cut, nor the floor
        deviation = np.sqrt(light * 10 + 9) / 10
        residual = ((one - light) / deviation)[bright & (light < 900)]
        assert len(residual) > 10_000
        assert abs(residual.mean()) < 0.03  # 3 standard errors of 1e4
        assert abs(residual.std() - 1) < 0.03

    def test_a_camera_goes_on_after_a_pickle_and_begins_anew_in_a_clone(self, card):
        codes = random_codes(9, 20)
        device = SimulatedOPU(camera=Camera(), torch_device=card)
        first = device.project(codes, 30)
        twin = pickle.loads(pickle.dumps(device))
        np.testing.assert_array_equal(twin.project(codes, 30), device.project(codes, 30))
        np.testing.assert_array_equal(clone(device).project(codes, 30), first)

    @pytest.mark.parametrize("medium", ["gaussian", "structured"])
    def test_a_pickle_holds_no_matrix(self, medium, card):
        device = SimulatedOPU(medium=medium, torch_device=card)
        codes = random_codes(3, 200)
        expected = device.project(codes, 300)
        blob = pickle.dumps(device)
        assert len(blob) < 2000
        np.testing.assert_array_equal(pickle.loads(blob).project(codes, 300), expected)

    def test_passes_and_budget_count_for_tensors(self, card):
        device = SimulatedOPU()
        device.max_passes = 5
        codes = torch.eye(3, device=card)
        device.project(codes, 4)
        assert device.n_passes == 3
        with pytest.raises(PassBudgetError):
            device.project(codes, 4)

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
    def test_tensors_of_any_dtype(self, dtype, card):
        codes = random_codes(6, 10)
        found = SimulatedOPU().project(torch.from_numpy(codes).to(card, dtype), 7)
        np.testing.assert_array_equal(to_host(found), SimulatedOPU().project(codes, 7))

    def test_tensors_that_are_not_binary(self, card):
        with pytest.raises(NotBinaryError, match=r"such as 0.5"):
            SimulatedOPU().project(torch.full((2, 3), 0.5, device=card), 4)

    @pytest.mark.parametrize("wrap", [lambda opu: GuardedOPU(opu), lambda opu: Asked()])
    def test_devices_that_take_none_are_asked_with_arrays(self, wrap, card):
        codes = random_codes(4, 12)
        found = wrap(SimulatedOPU()).project(torch.from_numpy(codes).to(card), 5)
        assert found.device.type == torch.device(card).type
        np.testing.assert_array_equal(to_host(found), SimulatedOPU().project(codes, 5))


class Asked(OPUDevice):
    def _project(self, codes, n_components):
        assert isinstance(codes, np.ndarray)
        return SimulatedOPU().project(codes, n_components)


def test_float_products_of_a_card_are_in_full(monkeypatch):
    """Oracle: torch's setting when the product is made, whatever the process has set."""
    seen, matmul = [], torch.matmul

    def spy(*operands, **options):
        seen.append(torch.get_float32_matmul_precision())
        return matmul(*operands, **options)

    monkeypatch.setattr(torch, "matmul", spy)
    torch.set_float32_matmul_precision("high")
    try:
        operands = torch.ones((3, 4), dtype=torch.int8), torch.ones((4, 5), dtype=torch.int8)
        assert (integer_product.float_product(*operands) == 4).all()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]


def test_the_self_test_of_a_place_finds_a_wrong_product(monkeypatch):
    place = Card("cpu")
    integers_win.cache_clear()
    try:
        wrong = torch._int_mm
        monkeypatch.setattr(torch, "_int_mm", lambda *a, **k: wrong(*a, **k).add_(1))
        assert not integers_win("codes", place)
    finally:
        integers_win.cache_clear()


TRAINED = [
    SupervisedBinarizer(4, n_components=16, max_iter=3, gradient="exact"),
    SupervisedBinarizer(4, n_components=16, max_iter=3),
    AutoencoderBinarizer(4, max_iter=3),
    DFABinarizer(4, max_iter=2),
    CrossFittedOPURegressor(4, max_iter=8),
    DFAClassifier((8,), max_iter=2),
    BinaryMLPClassifier((8,), max_iter=2),
    BinaryAutoencoder(4, hidden_layer_sizes=(6,), max_iter=2),
    NeuralDNFClassifier(n_rules=3, max_iter=3),
]


@pytest.mark.parametrize("estimator", TRAINED, ids=lambda estimator: type(estimator).__name__)
def test_every_training_takes_auto_and_says_that_there_is_no_card(estimator, monkeypatch):
    """Oracle: the fit on the processor."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    blobs = []
    for name in ("cpu", "auto"):
        model = clone(estimator).set_params(torch_device=name, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
        method = "predict" if hasattr(model, "predict") else "transform"
        blobs.append(getattr(model, method)(X))
    np.testing.assert_array_equal(*blobs)
    with pytest.raises(ValueError, match="asks for a graphics card"):
        clone(estimator).set_params(torch_device="cuda").fit(X, y)


@pytest.mark.parametrize("camera", [None, Camera()])
def test_training_asks_the_light_where_the_codes_are(camera, monkeypatch):
    """Oracle: the same training by way of arrays; a camera's noise is another there."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    model = SupervisedBinarizer(
        4,
        n_components=16,
        max_iter=5,
        encoder_penalty=0.01,
        opu=SimulatedOPU(camera=camera),
        random_state=0,
    )
    plain, asked = clone(model).fit(X, y), []
    project = SimulatedOPU._project

    def spy(device, codes, n_components):
        asked.append(type(codes))
        return project(device, codes, n_components)

    monkeypatch.setattr(answers, "is_on_card", lambda tensor: True)
    monkeypatch.setattr(SimulatedOPU, "_project", spy)
    found = clone(model).fit(X, y)
    assert set(asked) == {torch.Tensor}
    assert found.n_passes_ == plain.n_passes_
    if camera is None:
        np.testing.assert_array_equal(found.coef_, plain.coef_)
    assert np.isfinite(found.coef_).all()
