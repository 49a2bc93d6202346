"""The two media of the simulated device: the same numbers by every way, and the right kernel."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from skopu import OPUKernelRidge, OPURandomFeatures, opu_kernel
from skopu._core.integer_product import (
    choose_product,
    float_product,
    integer_product,
    integers_win,
)
from skopu.devices import Camera, PhaseShiftingHolography, SimulatedOPU, gaussian
from skopu.devices.structured import StructuredMedium, choose_shape
from skopu.devices.threads import count_threads, one_openmp_thread, run_tasks
from skopu.devices.tiles import LARGEST_ENTRY, quantiles, scale

PRODUCTS = [integer_product, float_product]
MEDIA = ["gaussian", "structured"]


def random_codes(kind, n_codes, n_bits, rng):
    """Codes with half of the bits on, with 2 to 8 of them, or with one run of ones."""
    codes = np.zeros((n_codes, n_bits), dtype=np.uint8)
    for code in codes:
        if kind == "dense":
            code[:] = rng.integers(0, 2, size=n_bits)
        elif kind == "sparse":
            # Half of the codes are from a few bits, so that they have some in common.
            among = n_bits if rng.random() < 0.5 else 12
            code[rng.choice(among, rng.integers(2, 9), replace=False)] = 1
        else:
            start = rng.integers(n_bits // 2)
            code[start : start + rng.integers(n_bits // 20, n_bits // 2)] = 1
    return codes


def sums(R, codes):
    """Oracle: Rz in 64-bit integers, of a complex matrix that is whole numbers times a scale."""
    real, imaginary = (np.rint(part / scale()).astype(np.int64) for part in (R.real, R.imag))
    return codes.astype(np.int64) @ real.T, codes.astype(np.int64) @ imaginary.T


def spy_on_products(monkeypatch, product):
    """Make ``product`` the one in use; return the number of calls as a list of ones."""
    calls = []

    def counted(*operands):
        calls.append(1)
        return product(*operands)

    monkeypatch.setattr(gaussian, "choose_product", lambda *job: counted)
    return calls


class TestSameNumbers:
    """Oracle of all: the same device, asked in the plainest way, compared to the last bit."""

    @pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.__name__)
    def test_products_are_whole_numbers(self, product, rng, monkeypatch):
        """Oracle: 64-bit integer arithmetic."""
        codes = rng.integers(0, 2, size=(70, 130), dtype=np.uint8)
        calls = spy_on_products(monkeypatch, product)
        found = SimulatedOPU().project(codes, 300)
        assert calls
        real, imaginary = sums(SimulatedOPU().matrix(130, 300), codes)
        squares = np.square(real, dtype=np.float32) + np.square(imaginary, dtype=np.float32)
        np.testing.assert_array_equal(found, squares * scale() ** 2)

    @pytest.mark.parametrize("n_bits", [50, gaussian._BITS + 100])
    def test_stored_or_made_again_integer_or_float(self, n_bits, rng, monkeypatch):
        codes = rng.integers(0, 2, size=(9, n_bits), dtype=np.uint8)
        expected = SimulatedOPU(1).project(codes, 300)
        for product in PRODUCTS:
            spy_on_products(monkeypatch, product)
            for max_memory in (0, 2**30):
                device = SimulatedOPU(1, max_memory=max_memory)
                np.testing.assert_array_equal(device.project(codes, 300), expected)
                assert (device._kept[1]._parts is None) == (max_memory == 0)

    @pytest.mark.parametrize("medium", MEDIA)
    def test_threads(self, medium, rng):
        codes = rng.integers(0, 2, size=(2100, 30), dtype=np.uint8)
        one, two = (SimulatedOPU(medium=medium, n_jobs=n).project(codes, 600) for n in (1, 2))
        np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("medium", MEDIA)
    @pytest.mark.parametrize("n_rows", [1, 3, 8, 17])
    @pytest.mark.parametrize("line", [16, 2**15])
    def test_chunks(self, medium, n_rows, line, rng, monkeypatch):
        monkeypatch.setattr("skopu.devices.structured._LONGEST_LINE", line)
        codes = rng.integers(0, 2, size=(37, 90), dtype=np.uint8)
        device = SimulatedOPU(medium=medium)
        parts = [device.project(codes[i : i + n_rows], 500) for i in range(0, 37, n_rows)]
        np.testing.assert_array_equal(np.vstack(parts), device.project(codes, 500))

    @pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
    def test_sets_of_instructions(self, isa):
        """Without VNNI, and without loading torch; ONEDNN_MAX_CPU_ISA is read once a process."""
        script = (
            "import hashlib, sys, numpy as np;"
            "from skopu._core.integer_product import integer_product;"
            "from skopu.devices import SimulatedOPU, gaussian;"
            "codes = np.random.default_rng(0).integers(0, 2, size=(40, 500), dtype=np.uint8);"
            "codes[0] = 1;"
            "floats = SimulatedOPU().project(codes, 700);"
            "print('torch' in sys.modules);"
            "gaussian.choose_product = lambda *job: integer_product;"
            "integers = SimulatedOPU().project(codes, 700);"
            "print('torch' in sys.modules);"
            "print(*(hashlib.sha256(f.tobytes()).hexdigest() for f in (floats, integers)))"
        )
        codes = np.random.default_rng(0).integers(0, 2, size=(40, 500), dtype=np.uint8)
        codes[0] = 1
        expected = hashlib.sha256(SimulatedOPU().project(codes, 700).tobytes()).hexdigest()
        environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
        found = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
        assert found.split() == ["False", "True", expected, expected]

    def test_codes_that_may_not_be_written(self, rng):
        codes = rng.integers(0, 2, size=(5, 30), dtype=np.uint8)
        expected = SimulatedOPU().project(codes, 20)
        codes.flags.writeable = False
        np.testing.assert_array_equal(SimulatedOPU().project(codes, 20), expected)


class TestProduct:
    @pytest.mark.parametrize("broken", [None, lambda *a, **k: (_ for _ in ()).throw(RuntimeError)])
    def test_without_the_private_function_floats_are_used(self, broken, rng, monkeypatch):
        codes = rng.integers(0, 2, size=(5, 30), dtype=np.uint8)
        expected = SimulatedOPU().project(codes, 20)
        integers_win.cache_clear()
        if broken is None:
            monkeypatch.delattr(torch, "_int_mm")
        else:
            monkeypatch.setattr(torch, "_int_mm", broken)
        try:
            assert choose_product(10**12, "codes") is float_product
            np.testing.assert_array_equal(SimulatedOPU().project(codes, 20), expected)
        finally:
            integers_win.cache_clear()

    def test_wrong_sums_are_found_out(self, monkeypatch):
        """A processor that saturates sums of pairs at 16 bits would do this."""
        right = torch._int_mm

        def saturated(codes, block, **out):
            return right(codes, block).clamp(-32767, 32767)

        monkeypatch.setattr(torch, "_int_mm", saturated)
        integers_win.cache_clear()
        try:
            assert not integers_win("codes")
        finally:
            integers_win.cache_clear()

    @pytest.mark.parametrize("n_codes", [1, 2, 16, 17])
    @pytest.mark.parametrize("n_bits", [1, 2, 16, 33])
    @pytest.mark.parametrize("n_columns", [1, 16, 40])
    def test_short_axes(self, n_codes, n_bits, n_columns, rng):
        """Oracle: numpy's product of whole numbers. torch leaves some of these unwritten."""
        codes = rng.integers(0, 2, size=(n_codes, n_bits), dtype=np.uint8)
        block = rng.integers(-127, 128, size=(n_columns, n_bits), dtype=np.int8)
        expected = codes.astype(int) @ block.astype(int).T
        for given in (codes, np.broadcast_to(codes[:1], codes.shape), codes[0][None]):
            memory = np.full((len(given), n_columns), np.nan, dtype=np.float32)
            found = integer_product(given, block.T, memory)
            wanted = expected if given is codes else np.repeat(expected[:1], len(given), 0)
            np.testing.assert_array_equal(found, wanted)

    def test_single_rows_after_torch_was_loaded(self, rng):
        """Oracle: the same codes together. A row taken by itself has a stride of its own."""
        import torch  # noqa: F401

        codes = rng.integers(0, 2, size=(40, 20), dtype=np.uint8)
        opu = SimulatedOPU(0)
        rows = np.vstack([opu.project(code[None], 500) for code in codes])
        np.testing.assert_array_equal(opu.project(codes, 500), rows)


