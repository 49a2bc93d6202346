"""The adapter of LightOn's machines, on the vendor's simulated device and on a recording fake.

What needs the vendor's library is skipped without it; the README's test command installs it.
"""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.pipeline import Pipeline

from skopu import EndToEndOPURegressor, OPUKernelRidge, OPURandomFeatures, SupervisedBinarizer
from skopu.devices import Camera, LightOnOPU, RecordingOPU, ReplayOPU, SimulatedOPU
from skopu.exceptions import (
    CameraWarning,
    DeviceFault,
    DeviceLimitError,
    NotBinaryError,
    PassBudgetError,
)

N_BITS, N_COMPONENTS = 13, 96
CODES = np.random.default_rng(0).integers(0, 2, size=(40, 10), dtype=np.uint8)


@pytest.fixture(scope="module")
def vendor():
    """Modules of lightonml; their import warns of what they use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = "needs lightonml: pip install --no-deps lightonml==1.4.3"
        opu = pytest.importorskip("lightonml.opu", reason=reason, exc_type=ImportError)
    return opu


def vendor_opu(vendor, n_bits=N_BITS, n_components=N_COMPONENTS, seed=5):
    device = vendor.SimulatedOpuDevice()
    device.build_random_matrix(n_bits, n_components, seed)
    return vendor.OPU(n_components=n_components, opu_device=device, max_n_features=n_bits)


class TestVendorsSimulation:
    @pytest.mark.parametrize("n_bits", [1, 8, 10, 13])
    @pytest.mark.parametrize("n_components", [1, 96])
    def test_features_are_those_of_its_matrix(self, vendor, n_bits, n_components):
        """Oracle: |XR|^2 in float64 of the vendor's own matrix, after rescaling, to 1e-5."""
        theirs = vendor_opu(vendor)
        opu = LightOnOPU(theirs)
        codes = np.vstack([CODES, np.zeros((1, 10), np.uint8)])[:, [*range(10), 0, 1, 2][:n_bits]]
        R = theirs.device.random_matrix[:n_bits, :n_components].astype(np.complex128)
        expected = np.abs(codes @ R) ** 2
        found = opu.project(codes, n_components) * opu.gain_
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_gain_is_that_of_its_matrix(self, vendor):
        """Oracle: E|R|^2 = 2/k in the vendor's convention, as a mean over 13 x 4000 entries.

        64 codes weigh columns unequally: 4 standard errors of 1/sqrt(4000) each, and no false
        alarm since the seeds are fixed.
        """
        opu = LightOnOPU(vendor_opu(vendor, n_components=4000))
        intensities = opu.project(CODES, 4000)
        assert opu.gain_ == pytest.approx(2 / N_BITS, rel=0.05)
        assert intensities.mean() == pytest.approx(CODES.sum(1).mean(), rel=0.05)
        assert opu.n_passes == 64 + 40

    def test_given_gain_takes_no_pass(self, vendor):
        theirs = vendor_opu(vendor)
        opu = LightOnOPU(theirs, gain=2 / N_BITS)
        R = theirs.device.random_matrix * np.sqrt(N_BITS / 2)
        expected = np.abs(CODES @ R[:10]) ** 2
        np.testing.assert_allclose(opu.project(CODES, N_COMPONENTS), expected, rtol=1e-5)
        assert opu.n_passes == 40

    def test_opened_and_closed_by_the_adapter(self, vendor):
        opu = LightOnOPU(n_bits=8, n_components=30, simulated=True)
        with opu as same:
            assert same is opu
            assert opu.project(CODES[:, :8], 30).shape == (40, 30)
            theirs = opu._opened
            assert theirs.device.active
        assert not theirs.device.active
        with pytest.raises(DeviceFault, match="LightOnOPU at pass 105 is not open: use it inside"):
            opu.project(CODES, 3)

    def test_given_object_is_opened_for_a_while(self, vendor):
        theirs = vendor_opu(vendor)
        theirs.close()
        opu = LightOnOPU(theirs)
        with pytest.raises(DeviceFault, match="LightOnOPU at pass 1 is closed: call open"):
            opu.project(CODES, 3)
        with opu:
            opu.project(CODES, 3)
        assert not theirs.device.active

    def test_another_fit_is_noticed(self, vendor):
        """The vendor's fit would change the matrix without a word."""
        theirs = vendor_opu(vendor)
        opu = LightOnOPU(theirs)
        opu.project(CODES, 3)
        theirs.fit1d(n_features=9)
        with pytest.raises(DeviceFault, match="pass 105 has another matrix now"):
            opu.project(CODES, 3)


