"""Recording a device and replaying the record."""

import pickle

import numpy as np
import pytest
from oracles import Flaky
from sklearn.base import clone
from sklearn.datasets import make_friedman1

from skopu import EndToEndOPURegressor, OPURandomFeatures, SupervisedBinarizer
from skopu.devices import (
    Camera,
    OffAxisHolography,
    PhaseShiftingHolography,
    RecordingOPU,
    ReplayOPU,
    SimulatedOPU,
)
from skopu.exceptions import (
    DeviceFault,
    DeviceLimitError,
    NotRecordedError,
    RecordingError,
    RecordingWarning,
)

X, y = make_friedman1(60, n_features=5, random_state=0)
CODES = np.random.default_rng(0).integers(0, 2, size=(30, 11), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "experiment.skopu"


@pytest.fixture
def recorded(path):
    """A file of three calls on a noisy device, and the device's answers."""
    opu = RecordingOPU(SimulatedOPU(camera=Camera()), path)
    return [opu.project(CODES, 9), opu.project(CODES[:4], 9), opu.project(CODES, 20)]


def test_replay_answers_in_turn(recorded, path):
    """Oracle: the recorded answers; the noise makes each of them different."""
    replay = ReplayOPU(path)
    np.testing.assert_array_equal(replay.project(CODES, 9), recorded[0])
    np.testing.assert_array_equal(replay.project(CODES[:4], 9), recorded[1])
    np.testing.assert_array_equal(replay.project(CODES, 20), recorded[2])
    assert np.abs(recorded[0][:4] - recorded[1]).max() > 0
    # After the last answer comes the first.
    np.testing.assert_array_equal(replay.project(CODES[:4], 9), recorded[0][:4])
    replay.rewind()
    np.testing.assert_array_equal(replay.project(CODES, 9), recorded[0])
    assert replay.n_passes == 30 + 4 + 30 + 4 + 30
    assert clone(replay) is replay


def test_fewer_components_are_the_first_ones(recorded, path):
    np.testing.assert_array_equal(ReplayOPU(path).project(CODES, 15), recorded[2][:, :15])


def test_a_pickled_replay_goes_on(recorded, path):
    replay = ReplayOPU(path)
    replay.project(CODES, 9)
    again = pickle.loads(pickle.dumps(replay))
    np.testing.assert_array_equal(again.project(CODES[:4], 9), recorded[1])


def test_calls_can_be_analysed(recorded, path):
    calls = list(ReplayOPU(path).calls())
    assert len(calls) == 3
    for (codes, frames), expected in zip(calls, recorded):
        np.testing.assert_array_equal(frames, expected)
        np.testing.assert_array_equal(codes, CODES[: len(expected)])


def test_what_was_not_recorded_is_refused(recorded, path):
    replay = ReplayOPU(path)
    other = 1 - CODES[:2]
    with pytest.raises(NotRecordedError, match=r"pass 3: code 3 of the 4 .*9 components") as found:
        replay.project(np.vstack([CODES[:2], other]), 9)
    np.testing.assert_array_equal(found.value.partial, recorded[0][:2])
    with pytest.raises(NotRecordedError, match="never recorded with 21 components"):
        replay.project(CODES, 21)
    with pytest.raises(NotRecordedError, match="of 12 bits set, was never recorded"):
        replay.project(np.hstack([CODES, CODES[:, :1]]), 9)
    with pytest.raises(AttributeError, match="is not known"):
        replay.matrix(11, 9)


@pytest.mark.parametrize("form", [EndToEndOPURegressor, "binarizer and features"])
def test_an_experiment_is_repeated_to_the_last_bit(form, path):
    """Oracle: the recorded experiment."""

    def experiment(opu):
        binarizer = SupervisedBinarizer(
            6, n_components=32, max_iter=5, encoder_penalty=1e-3, opu=opu, random_state=0
        )
        if form is EndToEndOPURegressor:
            return form(binarizer, n_draws=3, random_state=0).fit(X, y).predict(X)
        codes = binarizer.fit(X, y).transform(X)
        return OPURandomFeatures(32, opu=opu).fit(codes).transform(codes)

    recording = RecordingOPU(SimulatedOPU(camera=Camera(), max_bits=6), path)
    expected = experiment(recording)
    replay = ReplayOPU(path)
    np.testing.assert_array_equal(experiment(replay), expected)
    assert replay.n_passes == recording.n_passes
    with pytest.raises(DeviceLimitError, match="ReplayOPU has at most 6 bits"):
        replay.project(np.zeros((1, 7)), 3)


@pytest.mark.parametrize("retrieval", [OffAxisHolography, PhaseShiftingHolography])
def test_interferograms_are_replayed(retrieval, path):
    """Oracle: the recorded fields; another reference is another question."""
    camera = SimulatedOPU(camera=Camera())
    expected = retrieval(RecordingOPU(camera, path), phase_drift=0.1).project(CODES, 5)
    found = retrieval(ReplayOPU(path), phase_drift=0.1).project(CODES, 5)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(NotRecordedError):
        retrieval(ReplayOPU(path), reference=3.0).project(CODES, 5)


class TestFile:
    def test_a_crash_costs_the_last_call_only(self, recorded, path):
        """Oracle: the calls before. Every length of the last block is tried, in steps."""
        whole = path.read_bytes()
        for cut in range(1, 1000, 97):
            path.write_bytes(whole[:-cut])
            with pytest.warns(RecordingWarning, match="3 blocks before it are used"):
                found = ReplayOPU(path).project(CODES, 9)
            np.testing.assert_array_equal(found, recorded[0])
        more = RecordingOPU(SimulatedOPU(), path, append=True)
        with pytest.warns(RecordingWarning):
            answers = more.project(CODES, 40)
        np.testing.assert_array_equal(ReplayOPU(path).project(CODES, 40), answers)

    @pytest.mark.parametrize("position", [0.2, 0.5, 0.9])
    def test_a_change_is_noticed(self, recorded, path, position):
        data = bytearray(path.read_bytes())
        data[int(position * len(data))] ^= 1
        path.write_bytes(data)
        with pytest.raises(RecordingError, match=r"block \d of .* (is not what|cannot be read)"):
            ReplayOPU(path).project(CODES, 9)

    def test_a_missing_block_is_noticed(self, path):
        opu = RecordingOPU(SimulatedOPU(), path)
        sizes = []
        for codes in (CODES[:3], CODES[3:6], CODES[6:9]):
            opu.project(codes, 4)
            sizes.append(path.stat().st_size)
        data = path.read_bytes()
        path.write_bytes(data[: sizes[0]] + data[sizes[1] :])
        with pytest.raises(RecordingError, match="block 2 of"):
            ReplayOPU(path).project(CODES, 4)

    def test_an_existing_file_is_kept(self, recorded, path):
        before = path.read_bytes()
        with pytest.raises(FileExistsError, match="give another path, or append=True"):
            RecordingOPU(SimulatedOPU(), path).project(CODES, 9)
        assert path.read_bytes() == before
        opu = RecordingOPU(SimulatedOPU(), path, append=True)
        answers = opu.project(CODES, 30)
        np.testing.assert_array_equal(ReplayOPU(path).project(CODES, 30), answers)
        np.testing.assert_array_equal(ReplayOPU(path).project(CODES, 9), recorded[0])

    def test_other_files_are_refused(self, path):
        path.write_bytes(b"PK\x03\x04 something else")
        with pytest.raises(RecordingError, match="is not a recording"):
            ReplayOPU(path).project(CODES, 3)
        with pytest.raises(FileNotFoundError):
            ReplayOPU(path.with_name("nowhere")).project(CODES, 3)

    def test_eight_bits_take_little_room(self, path):
        codes = np.random.default_rng(0).integers(0, 2, size=(200, 64))
        RecordingOPU(SimulatedOPU(camera=Camera(bits=8)), path).project(codes, 500)
        assert path.stat().st_size < 2.1 * 200 * 500


def test_an_experiment_with_faults_is_replayed_without(path):
    """Oracle: the result of the fit that was cut short by a fault and completed, with noise."""

    def model(opu):
        binarizer = SupervisedBinarizer(
            6, n_components=32, max_iter=8, encoder_penalty=1e-3, opu=opu, random_state=0
        )
        return EndToEndOPURegressor(binarizer, n_draws=3, random_state=0)

    machine = Flaky(0, dies_at=7)
    machine._matrix = SimulatedOPU(camera=Camera())
    cut = model(RecordingOPU(machine, path))
    with pytest.raises(DeviceFault, match="Flaky failed at pass"):
        cut.fit(X, y)
    machine.repair()
    expected = cut.set_params(warm_start=True).fit(X, y).predict(X)
    found = model(ReplayOPU(path)).fit(X, y).predict(X)
    np.testing.assert_array_equal(found, expected)


def test_recording_is_one_object(path):
    opu = RecordingOPU("simulated", path)
    assert clone(opu) is opu
    assert not opu.known_matrix
    with pytest.raises(TypeError, match=r"cannot be pickled.*ReplayOPU"):
        pickle.dumps(opu)
    with pytest.raises(AttributeError, match="is not known"):
        opu.matrix(3, 4)
    with pytest.raises(ValueError, match="'path' parameter of RecordingOPU"):
        RecordingOPU().project(CODES, 3)
