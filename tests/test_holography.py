"""Retrieved fields against the exact product R z of the simulated device.

Decibels are 10 log10 of mean |Rz|^2 over mean squared error.
"""

import pickle

import numpy as np
import pytest
from oracles import BlackBox
from sklearn.base import clone

from skopu.devices import (
    AnchorRetrieval,
    Camera,
    OffAxisHolography,
    OPUDevice,
    PhaseShiftingHolography,
    SimulatedOPU,
)
from skopu.devices.tiles import scale
from skopu.exceptions import DeviceLimitError, NotBinaryError

HOLOGRAPHIES = [OffAxisHolography, PhaseShiftingHolography]
RETRIEVALS = [*HOLOGRAPHIES, AnchorRetrieval]


def exact_matrix(n_bits, n_components, seed=0):
    """R in float64: whole numbers times the device's scale, before ``matrix`` rounds it."""
    R = SimulatedOPU(seed).matrix(n_bits, n_components).astype(np.complex128)
    unit = float(scale())
    return (np.rint(R.real / unit) + 1j * np.rint(R.imag / unit)) * unit


class ExactIntensities(OPUDevice):
    """Intensities in float64 and nothing else."""

    def _project(self, codes, n_components):
        return np.abs(codes @ exact_matrix(codes.shape[1], n_components).T) ** 2


def decibels(field, expected):
    error = np.mean(np.abs(field - expected) ** 2)
    return 10 * np.log10(np.mean(np.abs(expected) ** 2) / max(error, 1e-300))


def anchored(n_bits, n_components, n_anchors, width):
    """R with the rows turned and conjugated as AnchorRetrieval documents."""
    R = exact_matrix(n_bits + n_anchors * width, n_components)
    first = R[:, n_bits : n_bits + width].sum(axis=1)
    second = R[:, n_bits + width : n_bits + 2 * width].sum(axis=1)
    R = R * np.exp(-1j * np.angle(first))[:, None]
    flipped = (second * first.conj()).imag < 0
    R[flipped] = R[flipped].conj()
    return R[:, :n_bits]


@pytest.fixture
def codes(rng):
    return rng.integers(0, 2, size=(40, 32), dtype=np.uint8)


class TestHolography:
    @pytest.mark.parametrize("retrieval", HOLOGRAPHIES)
    @pytest.mark.parametrize("n_components", [1, 2, 7, 64, 501])
    def test_field_is_exact_without_a_camera(self, retrieval, n_components, codes):
        """Oracle: R z in float64, to 200 dB."""
        field = retrieval(SimulatedOPU()).project(codes, n_components)
        assert field.dtype == np.complex128
        assert decibels(field, codes @ exact_matrix(32, n_components).T) > 200

    @pytest.mark.parametrize("retrieval", HOLOGRAPHIES)
    def test_camera_leaves_27_decibels(self, retrieval, codes):
        """Oracle: R z; 10^4 electrons, 8 bits. 10240 values: the figure varies by 0.1 dB."""
        field = retrieval(SimulatedOPU(camera=Camera())).project(codes, 256)
        assert field.dtype == np.complex64
        assert decibels(field, codes @ exact_matrix(32, 256).T) > 27

    def test_overlapping_terms_cost_accuracy(self, codes):
        """Oracle: the bandwidths; 4 pixels a component separate the terms, fewer do not."""
        expected = codes @ exact_matrix(32, 100).T
        quality = [
            decibels(OffAxisHolography(oversampling=s).project(codes, 100), expected)
            for s in (2, 3, 4, 5.5)
        ]
        assert quality[0] < quality[1] < 40
        assert min(quality[2:]) > 200

    def test_oversampled_light_goes_through_the_components(self, codes):
        """Oracle: |R z|^2 at every fourth pixel, when the reference is off."""
        light = SimulatedOPU().interfere(codes, 31, 0.0, oversampling=4)
        expected = np.abs(codes @ exact_matrix(32, 31).T) ** 2
        np.testing.assert_allclose(light[:, ::4], expected, rtol=1e-9, atol=1e-9)

    def test_gain_scales_the_field(self, codes):
        one, two = (SimulatedOPU(camera=Camera(gain=g)) for g in (1.0, 2.5))
        first, second = (OffAxisHolography(opu).project(codes, 50) for opu in (one, two))
        np.testing.assert_allclose(second, 2.5 * first, rtol=1e-4, atol=1e-4)

    def test_wandering_phase_turns_frames_off_axis(self, codes):
        """Oracle: one phase a row, steps of the stated deviation (39 of them, factor 2)."""
        field = OffAxisHolography(phase_drift=0.1).project(codes, 50)
        expected = codes @ exact_matrix(32, 50).T
        phases = np.sum(field * expected.conj(), axis=1)
        turned = expected * np.exp(1j * np.angle(phases))[:, None]
        assert decibels(field, turned) > 200
        steps = np.diff(np.unwrap(np.angle(phases)))
        assert 0.05 < steps.std() < 0.2

    def test_wandering_phase_is_an_error_of_phase_shifting(self, codes):
        expected = codes @ exact_matrix(32, 50).T
        calm, shaken = (
            decibels(PhaseShiftingHolography(phase_drift=d).project(codes[:1], 50), expected[:1])
            for d in (1e-4, 1e-2)
        )
        assert calm > 60
        assert 20 < shaken < 60

    @pytest.mark.parametrize("retrieval", HOLOGRAPHIES)
    def test_device_without_reference_arm_is_refused(self, retrieval, codes):
        with pytest.raises(NotImplementedError, match=r"no reference arm.*AnchorRetrieval"):
            retrieval(BlackBox()).project(codes, 5)

    def test_pixels_count_against_the_limit(self, codes):
        opu = SimulatedOPU(max_components=40)
        OffAxisHolography(opu).project(codes, 10)
        with pytest.raises(DeviceLimitError):
            OffAxisHolography(opu).project(codes, 11)