class TestThreads:
    def test_number(self):
        """Oracle: joblib's convention, and OpenMP's limit for None."""
        assert count_threads(3) == 3
        assert count_threads(-1) >= 1
        with one_openmp_thread():
            assert count_threads(None) == 1

    def test_limits_are_put_back(self):
        def limits():
            info = threadpool_info()
            return [pool["num_threads"] for pool in info], torch.get_num_threads()

        before = limits()
        codes = np.ones((2, 8), dtype=np.uint8)
        for n_jobs in (None, 1, 2):
            SimulatedOPU(n_jobs=n_jobs).project(codes, 4)
        assert limits() == before

    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_an_error_leaves_out_the_rest(self, n_threads):
        done = []

        def work(tasks):
            for task in tasks:
                if task == 2:
                    raise KeyboardInterrupt
                done.append(task)

        with pytest.raises(KeyboardInterrupt):
            run_tasks(work, range(10**6), n_threads)
        assert len(done) < 10**6

    def test_every_task_is_done_once(self):
        done = []
        run_tasks(lambda tasks: done.extend(tasks), range(1000), 3)
        assert sorted(done) == list(range(1000))


class TestGaussian:
    def test_moments_that_the_docstring_states(self):
        """Oracle: the 65536 equally likely entries themselves."""
        entries = quantiles().astype(np.float64)
        assert np.abs(entries).max() == LARGEST_ENTRY
        assert entries.mean() == 0
        squares = np.mean(entries**2)
        assert 2 * squares * float(scale()) ** 2 == pytest.approx(1, abs=1e-7)
        assert np.mean(entries**4) / squares**2 == pytest.approx(2.9992, abs=5e-5)

    def test_memory_of_parameters_is_not_pickled_or_cloned(self):
        device = SimulatedOPU(max_memory=1e3)
        device.project(np.ones((1, 100)), 100)
        assert device._kept[1]._parts is None
        device.set_params(max_memory=1e6).project(np.ones((1, 100)), 100)
        assert device._kept[1]._parts is not None


