"""Calibration against the simulated device's own matrix, and its masks against enumeration."""

import pickle
import time

import numpy as np
import pytest
from laboratory import disk_of
from oracles import BlackBox, Hardware, Interrupting
from scipy.linalg import hadamard
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skopu import EndToEndOPURegressor, OPURandomFeatures, SupervisedBinarizer
from skopu.devices import (
    CalibratedOPU,
    Calibration,
    Camera,
    GuardedOPU,
    RecordingOPU,
    SimulatedOPU,
    calibrate,
    calibration_passes,
)
from skopu.devices.masks import MAX_BITS, _walsh, make_masks, mask_labels
from skopu.exceptions import DeviceLimitError, RecordingWarning

N_BITS, N_COMPONENTS = 16, 40


class Noisy(BlackBox):
    """Answers with normal noise, a share of the mean intensity, and a gain."""

    def __init__(self, random_state=0, noise=0.01, gain=1.0):
        super().__init__(random_state)
        self.noise, self.gain = noise, gain

    def _project(self, codes, n_components):
        intensities = super()._project(codes, n_components)
        rng = np.random.default_rng(self.n_passes)
        noise = self.noise * codes.shape[1] / 2 * rng.standard_normal(intensities.shape)
        return (self.gain * (intensities + noise)).astype(np.float32)


def unexplained(found, expected):
    """Share of the variance over codes that the difference makes."""
    return np.var(found - expected, axis=0).sum() / np.var(expected, axis=0).sum()


def truth(codes, n_components=N_COMPONENTS):
    return SimulatedOPU().project(codes, n_components).astype(float)


def squared_field(device, codes, n_components=N_COMPONENTS):
    R = device.matrix(codes.shape[1], n_components).astype(complex)
    return np.abs(codes @ R.T) ** 2


@pytest.fixture
def codes(rng):
    return rng.integers(0, 2, size=(1000, N_BITS), dtype=np.uint8)


class TestMasks:
    @pytest.mark.parametrize("n_bits", [1, 2, 5, 6, 7, 8, 17, 18, 31, 32, 64, 65, 127, 257, 511])
    def test_no_two_coefficients_share_a_place(self, n_bits):
        """Oracle: all sums of at most two labels, listed."""
        labels, n_masks = mask_labels(n_bits)
        first, second = np.triu_indices(n_bits, 1)
        places = np.concatenate([[0], labels, labels[first] ^ labels[second]])
        assert len(np.unique(places)) == 1 + n_bits * (n_bits + 1) // 2
        assert places.max() < n_masks

    @pytest.mark.parametrize("n_bits", [7, 17])
    def test_they_are_an_orthogonal_array(self, n_bits):
        """Oracle: the normal matrix of all coefficients is M times the identity."""
        labels, n_masks = mask_labels(n_bits)
        flips = np.arange(n_bits, dtype=np.uint8) % 2
        masks = make_masks(np.arange(n_masks), labels, flips)
        assert masks.dtype == np.uint8
        assert set(np.unique(masks)) == {0, 1}
        signs = 1 - 2.0 * masks
        first, second = np.triu_indices(n_bits, 1)
        A = np.column_stack([np.ones(n_masks), signs, signs[:, first] * signs[:, second]])
        np.testing.assert_array_equal(A.T @ A, n_masks * np.eye(A.shape[1]))

    def test_walsh_transform(self, rng):
        """Oracle: scipy's Hadamard matrix."""
        values = rng.standard_normal((16, 3))
        np.testing.assert_allclose(_walsh(values.copy()), hadamard(16) @ values / 16, atol=1e-15)