X, y = make_friedman1(60, n_features=5, random_state=0)


def experiments(opu):
    """The pipeline and the end-to-end estimator, as they are, on a device."""
    binarizer = SupervisedBinarizer(
        10, n_components=95, max_iter=80, encoder_penalty=1e-3, opu=opu, random_state=0
    )
    steps = [("b", binarizer), ("f", OPURandomFeatures(96, opu=opu)), ("r", OPUKernelRidge("loo"))]
    return [
        Pipeline(steps).fit(X, y).predict(X),
        EndToEndOPURegressor(clone(binarizer), n_draws=3, random_state=0).fit(X, y).predict(X),
    ]


@pytest.mark.parametrize("kind", ["simulated", "lighton", "camera", "replay"])
def test_the_same_pipeline_runs_on(kind, request, tmp_path):
    """Oracle: the error of the mean is 1; for the replay, what was recorded."""
    path = tmp_path / "experiment.skopu"
    if kind == "lighton":
        opu = LightOnOPU(vendor_opu(request.getfixturevalue("vendor")))
    elif kind == "replay":
        expected = experiments(RecordingOPU(SimulatedOPU(camera=Camera(bits=8)), path))
        opu = ReplayOPU(path)
    else:
        opu = SimulatedOPU(camera=Camera(bits=8) if kind == "camera" else None)
    found = experiments(opu)
    for predictions in found:
        assert np.mean((predictions - y) ** 2) < 0.6 * np.var(y)
    if kind == "replay":
        np.testing.assert_array_equal(found, expected)


class FakeOPU:
    """What a machine of the vendor does: 8-bit counts of an unknown gain, and a log of calls."""

    max_n_features, n_components = 1000, 64

    def __init__(self, gain=3.0, faults=()):
        self.device = SimpleNamespace(active=True, output_dtype=np.uint8)
        self.gain, self.faults, self.log = gain, list(faults), []

    def fit1d(self, n_features):
        self._runner = object()
        self.log.append(("fit1d", n_features))
        self.matrix = SimulatedOPU(n_features)  # a new layout is a new matrix

    def transform(self, X):
        self.log.append(("transform", X.shape, X.dtype.name))
        assert X.shape[1] == self.log[0][1]
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        light = self.gain * self.matrix.project(X, self.n_components)
        counts = np.clip(np.rint(light), 0, 255).astype(np.uint8)
        return counts if fault is None else fault(counts)


