"""Contract of devices, and what the simulated one promises beyond it."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from oracles import BlackBox, Flaky, Hardware
from scipy import sparse, stats
from sklearn.base import clone
from threadpoolctl import threadpool_limits

import skopu.devices
from skopu import OPURandomFeatures, SupervisedBinarizer
from skopu.devices import Camera, GuardedOPU, OPUDevice, SimulatedOPU
from skopu.devices.registry import resolve_device
from skopu.exceptions import DeviceLimitError, NotBinaryError

# A new device: add a line.
DEVICES = [
    SimulatedOPU(),
    SimulatedOPU(7, max_bits=40),
    SimulatedOPU(max_memory=0),
    SimulatedOPU(medium="structured"),
    SimulatedOPU(camera=Camera(None, exposure=1.0, read_noise=0, shot_noise=False)),
    BlackBox(),
    Hardware(),
    Flaky(),
    GuardedOPU(SimulatedOPU(3), max_batch=7),
]


@pytest.fixture(params=DEVICES, ids=lambda device: repr(device))
def device(request):
    return request.param


@pytest.fixture
def codes(rng):
    codes = rng.integers(0, 2, size=(50, 20), dtype=np.uint8)
    codes.flags.writeable = False
    return codes


class TestContract:
    def test_intensities_have_the_promised_form(self, device, codes):
        intensities = device.project(codes, 30)
        assert intensities.shape == (50, 30)
        assert intensities.dtype == np.float32
        # The structured medium takes off the light of its reference, 1/2.
        assert (intensities >= (-0.5 if "structured" in repr(device) else 0)).all()

    @pytest.mark.parametrize(
        "convert",
        [np.asarray, lambda z: z.astype(bool), lambda z: z.astype(float), sparse.csr_array, list],
        ids=["uint8", "bool", "float", "sparse", "list"],
    )
    def test_codes_of_any_type_give_the_same(self, device, codes, convert):
        np.testing.assert_array_equal(device.project(convert(codes), 9), device.project(codes, 9))

    def test_more_components_start_with_the_same(self, device, codes):
        few, many = device.project(codes, 10), device.project(codes, 700)
        np.testing.assert_array_equal(many[:, :10], few)

    def test_rows_do_not_depend_on_their_batch(self, device, codes):
        whole = device.project(codes, 300)
        one_by_one = np.vstack([device.project(codes[i : i + 1], 300) for i in range(50)])
        np.testing.assert_array_equal(one_by_one, whole)

    def test_passes_are_counted(self, device, codes):
        before = device.n_passes
        device.project(codes, 3)
        device.project(codes[:7], 3)
        assert device.n_passes == before + 57

    def test_zero_code_is_dark(self, device):
        assert not device.project(np.zeros((2, 5)), 4).any()

    def test_known_matrix_explains_the_intensities(self, device, codes):
        """Oracle: |Rz|^2 in float64."""
        if not device.known_matrix:
            with pytest.raises(AttributeError, match="is not known"):
                device.matrix(20, 30)
            return
        R = device.matrix(20, 30).astype(np.complex128)
        assert R.shape == (30, 20)
        expected = np.abs(codes @ R.T) ** 2
        np.testing.assert_allclose(device.project(codes, 30), expected, rtol=1e-5, atol=1e-6)

    def test_clone_is_the_same_device(self, device, codes):
        np.testing.assert_array_equal(clone(device).project(codes, 5), device.project(codes, 5))

    @pytest.mark.parametrize("bad", [2, -1, 0.5, np.nan, np.inf])
    def test_other_values_are_refused(self, device, bad):
        codes = np.zeros((3, 4))
        codes[1, 2] = bad
        with pytest.raises(NotBinaryError, match=r"must hold only 0 and 1.*found 1 other value"):
            device.project(codes, 5)

    def test_text_and_wrong_dimensions_are_refused(self, device):
        with pytest.raises(NotBinaryError, match="such as a"):
            device.project(np.array([["a", "b"]]), 5)
        with pytest.raises(ValueError, match=r"reshape\(1, -1\)"):
            device.project(np.zeros(4), 5)


class TestSimulated:
    def test_limits(self):
        device = SimulatedOPU(max_bits=8, max_components=16)
        with pytest.raises(DeviceLimitError, match="at most 8 bits, which is not enough for"):
            device.project(np.zeros((1, 9)), 16)
        with pytest.raises(DeviceLimitError, match="at most 16 components, which is not"):
            device.project(np.zeros((1, 8)), 17)

    def test_fits_refuse_a_device_that_is_too_small_before_any_pass(self, rng):
        X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
        with pytest.raises(DeviceLimitError, match="n_bits=8 or less"):
            SupervisedBinarizer(n_bits=9, opu=SimulatedOPU(max_bits=8)).fit(X, y)
        with pytest.raises(DeviceLimitError, match="n_components=9 or less"):
            OPURandomFeatures(n_components=16, opu=SimulatedOPU(max_components=8)).fit(X)

    def test_unknown_name_is_corrected(self):
        with pytest.raises(ValueError, match=r"opu='simulate' is not known.*'simulated'"):
            resolve_device("simulate", 3, 3)

    @pytest.mark.parametrize("seed", [None, 1.5, True])
    def test_seed_must_be_an_int(self, seed):
        with pytest.raises(TypeError, match="random_state of a SimulatedOPU must be an int"):
            SimulatedOPU(seed).matrix(2, 2)
        with pytest.raises(ValueError, match=r"random_state must lie in"):
            SimulatedOPU(-1).matrix(2, 2)

    def test_seeds_are_different_devices(self):
        first, second = (SimulatedOPU(seed).matrix(30, 30) for seed in (0, 1))
        assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.15

    def test_matrix_contains_the_smaller_ones(self):
        device = SimulatedOPU(3)
        small, large = device.matrix(50, 200), device.matrix(150, 600)
        np.testing.assert_array_equal(large[:200, :50], small)

    def test_same_numbers_on_one_thread(self, rng):
        codes = rng.integers(0, 2, size=(300, 200))
        many = SimulatedOPU().project(codes, 500)
        with threadpool_limits(1):
            np.testing.assert_array_equal(SimulatedOPU().project(codes, 500), many)

    def test_wide_codes_are_exact_too(self, rng):
        """Beyond 132104 bits float32 no longer holds the sums; the result must not show it."""
        codes = np.zeros((2, 140_000), dtype=np.uint8)
        codes[:, :100] = rng.integers(0, 2, size=(2, 100))
        device = SimulatedOPU()
        np.testing.assert_array_equal(device.project(codes, 3), device.project(codes[:, :100], 3))

    def test_pickle_holds_the_seed_not_the_matrix(self, rng):
        device = SimulatedOPU(5)
        codes = rng.integers(0, 2, size=(4, 500))
        expected = device.project(codes, 2000)
        stored = pickle.dumps(device)
        assert len(stored) < 500
        np.testing.assert_array_equal(pickle.loads(stored).project(codes, 2000), expected)

    def test_entries_are_complex_normal(self):
        """Oracle: moments of CN(0, 1), with 2 x 10^6 entries and 5 standard errors.

        False-alarm rate below 1e-5 for the six tests together; the seed is fixed.
        """
        R = SimulatedOPU(11).matrix(1000, 2000)
        n = R.size
        real, imag = R.real.ravel().astype(float), R.imag.ravel().astype(float)
        for part in (real, imag):
            assert abs(part.mean()) < 5 * np.sqrt(0.5 / n)
            assert abs(np.mean(part**2) - 0.5) < 5 * np.sqrt(0.5 / n)
            assert abs(stats.kurtosis(part, fisher=False) - 3) < 5 * np.sqrt(24 / n) + 0.001
        assert abs(np.mean(real * imag)) < 5 * 0.5 / np.sqrt(n)
        # The fourth moment sets the kernel: E|r|^4 = 2 up to the rounding of the quantiles.
        assert abs(np.mean(np.abs(R) ** 4) - 2) < 5 * np.sqrt(20 / n) + 0.001

    def test_columns_and_rows_are_uncorrelated(self):
        """Oracle: off-diagonal entries of R R^H / k have variance 1/k. Rate 1e-6, seed fixed."""
        R = SimulatedOPU(2).matrix(600, 600).astype(np.complex128)
        for matrix in (R, R.T):
            off = (matrix @ matrix.conj().T / 600)[~np.eye(600, dtype=bool)]
            assert np.abs(off).max() < np.sqrt(-np.log(1e-6 / 600**2) / 600)


def test_a_machine_is_shared_not_copied(rng):
    """Oracle: the identity of the object, and its own count of passes."""
    machine = Hardware()
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    binarizer = SupervisedBinarizer(n_bits=4, n_components=8, max_iter=3, opu=machine).fit(X, y)
    assert binarizer.opu_ is machine
    assert machine.n_passes == binarizer.n_passes_


def test_device_without_projection_says_so():
    with pytest.raises(NotImplementedError, match="OPUDevice must implement _project"):
        OPUDevice().project(np.zeros((1, 2)), 2)


def test_what_is_offered_is_what_is_described():
    """Oracle: the page of the interface."""
    page = (Path(__file__).parents[1] / "doc/api.rst").read_text()
    section = page.split(".. currentmodule:: skopu.devices\n")[1].split(".. currentmodule::")[0]
    assert set(skopu.devices.__all__) == set(re.findall(r"^   (\w+)$", section, re.MULTILINE))