class TestAccuracy:
    @pytest.mark.parametrize("n_bits", [1, 2, 3, 5, 8, 32])
    def test_without_noise(self, n_bits, rng):
        """Oracle: the device; float32 answers and coefficients."""
        device = calibrate(BlackBox(), n_bits, 20)
        codes = rng.integers(0, 2, size=(300, n_bits), dtype=np.uint8)
        expected = truth(codes, 20)
        assert unexplained(device.expected_intensities(codes, 20), expected) < 1e-11
        assert unexplained(squared_field(device, codes, 20), expected) < 1e-11

    def test_readout_of_64_bits(self, rng):
        """Oracle: the device; what the issue asks for, 1e-10 without noise and 5e-3 with 1 %.

        The readout is a random one; trained ones are in benchmarks/calibration.py.
        """
        codes = rng.integers(0, 2, size=(2000, 64), dtype=np.uint8)
        weights = rng.standard_normal((256, 1))
        expected = truth(codes, 256) @ weights
        for opu, noise, bound in ((BlackBox(), 0.0, 1e-10), (Noisy(), 0.01, 5e-3)):
            announced = calibration_passes(64, noise=noise)
            device = calibrate(opu, 64, 256, noise=noise)
            assert opu.n_passes == announced == 4096
            found = device.expected_intensities(codes, 256) @ weights
            assert unexplained(found, expected) < bound
            assert unexplained(squared_field(device, codes, 256) @ weights, expected) < bound / 3

    def test_noise_leaves_what_was_announced(self, codes):
        """Oracle: the formula of ``calibration_passes``; also what the device says of itself.

        Mean over 150 components and 137 coefficients of squared normal errors: relative
        deviation of sqrt(2 / 20550) = 1 %, that of the intensities' variance from its mean
        over components some 5 %; bound 20 %, 4 deviations: rate 1e-4, seed fixed.
        """
        noise, n = 0.2, 150
        share = 4 * 16 / (3 * 16 + 5) * 137 / 256 * noise**2
        device = calibrate(Noisy(noise=noise), N_BITS, n, noise=noise, unexplained=share)
        assert device.opu.n_passes == 256
        found = unexplained(device.expected_intensities(codes, n), truth(codes, n))
        np.testing.assert_allclose([found, device.forms.unexplained], share, rtol=0.2)
        # More rounds, less noise; and the matrix has k/4 times less.
        device = calibrate(Noisy(noise=noise), N_BITS, n, noise=noise, unexplained=share / 8)
        assert device.opu.n_passes == 8 * 256
        found = unexplained(device.expected_intensities(codes, n), truth(codes, n))
        np.testing.assert_allclose(found, share / 8, rtol=0.2)
        assert unexplained(squared_field(device, codes, n), truth(codes, n)) < found / 3

    def test_through_a_camera(self, codes):
        """Oracle: the device without it; 1e-3 is asked for."""
        device = calibrate(SimulatedOPU(camera=Camera()), N_BITS, N_COMPONENTS)
        expected = truth(codes)
        assert unexplained(device.expected_intensities(codes, N_COMPONENTS), expected) < 3e-3
        assert unexplained(squared_field(device, codes), expected) < 1e-3

    @pytest.mark.parametrize("gain", [1e-3, 1.0, 200.0])
    def test_units_are_the_device_s(self, gain, codes):
        """Oracle: the answers of the device itself, times its gain."""
        opu = Hardware(gain=gain)
        device = calibrate(opu, N_BITS, N_COMPONENTS)
        assert unexplained(squared_field(device, codes), gain * truth(codes)) < 1e-11
        np.testing.assert_allclose(device.project(codes, 10), gain * truth(codes, 10), rtol=1e-5)

    def test_rows_are_those_of_the_matrix(self):
        """Oracle: R, each row turned to the phase and conjugation that are stated."""
        device = calibrate(BlackBox(), N_BITS, N_COMPONENTS)
        R = SimulatedOPU().matrix(N_BITS, N_COMPONENTS)
        R = R * np.exp(-1j * np.angle(R[:, :1]))
        R = np.where(R[:, 1:2].imag < 0, R.conj(), R)
        np.testing.assert_allclose(device.matrix(N_BITS, N_COMPONENTS), R, atol=1e-4)

    def test_dead_pixels_have_forms_of_zero(self, codes):
        camera = Camera(bits=None, shot_noise=False, read_noise=0, dead_pixels=0.2, exposure=10.0)
        device = calibrate(SimulatedOPU(camera=camera), N_BITS, N_COMPONENTS)
        dead = ~device.project(codes, N_COMPONENTS).any(axis=0)
        assert 0 < dead.sum() < N_COMPONENTS
        assert not device.matrix(N_BITS, N_COMPONENTS)[dead].any()
        assert not device.expected_intensities(codes, N_COMPONENTS)[:, dead].any()

    def test_more_noise_than_stated_is_told(self):
        with pytest.warns(ConvergenceWarning, match="noisier than noise=0.01 says"):
            calibrate(Noisy(noise=0.5), N_BITS, 10, noise=0.01)