class TestStructured:
    def test_answers_are_light_with_a_reference(self, rng):
        """Oracle: the formula of the docstring, by a Fourier matrix made entry by entry."""
        n_bits, n_components = 25, 60
        medium = StructuredMedium(5, n_bits, n_components, 2**30)
        n_positions = medium.n_positions
        E = np.zeros((n_components, n_bits), dtype=complex)
        for j in range(n_components):
            phases = medium._phases(j // n_positions)
            for position, bit in enumerate(medium._order, start=1):
                turn = j % n_positions * position / n_positions
                E[j, bit] = phases[position - 1] * np.exp(-2j * np.pi * turn)
        codes = rng.integers(0, 2, size=(11, n_bits), dtype=np.uint8)
        expected = np.abs(codes @ E.T + (1 + 1j) / 2) ** 2 - 0.5
        device = SimulatedOPU(5, medium="structured")
        np.testing.assert_allclose(device.project(codes, n_components), expected, atol=2e-4)
        np.testing.assert_allclose(
            PhaseShiftingHolography(device).project(codes, n_components), codes @ E.T, atol=1e-4
        )

    def test_two_axes_are_characters_of_a_group(self, rng, monkeypatch):
        """Oracle: fields of single bits have modulus 1, and columns of R are orthogonal."""
        monkeypatch.setattr("skopu.devices.structured._LONGEST_LINE", 32)
        shape = choose_shape(60)
        assert len(shape) == 2
        n_positions = np.prod(shape)
        medium = StructuredMedium(0, 60, n_positions, 2**30)
        R = medium.field(np.eye(60, dtype=np.uint8), np.complex64).T
        np.testing.assert_allclose(np.abs(R), 1, rtol=1e-5)
        np.testing.assert_allclose(R.conj().T @ R, n_positions * np.eye(60), atol=1e-3)

    @pytest.mark.parametrize("n_bits", [1, 2, 1000, 2**15 - 1, 2**15, 2**20, 10**7])
    def test_positions_are_enough_but_not_many_more(self, n_bits):
        positions = np.prod(choose_shape(n_bits))
        assert n_bits < positions <= 1.1 * n_bits + 2

    @pytest.mark.parametrize("kind", ["dense", "sparse", "runs"])
    def test_kernel_error(self, kind, rng):
        """Oracle: opu_kernel. 40 codes, 100 devices, k = D = 1000: 1.1 / sqrt(D) relative.

        The theory says 1.0 for many ones and less for few. Mean squares of a device vary by
        half of themselves, their mean by 5 % (one standard deviation), its root by 2.5 %; the
        seeds are fixed.
        """
        codes = random_codes(kind, 40, 1000, rng)
        K = opu_kernel(codes.astype(float))
        squares = []
        for seed in range(100):
            device = SimulatedOPU(seed, medium="structured")
            features = OPURandomFeatures(1000, opu=device).fit_transform(codes)
            features = np.asarray(features, dtype=np.float64)
            squares.append(np.mean(((features @ features.T - K) / K) ** 2))
        assert np.sqrt(1000 * np.mean(squares)) < 1.1

    @pytest.mark.parametrize("n_components", [7, 40])
    def test_kernel_is_unbiased_for_small_codes(self, n_components):
        """Oracle: opu_kernel, at k = 6, where 1/k corrections would show. 1500 devices.

        Mean within 5 standard errors for 15 pairs: rate 1e-5; the seeds are fixed.
        """
        codes = np.array([[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1], [1] * 6, [0, 0, 0, 1, 0, 0]])
        codes = codes.astype(np.uint8)
        found = []
        for seed in range(1500):
            light = StructuredMedium(seed, 6, n_components, 0).intensities(codes, 1)
            light = light.astype(np.float64)
            found.append(light @ light.T / n_components)
        error = np.mean(found, axis=0) - opu_kernel(codes.astype(float))
        assert (np.abs(error) < 5 * np.std(found, axis=0) / np.sqrt(1500) + 1e-5).all()

    def test_popcount_is_exact_over_a_whole_transform(self, rng):
        """Oracle: Parseval."""
        codes = rng.integers(0, 2, size=(5, 100), dtype=np.uint8)
        n_positions = choose_shape(100)[0]
        light = SimulatedOPU(medium="structured").project(codes, 3 * n_positions)
        np.testing.assert_allclose(light.mean(1), codes.sum(1), rtol=1e-5)

    def test_matrix_is_not_known(self):
        device = SimulatedOPU(medium="structured")
        assert not device.known_matrix
        with pytest.raises(AttributeError, match="is not known"):
            device.matrix(3, 3)

    def test_camera_sees_the_reference_too(self, rng):
        """Oracle: without noise, to 16 bits, the camera leaves rounding only."""
        codes = rng.integers(0, 2, size=(5, 40), dtype=np.uint8)
        camera = Camera(16, read_noise=0, shot_noise=False)
        seen = SimulatedOPU(medium="structured", camera=camera).project(codes, 90)
        exact = SimulatedOPU(medium="structured").project(codes, 90)
        saturated = exact > seen.max() * 0.99
        np.testing.assert_allclose(seen[~saturated], exact[~saturated], atol=0.01)

    def test_phases_beyond_the_memory_are_the_same(self, rng):
        codes = rng.integers(0, 2, size=(5, 40), dtype=np.uint8)
        kept, not_kept = (
            SimulatedOPU(medium="structured", max_memory=m).project(codes, 200) for m in (0, 1e9)
        )
        np.testing.assert_array_equal(kept, not_kept)

    def test_ridge_learns_on_it(self, rng):
        """Oracle: the target is a product of two bits, which the kernel contains."""
        codes = rng.integers(0, 2, size=(300, 12))
        y = codes[:, 0] * codes[:, 1] - codes[:, 2]
        device = SimulatedOPU(medium="structured")
        model = OPUKernelRidge(1e-3, kernel="opu", n_components=512, opu=device)
        assert model.fit(codes[:200], y[:200]).score(codes[200:], y[200:]) > 0.99


class TestAuto:
    def test_goes_by_the_size_of_the_matrix(self):
        """Oracle: 2kD bytes against max_memory, by hand."""
        codes = np.ones((1, 50))
        device = SimulatedOPU(medium="auto", max_memory=2 * 50 * 40)
        np.testing.assert_array_equal(device.project(codes, 40), SimulatedOPU().project(codes, 40))
        assert device.medium_ == "gaussian"
        expected = SimulatedOPU(medium="structured").project(codes, 41)
        np.testing.assert_array_equal(device.project(codes, 41), expected)
        assert device.medium_ == "structured"
        assert not device.known_matrix

    def test_parameters_are_checked(self):
        with pytest.raises(ValueError, match="'medium' parameter of SimulatedOPU must be a str"):
            SimulatedOPU(medium="plasma").project(np.ones((1, 2)), 2)
        with pytest.raises(ValueError, match="'max_memory' parameter of SimulatedOPU"):
            SimulatedOPU(max_memory=-1).project(np.ones((1, 2)), 2)
