"""The camera against the closed forms of its noise, rounding and range."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from skopu import OPURandomFeatures, SupervisedBinarizer
from skopu.devices import Camera, SimulatedOPU
from skopu.devices.optics.camera import Sensor
from skopu.exceptions import CameraWarning

IDEAL = {"bits": None, "read_noise": 0.0, "shot_noise": False, "exposure": 100.0}


def read(intensities, **parameters):
    return Sensor(Camera(**parameters)).read(intensities)


@pytest.fixture
def codes(rng):
    return rng.integers(0, 2, size=(60, 32), dtype=np.uint8)


def test_without_noise_rounding_and_limit_nothing_changes(rng):
    """Oracle: the intensities; 1e-6 is the rounding of float32."""
    light = rng.exponential(10, size=(20, 30))
    np.testing.assert_allclose(read(light, **IDEAL), light, rtol=1e-6)


@pytest.mark.parametrize("electrons", [100.0, 4000.0])
@pytest.mark.parametrize("read_noise", [0.0, 10.0])
def test_noise_has_the_variance_of_its_parts(electrons, read_noise):
    """Oracle: mean N and variance N + read_noise^2, in electrons.

    2 x 10^5 draws; bounds of 5 standard errors: false-alarm rate below 3e-6, seed fixed.
    """
    light = np.full((400, 500), electrons)
    seen = read(light, bits=None, exposure=1.0, read_noise=read_noise).astype(float)
    variance = electrons + read_noise**2
    assert abs(seen.mean() - electrons) < 5 * np.sqrt(variance / seen.size)
    assert abs(seen.var() / variance - 1) < 5 * np.sqrt(2 / seen.size)


@pytest.mark.filterwarnings("ignore::skopu.exceptions.CameraWarning")
@pytest.mark.parametrize("bits", [1, 4, 8, 12])
def test_counts_are_rounded_to_the_levels(bits, rng):
    """Oracle: whole multiples of W / (2^bits - 1), off by at most half of one."""
    light = rng.uniform(0, 100, size=(30, 40))
    seen = read(light, **IDEAL | {"bits": bits})
    step = 1e4 / (2**bits - 1) / 100
    np.testing.assert_allclose(seen / step, np.rint(seen / step), atol=1e-3)
    assert np.abs(seen - light).max() <= step / 2 * (1 + 1e-3)


def test_rounding_adds_a_twelfth(rng):
    """Oracle: variance step^2 / 12. 10^5 draws, 5 standard errors, rate below 1e-6."""
    light = rng.uniform(10, 90, size=(100, 1000))
    error = read(light, **IDEAL) - read(light, **IDEAL | {"bits": 8})
    step = 1e4 / 255 / 100
    assert abs(error.var() / (step**2 / 12) - 1) < 5 * np.sqrt(0.8 / error.size)


def test_full_wells_and_the_gain():
    """Oracle: min(I, W / t) times the gain."""
    light = np.array([[10.0, 50.0, 100.0, 500.0]])
    with pytest.warns(CameraWarning, match=r"saturated: 50.0% of .* read full scale"):
        seen = read(light, **IDEAL | {"gain": 3.0})
    np.testing.assert_allclose(seen, [[30, 150, 300, 300]], rtol=1e-6)


def test_automatic_exposure_fits_any_light(rng):
    """Oracle: relative error of float32 numbers; the same draws at any scale."""
    light = rng.exponential(1.0, size=(50, 100))
    dim, bright = read(light * 2.0**-20, random_state=3), read(light * 2.0**20, random_state=3)
    np.testing.assert_allclose(dim * 2.0**40, bright, rtol=1e-5)
    assert np.sqrt(np.mean((bright / 2.0**20 - light) ** 2)) < 0.05


def test_too_dark_is_told_once_and_frames_without_light_do_not_count():
    light = np.vstack([np.zeros((50, 100)), np.full((50, 100), 1.0)])
    sensor = Sensor(Camera(exposure=1.0))
    with pytest.warns(CameraWarning, match=r"too dark: 100.0% of .* exposure=1.0.*longer"):
        sensor.read(light)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sensor.read(light)
        Sensor(Camera()).read(light)


def test_drift_is_a_random_walk_of_the_power():
    """Oracle: steps of the logarithm have that deviation; 10^4 frames, 5 standard errors.

    The walk goes on in the next call. False-alarm rate below 1e-6, seed fixed.
    """
    sensor = Sensor(Camera(**IDEAL | {"drift": 1e-3, "full_well": 1e9}))
    light = np.ones((5000, 1))
    powers = np.log(np.vstack([sensor.read(light), sensor.read(light)]).astype(float))
    steps = np.diff(powers, axis=0)
    assert abs(steps.std() / 1e-3 - 1) < 5 / np.sqrt(2 * 9999) + 1e-3
    assert abs(steps[4999, 0]) < 6e-3


def test_dead_pixels_stay_dead(rng):
    """Oracle: binomial count of 5000, 5 standard deviations; the same pixels in each call."""
    sensor = Sensor(Camera(dead_pixels=0.1))
    light = rng.uniform(50, 100, size=(3, 5000))
    dead = (sensor.read(light) == 0).all(axis=0)
    assert abs(dead.sum() - 500) < 5 * np.sqrt(450)
    np.testing.assert_array_equal((sensor.read(light) == 0).all(axis=0), dead)
    np.testing.assert_array_equal((sensor.read(light[:, :70]) == 0).all(axis=0), dead[:70])


class TestDevice:
    def test_seed_and_order_of_calls_decide(self, codes):
        device, same = SimulatedOPU(camera=Camera()), SimulatedOPU(camera=Camera())
        other = SimulatedOPU(camera=Camera(random_state=1))
        first, second = device.project(codes, 20), device.project(codes, 20)
        assert first.dtype == np.float32
        assert (first != second).any()
        np.testing.assert_array_equal(same.project(codes, 20), first)
        assert (other.project(codes, 20) != first).any()

    def test_clone_starts_afresh_and_a_pickle_goes_on(self, codes):
        device = SimulatedOPU(camera=Camera())
        first = device.project(codes, 20)
        restored = pickle.loads(pickle.dumps(device))
        second = device.project(codes, 20)
        np.testing.assert_array_equal(restored.project(codes, 20), second)
        np.testing.assert_array_equal(clone(device).project(codes, 20), first)

    def test_matrix_is_not_told(self):
        device = SimulatedOPU(camera=Camera())
        assert not device.known_matrix
        with pytest.raises(AttributeError, match="is not known"):
            device.matrix(3, 3)
        assert SimulatedOPU().known_matrix

    def test_zero_code_is_dark(self):
        device = SimulatedOPU(camera=Camera(read_noise=0))
        assert not device.project(np.zeros((2, 5)), 4).any()

    def test_parameters_are_reached_and_checked(self, codes):
        device = SimulatedOPU(camera=Camera()).set_params(camera__bits=0)
        with pytest.raises(ValueError, match="The 'bits' parameter of Camera must be"):
            device.project(codes, 3)
        assert repr(Camera(bits=4)) == "Camera(bits=4)"

    def test_learning_survives_it(self, rng):
        """Oracle: the same fits with an exact device; a fifth more error is let pass."""
        X = rng.standard_normal((200, 3))
        y = np.sin(X[:, 0]) + X[:, 1]
        errors = []
        for camera in (None, Camera()):
            opu = SimulatedOPU(camera=camera)
            codes = SupervisedBinarizer(
                16, n_components=64, max_iter=60, opu=opu, random_state=0
            ).fit(X, y)
            features = OPURandomFeatures(64, opu=opu, binarize=None)
            Z = features.fit_transform(codes.transform(X))
            Z = np.column_stack([Z, np.ones(200)])
            weights = np.linalg.solve(Z.T @ Z + 0.1 * np.eye(65), Z.T @ y)
            errors.append(np.mean((Z @ weights - y) ** 2))
        assert errors[1] < 1.2 * errors[0]