class TestProgress:
    def test_a_cut_calibration_goes_on(self, codes, tmp_path):
        """Oracle: the one that was not cut, to the last bit; no pass is made twice."""
        whole = calibrate(Noisy(), 32, 10).forms.coefficients
        opu = Interrupting(calls=3)
        calibration = Calibration(32, 10)
        assert (calibration.n_passes, calibration.n_done) == (4096, 0)
        with pytest.raises(KeyboardInterrupt):
            calibration.run(opu)
        assert calibration.n_done == opu.n_passes == 2048
        calibration.save(tmp_path / "half.npz")
        device = calibration.run(opu)
        assert opu.n_passes == 4096
        expected = calibrate(BlackBox(), 32, 10).forms.coefficients
        np.testing.assert_array_equal(device.forms.coefficients, expected)
        again = Calibration.load(tmp_path / "half.npz")
        assert again.n_done == 2048
        np.testing.assert_array_equal(again.run(BlackBox()).forms.coefficients, expected)
        assert (whole != expected).any()

    def test_the_file_goes_on_by_itself(self, tmp_path):
        path, opu = tmp_path / "progress.npz", Interrupting(calls=2)
        with pytest.raises(KeyboardInterrupt):
            calibrate(opu, 32, 10, path=path)
        device = calibrate(opu, 32, 10, path=path)
        assert opu.n_passes == 4096
        calibrate(opu, 32, 10, path=path)
        assert opu.n_passes == 4096
        expected = calibrate(BlackBox(), 32, 10).forms.coefficients
        np.testing.assert_array_equal(device.forms.coefficients, expected)
        with pytest.raises(ValueError, match="a calibration with n_components=10, not 11"):
            calibrate(opu, 32, 11, path=path)

    def test_bad_arguments_are_named_before_any_pass(self, tmp_path):
        opu, path = SimulatedOPU(max_bits=8), tmp_path / "progress.npz"
        with pytest.raises(DeviceLimitError, match="at most 8 bits"):
            calibrate(opu, 9, 10, path=path)
        assert not path.exists()
        with pytest.raises(ValueError, match=f"n_bits == {MAX_BITS + 1}"):
            calibrate(opu, MAX_BITS + 1, 10)
        with pytest.raises(TypeError, match="n_components"):
            calibrate(opu, 8, 1.5)
        with pytest.raises(ValueError, match="noise"):
            calibrate(opu, 8, 10, noise=-1.0)
        with pytest.raises(ValueError, match="unexplained"):
            calibrate(opu, 8, 10, unexplained=0)
        assert opu.n_passes == 0