class TestAnchors:
    @pytest.mark.parametrize("n_anchors", [2, 3, 4, 7])
    def test_identity_is_exact(self, n_anchors, codes):
        """Oracle: R z in float64, rows turned as documented; 1e-10 of its largest value."""
        retrieval = AnchorRetrieval(ExactIntensities(), n_anchors=n_anchors, anchor_bits=9)
        field = retrieval.project(codes, 60)
        expected = codes @ anchored(32, 60, n_anchors, 9).T
        assert np.abs(field - expected).max() < 1e-10 * np.abs(expected).max()

    def test_black_box_is_enough(self, codes):
        """Oracle: |R z|^2 of the same device, in float32."""
        field = AnchorRetrieval(BlackBox()).project(codes, 60)
        assert field.dtype == np.complex64
        np.testing.assert_allclose(abs(field) ** 2, BlackBox().project(codes, 60), atol=1e-2)

    def test_camera_leaves_15_decibels(self, codes):
        """Oracle: R z turned by the anchors of an exact device."""
        opu = SimulatedOPU(camera=Camera())
        field = AnchorRetrieval(opu).project(codes, 200)
        expected = codes @ anchored(32, 200, 4, 16).T
        # A component whose first or second anchor is weak may be turned; no row of R is lost.
        turn = np.sum(field * expected.conj(), axis=0)
        mirror = np.sum(field * expected, axis=0)
        flipped = abs(mirror) > abs(turn)
        expected[:, flipped] = expected[:, flipped].conj()
        turn[flipped] = mirror[flipped]
        assert decibels(field, expected * np.exp(1j * np.angle(turn))) > 15

    def test_another_device_is_measured_anew(self, codes):
        """Oracle: what a fresh retrieval says of it."""
        retrieval = AnchorRetrieval(SimulatedOPU(0))
        retrieval.project(codes, 10)
        retrieval.set_params(opu=SimulatedOPU(1))
        expected = AnchorRetrieval(SimulatedOPU(1)).project(codes, 10)
        np.testing.assert_array_equal(retrieval.project(codes, 10), expected)

    def test_anchors_are_measured_once(self, codes):
        """Oracle: P + 1 frames a code, and P (P + 1) / 2 averaged ones before the first."""
        retrieval = AnchorRetrieval(n_anchors=3, n_repeats=5)
        retrieval.project(codes, 10)
        assert retrieval.n_passes == 6 * 5 + 4 * 40
        retrieval.project(codes, 10)
        assert retrieval.n_passes == 6 * 5 + 2 * 4 * 40


@pytest.mark.parametrize("retrieval", RETRIEVALS)
class TestAll:
    def test_answers_are_linear_in_the_code(self, retrieval, codes):
        """Oracle: the sum over the single bits, in units of the field's deviation."""
        project = retrieval(SimulatedOPU()).project
        bits = project(np.eye(32, dtype=np.uint8), 20)
        np.testing.assert_allclose(project(codes, 20), codes @ bits, atol=2e-3)

    def test_frames_are_counted_by_both(self, retrieval, codes):
        opu = SimulatedOPU()
        first, second = retrieval(opu), retrieval(opu)
        first.project(codes, 5)
        second.project(codes, 5)
        assert first.n_passes == second.n_passes > 0
        assert opu.n_passes == 2 * first.n_passes

    def test_clone_pickle_and_default_device(self, retrieval, codes):
        expected = retrieval(SimulatedOPU()).project(codes, 5)
        used = retrieval()
        for same in (used, used, clone(used), pickle.loads(pickle.dumps(used))):
            np.testing.assert_array_equal(same.project(codes, 5), expected)
        assert repr(used) == f"{retrieval.__name__}()"

    def test_pickle_goes_on_where_it_was(self, retrieval, codes):
        used = retrieval(SimulatedOPU(camera=Camera(drift=1e-3)))
        used.project(codes, 5)
        restored = pickle.loads(pickle.dumps(used))
        np.testing.assert_array_equal(restored.project(codes, 5), used.project(codes, 5))

    def test_same_seed_same_noise(self, retrieval, codes):
        one, two = (retrieval(SimulatedOPU(camera=Camera())).project(codes, 9) for _ in "ab")
        np.testing.assert_array_equal(one, two)

    def test_zero_codes_and_no_codes(self, retrieval):
        opu = retrieval()
        assert np.abs(opu.project(np.zeros((2, 6)), 4)).max() < 1e-4
        assert opu.project(np.zeros((0, 6)), 4).shape == (0, 4)

    def test_bad_input_is_refused(self, retrieval):
        with pytest.raises(NotBinaryError):
            retrieval().project(np.full((2, 6), 2), 4)
        with pytest.raises(ValueError, match="'opu' parameter"):
            retrieval(3).project(np.ones((2, 6)), 4)


@pytest.mark.parametrize(
    "bad",
    [
        OffAxisHolography(oversampling=1.9),
        OffAxisHolography(reference=0),
        PhaseShiftingHolography(n_steps=2),
        AnchorRetrieval(n_anchors=1),
    ],
    ids=repr,
)
def test_parameters_are_checked(bad):
    with pytest.raises(ValueError, match=f"parameter of {type(bad).__name__} must be"):
        bad.project(np.ones((2, 6)), 4)
