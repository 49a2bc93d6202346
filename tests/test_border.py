"""Memory at the border to a driver: what it does to its own is never seen in ours.

Oracle throughout: the simulated device whose frames the driver passes on, bit by bit.
"""

import numpy as np
import pytest
from laboratory import DRIVERS, Driver
from sklearn.datasets import make_friedman1

from skopu import OPURandomFeatures, SupervisedBinarizer
from skopu.devices import (
    AnchorRetrieval,
    Camera,
    GuardedOPU,
    OffAxisHolography,
    RecordingOPU,
    ReplayOPU,
    SimulatedOPU,
)
from skopu.exceptions import DeviceFault

X, y = make_friedman1(60, n_features=5, random_state=0)
CODES = np.random.default_rng(0).integers(0, 2, size=(40, 12), dtype=np.uint8)
EXPECTED = SimulatedOPU(0).project(CODES, 64)


@pytest.fixture(params=DRIVERS)
def how(request):
    return request.param


class TestFrames:
    @pytest.mark.parametrize("max_batch", [None, 1, 7])
    def test_they_are_the_callers(self, how, max_batch):
        """Also after the next call, and after the caller has written on them."""
        driver = Driver(how, max_batch)
        first = driver.project(CODES, 64)
        np.testing.assert_array_equal(first, EXPECTED)
        assert first.flags.writeable
        assert first.flags.c_contiguous
        assert first.dtype in (np.float32, np.float64)
        driver.project(1 - CODES, 64)
        np.testing.assert_array_equal(first, EXPECTED)
        first *= -1
        np.testing.assert_array_equal(driver.project(CODES, 64), EXPECTED)

    def test_raw_features_are_the_same_twice(self, how):
        features = OPURandomFeatures(64, opu=Driver(how), form="raw", binarize=None, gamma=2.0)
        first = np.array(features.fit(CODES).transform(CODES))
        np.testing.assert_allclose(first, 4 / 8 * EXPECTED, rtol=1e-6)
        np.testing.assert_array_equal(features.transform(CODES), first)

    def test_training_is_that_of_the_plain_driver(self, how):
        fits = [
            SupervisedBinarizer(
                6, n_components=64, max_iter=4, encoder_penalty=1e-3, opu=opu, random_state=0
            ).fit(X, y)
            for opu in (Driver(how, 50), Driver("plain"))
        ]
        np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)

    @pytest.mark.parametrize(
        ("dtype", "error"), [(np.float16, 2e-3), (np.int32, 0.5), (">u2", 0.5), ("<i8", 0.5)]
    )
    def test_coarser_numbers_become_floats(self, dtype, error):
        """Oracle: the rounding error of the type."""

        class Counts(Driver):
            def _project(self, codes, n_components):
                frames = super()._project(codes, n_components)
                return (frames if dtype == np.float16 else np.rint(frames)).astype(dtype)

        found = Counts("plain").project(CODES, 64)
        assert found.dtype == np.float32
        assert found.dtype.isnative
        np.testing.assert_allclose(found, EXPECTED, rtol=error, atol=error)

    def test_a_number_too_large_is_a_fault(self):
        class Huge(Driver):
            def _project(self, codes, n_components):
                return np.full((len(codes), n_components), np.longdouble("1e4000"))

        with pytest.raises(DeviceFault, match="not finite"):
            Huge("plain").project(CODES, 64)

    def test_partial_answers_are_the_callers(self, how):
        driver = Driver(how, max_batch=10, fails_at=3)
        driver.n_retries = 0
        with pytest.raises(DeviceFault) as found:
            driver.project(CODES, 64)
        driver.project(1 - CODES, 64)
        np.testing.assert_array_equal(found.value.partial, EXPECTED[:20])


class TestCodes:
    @pytest.mark.parametrize("convert", [np.array, lambda z: z.astype(bool), np.asfortranarray])
    def test_they_stay_the_callers(self, how, convert):
        codes = convert(CODES)
        Driver(how).project(codes, 64)
        np.testing.assert_array_equal(codes, CODES)

    def test_a_retry_sends_them_again(self, how):
        driver = Driver(how, fails_at=1)
        np.testing.assert_array_equal(driver.project(CODES.copy(), 64), EXPECTED)
        assert driver.n_calls == 2

    def test_popcounts_are_theirs(self, how):
        found, expected = (
            OPURandomFeatures(65, opu=opu, binarize=None).fit(CODES).transform(CODES.copy())
            for opu in (Driver(how), SimulatedOPU(0))
        )
        np.testing.assert_array_equal(found, expected)

    def test_a_recording_is_of_them(self, how, tmp_path):
        path = tmp_path / "record"
        for opu in (RecordingOPU(Driver(how), path), GuardedOPU(ReplayOPU(path), max_batch=7)):
            np.testing.assert_array_equal(opu.project(CODES.copy(), 64), EXPECTED)

    def test_a_field_from_intensities_is_theirs(self, how):
        """Oracle: the plain driver; each code is shown with several patterns beside it."""
        found, expected = (
            AnchorRetrieval(Driver(name)).project(CODES, 40) for name in (how, "plain")
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_reference_beam_stays_the_callers():
    """Oracle: the simulated arm."""

    class Arm(Driver):
        def _interfere(self, codes, n_components, reference, n_pixels):
            frames = SimulatedOPU(0)._interfere(codes, n_components, reference, n_pixels)
            reference *= 0
            codes[...] = 1
            view = self.buffer[: len(frames), :n_pixels]
            view[...] = frames
            return view

    reference = np.exp(1j * np.arange(40 * 80).reshape(40, 80))
    before = reference.copy()
    arm = Arm("plain", max_batch=7)
    found = arm.interfere(CODES, 20, reference, 4)
    expected = SimulatedOPU(0).interfere(CODES, 20, before, 4)
    np.testing.assert_array_equal(reference, before)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(
        OffAxisHolography(arm).project(CODES, 20),
        OffAxisHolography(SimulatedOPU(0)).project(CODES, 20),
        atol=1e-4,
    )


@pytest.mark.parametrize("max_batch", [1, 5, 40])
@pytest.mark.parametrize("n_per_call", [1, 13, 40])
def test_a_camera_that_froze_is_found(max_batch, n_per_call):
    """Oracle: the first frame. It is found at the edge of batches and of calls, too."""

    class Frozen(Driver):
        first, freezes_at = None, 20

        def _project(self, codes, n_components):
            frames = super()._project(codes, n_components)
            self.n_calls += len(codes) - 1
            if self.n_calls <= self.freezes_at:
                return frames
            if self.first is None:
                self.first = SimulatedOPU(0).project(codes[:1], 64)
            return np.repeat(self.first, len(codes), axis=0)[:, :n_components]

    driver = Frozen("plain", max_batch)

    def look():
        for start in range(0, 80, n_per_call):
            rows = np.arange(start, start + n_per_call) % 40
            driver.project(CODES[rows], 64 if start % 2 else 50)

    with pytest.raises(DeviceFault, match="repeat the frame before"):
        look()
    assert driver.n_passes <= 21


@pytest.mark.parametrize("camera", [None, Camera(read_noise=0)])
def test_the_guard_knows_what_the_structured_medium_answers(camera):
    """Oracle: the device itself, whose answers go down to -1/2."""
    device, twin = (SimulatedOPU(medium="structured", camera=camera) for _ in range(2))
    found = GuardedOPU(device).project(CODES, 500)
    assert found.min() < -0.4
    np.testing.assert_array_equal(found, twin.project(CODES, 500))