class TestDevice:
    def test_copies_share_the_forms(self, codes):
        device = calibrate(Hardware(), N_BITS, N_COMPONENTS)
        copy = clone(device)
        assert copy.opu is device.opu
        assert copy.forms is device.forms
        restored = pickle.loads(pickle.dumps(device))
        np.testing.assert_array_equal(
            restored.expected_intensities(codes, 20), device.expected_intensities(codes, 20)
        )
        assert repr(device.forms) == f"<IntensityForms of {N_BITS} bits and 40 components>"

    def test_fewer_bits_are_padded(self, codes):
        """Oracle: the corner of the simulated matrix."""
        device = calibrate(BlackBox(), N_BITS, N_COMPONENTS)
        short = codes[:, :9]
        expected = truth(short, 20)
        assert unexplained(device.project(short, 20), expected) < 1e-11
        assert unexplained(device.expected_intensities(short, 20), expected) < 1e-11
        assert unexplained(squared_field(device, short, 20), expected) < 1e-11
        assert device.n_passes == len(short)

    def test_a_guard_around_it_uses_the_forms(self, codes):
        """Oracle: the calibrated device, whose forms are not those of its nearest matrix."""
        device = calibrate(Noisy(), N_BITS, N_COMPONENTS)
        opu = GuardedOPU(device)
        found = opu.expected_intensities(codes, 20)
        np.testing.assert_array_equal(found, device.expected_intensities(codes, 20))
        weights = np.ones((20, 2))
        np.testing.assert_allclose(
            opu.intensity_form(weights, N_BITS).mean(codes.astype(float)),
            found @ weights,
            rtol=1e-4,
        )
        with pytest.raises(AttributeError, match="is not known"):
            RecordingOPU(device, "nowhere").expected_intensities(codes, 20)

    def test_limits_are_those_of_the_calibration(self, codes):
        device = calibrate(BlackBox(), N_BITS, N_COMPONENTS)
        for method in (device.project, device.expected_intensities):
            with pytest.raises(DeviceLimitError, match="at most 40 components"):
                method(codes, 41)
        with pytest.raises(DeviceLimitError, match="at most 16 bits"):
            device.matrix(17, 3)

    def test_expected_features(self, rng):
        """Oracle: the closed form with the known matrix."""
        p, codes = rng.random((50, N_BITS)), np.zeros((1, N_BITS))
        device = calibrate(BlackBox(), N_BITS, N_COMPONENTS)
        for form in ("centered", "raw"):
            found, expected = (
                OPURandomFeatures(40, opu=opu, form=form).fit(codes).expectation(p)
                for opu in (device, SimulatedOPU())
            )
            np.testing.assert_allclose(found, expected, atol=1e-4)

    @pytest.mark.parametrize("gradient", ["exact", "rebar", "loo"])
    def test_training_is_that_of_the_known_matrix(self, gradient, rng):
        """Oracle: the same fit with the true matrix; 5 % of the error, on a noisy device 1 %."""
        X = rng.standard_normal((300, 4))
        y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * rng.standard_normal(300)
        machine = Noisy()
        errors = []
        for opu in (SimulatedOPU(), calibrate(machine, N_BITS, 128, noise=0.01)):
            binarizer = SupervisedBinarizer(
                N_BITS, n_components=128, max_iter=150, gradient=gradient, opu=opu
            )
            model = EndToEndOPURegressor(binarizer, prediction="mean", random_state=0)
            model.set_params(features=OPURandomFeatures(128, opu=opu))
            model.fit(X[:200], y[:200])
            errors.append(np.mean((model.predict(X[200:]) - y[200:]) ** 2))
        assert isinstance(model.features_.opu_, CalibratedOPU)
        # Draws follow from the encoder, so a small difference grows while they train it.
        assert abs(errors[1] / errors[0] - 1) < (0.05 if gradient == "exact" else 0.2)


@pytest.fixture(scope="module")
def expected():
    """Coefficients of 32 bits and 20 components; do not change them."""
    return Calibration(32, 20).run(BlackBox()).forms.coefficients