class TestMachine:
    """Oracle: the fake's log and gain."""

    def test_one_layout_for_life(self):
        fake = FakeOPU()
        opu = LightOnOPU(fake)
        opu.project(CODES, 64)
        opu.project(CODES[:, :3], 10)
        opu.project(CODES, 20)
        assert [entry for entry in fake.log if entry[0] == "fit1d"] == [("fit1d", 10)]
        assert {entry[1][1] for entry in fake.log[1:]} == {10}
        assert {entry[2] for entry in fake.log[1:]} == {"uint8"}
        with pytest.raises(DeviceLimitError, match="LightOnOPU has at most 10 bits"):
            opu.project(np.zeros((1, 11)), 4)
        with pytest.raises(DeviceLimitError, match="LightOnOPU has at most 64 components"):
            opu.project(CODES, 65)
        assert clone(opu) is opu

    def test_layout_for_more_bits(self):
        fake = FakeOPU()
        opu = LightOnOPU(fake, n_bits=21)
        assert opu.max_bits == 21
        few = opu.project(CODES, 64)
        longer = np.hstack([CODES, np.zeros((40, 5), np.uint8)])
        np.testing.assert_array_equal(opu.project(longer, 64), few)
        assert fake.log[0] == ("fit1d", 21)

    def test_gain_is_measured_once(self):
        opu = LightOnOPU(FakeOPU(gain=3.0))
        first = opu.project(CODES, 64)
        gain = opu.gain_
        assert gain == pytest.approx(3.0, rel=0.15)
        assert opu.project(CODES[:1], 64) == pytest.approx(first[:1])
        assert opu.gain_ == gain
        assert opu.n_passes == 64 + 40 + 1
        assert first.mean() == pytest.approx(CODES.sum(1).mean(), rel=0.15)

    def test_nothing_is_opened_by_a_constructor(self, monkeypatch):
        import builtins

        monkeypatch.setattr(builtins, "__import__", None)
        LightOnOPU(n_bits=3, simulated=True)

    def test_without_the_library(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "lightonml.opu", None)
        with pytest.raises(ImportError, match="pip install --no-deps lightonml"):
            LightOnOPU().__enter__()

    def test_codes_are_checked_here(self):
        fake = FakeOPU()
        with pytest.raises(NotBinaryError):
            LightOnOPU(fake).project(np.full((2, 3), 0.5), 4)
        assert fake.log == []

    def test_pickle_is_refused(self):
        with pytest.raises(TypeError, match="a LightOnOPU stands for a machine and cannot be pi"):
            pickle.dumps(LightOnOPU(FakeOPU()))

    @pytest.mark.parametrize(
        "fault",
        [
            RuntimeError("camera timeout"),
            AssertionError(),
            lambda counts: counts[1:],
            lambda counts: counts[:, 1:],
            np.zeros_like,
            lambda counts: np.full_like(counts, 255),
        ],
        ids=["timeout", "assertion", "dropped", "narrow", "dark", "saturated"],
    )
    @pytest.mark.parametrize("when", ["gain", "codes"])
    def test_faults(self, fault, when):
        """Oracle: the machine without faults. One fault is tried again, many are an error."""
        expected = LightOnOPU(FakeOPU()).project(CODES, 64)
        before = [None] * (when == "codes")
        opu = LightOnOPU(FakeOPU(faults=[*before, fault, fault]), retry_wait=0)
        np.testing.assert_array_equal(opu.project(CODES, 64), expected)
        opu = LightOnOPU(FakeOPU(faults=[*before, *[fault] * 4]), retry_wait=0)
        n_pass = 65 if when == "codes" else 1
        with pytest.raises(DeviceFault, match=f"LightOnOPU failed at pass {n_pass} .*4 times"):
            opu.project(CODES, 64)
        # It is whole again.
        np.testing.assert_array_equal(opu.project(CODES, 64), expected)

    def test_faint_codes_are_no_fault(self):
        """Oracle: a code of one bit, a hundredth of a count a bit."""
        opu = LightOnOPU(FakeOPU(gain=0.01), gain=0.01)
        assert not opu.project(np.eye(3), 64).any()

    def test_too_much_light_is_said(self):
        with pytest.warns(CameraWarning, match="pixels of random codes read full scale"):
            LightOnOPU(FakeOPU(gain=30)).project(CODES, 64)

    def test_device_lost_in_the_middle_of_a_fit(self):
        """Oracle: the fit on a machine that is not lost."""
        fits = []
        for dies in (False, True):
            fake = FakeOPU()
            opu = LightOnOPU(fake, gain=3.0, retry_wait=0)
            model = SupervisedBinarizer(
                6, n_components=40, max_iter=9, encoder_penalty=1e-3, opu=opu, random_state=0
            )
            if dies:
                opu.project(CODES[:, :6], 40)
                fake.faults = [None] * 4 + [lambda c, f=fake: vars(f.device).update(active=False)]
                with pytest.raises(
                    DeviceFault, match=r"LightOnOPU (at pass .* is closed|failed at)"
                ):
                    model.fit(X, y)
                fake.device.active = True
                model.set_params(warm_start=True)
            fits.append(model.fit(X, y))
        np.testing.assert_array_equal(fits[1].coef_, fits[0].coef_)

    def test_batches_and_budget(self):
        fake = FakeOPU()
        opu = LightOnOPU(fake, gain=3.0, max_batch=16, max_passes=50)
        opu.project(CODES, 64)
        assert [entry[1][0] for entry in fake.log[1:]] == [16, 16, 8]
        with pytest.raises(PassBudgetError, match="LightOnOPU has 10 of max_passes=50 left"):
            opu.project(CODES, 64)
        with pytest.raises(PassBudgetError):
            LightOnOPU(fake, max_passes=63).project(CODES[:1], 64)
        with pytest.raises(ValueError, match="'timeout' parameter of LightOnOPU"):
            LightOnOPU(fake, timeout=-1).project(CODES, 64)