class TestFaults:
    """Oracle: the calibration that nothing disturbed, on a device without noise."""

    def test_a_step_that_is_cut_anywhere(self, expected, monkeypatch):
        """The rows are set, and set again; they used to be added to twice (25 % off)."""

        class Sums(np.ndarray):
            n_set = 0

            def __setitem__(self, key, value):
                super().__setitem__(key, value)
                Sums.n_set += 1
                if Sums.n_set in (2, 5):
                    raise KeyboardInterrupt

        calibration = Calibration(32, 20)
        calibration._sums = calibration._sums.view(Sums)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                calibration.run(BlackBox())
        found = calibration.run(BlackBox()).forms.coefficients
        np.testing.assert_array_equal(np.asarray(found), expected)

    def test_what_was_measured_comes_with_the_error(self, expected):
        """Oracle: the passes of the two runs together."""
        machine = Interrupting(calls=3)
        with pytest.raises(KeyboardInterrupt) as found:
            calibrate(machine, 32, 20)
        assert any("2048 of 4096 passes were made" in note for note in found.value.__notes__)
        forms = found.value.calibration.run(machine).forms
        assert machine.n_passes == 4096
        np.testing.assert_array_equal(forms.coefficients, expected)

    def test_a_place_that_cannot_be_is_found_first(self, tmp_path):
        machine = BlackBox()
        with pytest.raises(FileNotFoundError):
            calibrate(machine, 16, 5, path=tmp_path / "nowhere" / "c.npz")
        assert machine.n_passes == 0
        calibrate(machine, 16, 5, path=tmp_path / "c.npz")
        assert [file.name for file in tmp_path.iterdir()] == ["c.npz"]

    # Old releases of numpy leave their zip file half closed when the disk is full.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_disk_that_is_full_at_the_end(self, tmp_path, expected):
        """The device is there all the same; and so is what was measured, after an error."""
        path = tmp_path / "c.npz"
        with disk_of(1000), pytest.warns(RecordingWarning, match="could not be written to"):
            device = calibrate(BlackBox(), 32, 20, path=path)
        np.testing.assert_array_equal(device.forms.coefficients, expected)
        machine = Interrupting(calls=2)
        with disk_of(1000), pytest.warns(RecordingWarning), pytest.raises(KeyboardInterrupt) as got:
            calibrate(machine, 32, 20, path=path)
        assert got.value.calibration.n_done == 1024
        assert not path.exists()

    # Old releases of numpy leave their zip file half closed when the disk is full.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_file_is_replaced_as_a_whole(self, tmp_path, expected):
        """Oracle: the file before, byte by byte, when the disk is full while it is written."""
        path = tmp_path / "c.npz"
        calibration = Calibration(32, 20)
        calibration.save(path)
        before = path.read_bytes()
        calibration.run(BlackBox())
        with disk_of(1000), pytest.raises(OSError, match="too large"):
            calibration.save(path)
        assert path.read_bytes() == before
        calibration.save(path)
        assert Calibration.load(path).n_done == 4096

    LIES = {
        "more passes than there are": {"n_done": 10**12},
        "fewer than none": {"n_done": -1024},
        "a part of a batch": {"n_done": 1000},
        "a fraction": {"n_done": 0.5},
        "passes without answers": {"sums": np.ones((4096, 20), np.float32), "n_done": 1024},
        "not finite": {"sums": np.full((4096, 20), np.nan, np.float32)},
        "infinite": {"sums": np.full((4096, 20), np.inf, np.float32)},
        "other shape": {"sums": np.zeros((4096, 21), np.float32)},
        "no shape": {"sums": np.float32(1)},
        "integers": {"sums": np.zeros((4096, 20), np.int32)},
        "text": {"sums": np.full((4096, 20), "a")},
        "objects": {"sums": np.full((4096, 20), None)},
        "absurd bits": {"n_bits": 10**9},
        "endless": {"noise": np.inf},
        "no noise that can be": {"noise": np.nan},
        "more passes than can be made": {"noise": 1e300},
        "as many": {"unexplained": 5e-324},
        "absurd components": {"n_components": 10**15},
        "no components": {"n_components": 0},
        "many bits": {"n_bits": 2047},
        "half a bit": {"n_bits": 1.5},
        "several": {"n_bits": [1, 2]},
        "no noise": {"noise": np.nan},
        "negative": {"unexplained": -1.0},
    }

    @pytest.mark.parametrize("lie", LIES)
    def test_a_file_that_lies_is_refused(self, lie, tmp_path):
        path = tmp_path / "c.npz"
        honest = {"n_bits": 32, "n_components": 20, "noise": 0.03, "unexplained": 1e-3}
        honest |= {"random_state": 0, "n_done": 2048, "sums": np.zeros((4096, 20), np.float32)}
        np.savez(path, **honest)
        assert Calibration.load(path).n_done == 2048
        np.savez(path, **honest | self.LIES[lie])
        start = time.process_time()
        with pytest.raises(ValueError, match="is no calibration that can go on"):
            calibrate(BlackBox(), 32, 20, path=path)
        assert time.process_time() - start < 1

    def test_other_files_are_refused(self, tmp_path):
        path = tmp_path / "c.npz"
        np.savez(path, sums=np.zeros(3))
        whole = path.read_bytes()
        for data in (b"", b"PK\x03\x04", b"text", whole, whole[:100]):
            path.write_bytes(data)
            with pytest.raises(ValueError, match="is no calibration that can go on"):
                Calibration.load(path)
        np.savez_compressed(path, sums=np.zeros((4096, 2000), np.float32))
        with pytest.raises(ValueError, match="is compressed, or larger than the file"):
            Calibration.load(path)
        np.save(path.with_suffix(".npy"), np.zeros(3))
        with pytest.raises(ValueError, match="is no calibration"):
            Calibration.load(path.with_suffix(".npy"))
