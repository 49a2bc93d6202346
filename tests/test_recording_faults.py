"""Recordings when something fails: nothing recorded before is lost, nothing refused is replayed.

What is drawn at random is a battery of the fault laboratory, where its oracle is stated.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from batteries import (
    CALLS,
    recordings_damaged,
    recordings_interrupted,
    recordings_killed,
    recordings_on_a_full_disk,
    recordings_torn,
)
from laboratory import Driver, disk_of

from skopu.devices import Camera, GuardedOPU, RecordingOPU, ReplayOPU, SimulatedOPU
from skopu.devices.frame_file import _MAGIC, _checksum, begin, digest_of
from skopu.exceptions import DeviceFault, RecordingError, RecordingWarning


@pytest.fixture
def path(tmp_path):
    return tmp_path / "experiment.skopu"


def check(path, answers):
    """The file answers each of these calls as it was answered; given as {number: answer}."""
    replay = ReplayOPU(path)
    for number, answer in answers.items():
        np.testing.assert_array_equal(replay.project(CALLS[number], answer.shape[1]), answer)


class TestDisk:
    @pytest.mark.parametrize("seed", range(4))
    def test_a_full_disk_costs_its_own_call_only(self, seed):
        assert recordings_on_a_full_disk(np.random.default_rng(seed)) > 0

    def test_no_room_for_the_file(self, path):
        with disk_of(10), pytest.raises(OSError, match="too large"):
            RecordingOPU("simulated", path).project(CALLS[0], 5)
        with pytest.raises(RecordingError, match="breaks off before its first block"):
            ReplayOPU(path).project(CALLS[0], 5)
        opu = RecordingOPU("simulated", path, append=True)
        check(path, {0: opu.project(CALLS[0], 5)})

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
    def test_a_file_that_is_removed_stops_the_next_call(self, path):
        """Oracle: the disk, where later calls would be nowhere. One that is moved goes on."""
        opu = RecordingOPU("simulated", path)
        calls = {0: opu.project(CALLS[0], 5)}
        path.rename(moved := path.with_name("moved"))
        check(moved, {**calls, 1: opu.project(CALLS[1], 5)})
        moved.unlink()
        with pytest.raises(DeviceFault, match="has been removed"):
            opu.project(CALLS[2], 5)

    @pytest.mark.parametrize("cut", [1, 7, 17, 18, 19, 40, 200])
    def test_a_crash_in_the_first_block(self, path, cut):
        """Oracle: the file can be begun again; what it is is never guessed."""
        RecordingOPU("simulated", path).project(CALLS[0], 5)
        path.write_bytes(path.read_bytes()[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecordingWarning)
            opu = RecordingOPU("simulated", path, append=True)
            answers = {0: opu.project(CALLS[0], 5)}
        check(path, answers)
        assert ReplayOPU(path)._reader().facts["device"] == "SimulatedOPU"

    @pytest.mark.parametrize("seed", range(10))
    def test_a_torn_write(self, seed):
        assert recordings_torn(np.random.default_rng(seed)) > 0


class TestSignals:
    # A signal that comes in a callback of the garbage collector is reported, and raised no further.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("seed", range(4))
    def test_ctrl_c_at_random_times(self, seed):
        assert recordings_interrupted(np.random.default_rng(seed)) > 0

    @pytest.mark.parametrize("seed", range(2))
    def test_kill_9(self, seed):
        assert recordings_killed(np.random.default_rng(seed)) > 0


class TestWriters:
    def test_a_second_one_is_refused(self, path):
        """Oracle: the first one's answers. Also from another process."""
        first = RecordingOPU("simulated", path)
        answers = {0: first.project(CALLS[0], 30)}
        second = RecordingOPU("simulated", path, append=True)
        with pytest.raises(OSError, match=r"written by another RecordingOPU: close\(\) that one"):
            second.project(CALLS[1], 30)
        script = (
            "import sys, numpy as np; from skopu.devices import RecordingOPU;"
            "RecordingOPU('simulated', sys.argv[1], append=True).project(np.eye(3), 4)"
        )
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
        assert "is being written by another RecordingOPU" in done.stderr
        answers[2] = first.project(CALLS[2], 30)
        first.close()
        answers[1] = second.project(CALLS[1], 30)
        check(path, answers)

    def test_a_copy_of_the_process_is_refused(self, path):
        opu = RecordingOPU("simulated", path)
        answers = {0: opu.project(CALLS[0], 30)}
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=_project, args=(opu, queue))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads and fork
            process.start()
        message = queue.get()
        process.join()
        assert "is written by another process" in message
        answers[2] = opu.project(CALLS[2], 30)
        check(path, answers)

    def test_another_folder(self, path, monkeypatch):
        """Oracle: one file, where the first call was made."""
        monkeypatch.chdir(path.parent)
        opu = RecordingOPU("simulated", path.name)
        answers = {0: opu.project(CALLS[0], 30)}
        replay = ReplayOPU(path.name)
        replay.project(CALLS[0], 30)
        (path.parent / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        answers[1] = opu.project(CALLS[1], 30)
        check(path, answers)
        assert not os.listdir()
        np.testing.assert_array_equal(replay.project(CALLS[0], 30), answers[0])


def _project(opu, queue):
    try:
        opu.project(CALLS[1], 30)
    except Exception as error:
        queue.put(str(error))
    else:
        queue.put("written")


class Noisy(Driver):
    """A camera with noise, some of whose frames are bad, or late."""

    def __init__(self, bad=(), late=()):
        super().__init__("plain")
        self.bad, self.late = bad, late
        self.camera = SimulatedOPU(camera=Camera())
        self.checks_frames, self.n_retries = False, 0

    def _project(self, codes, n_components):
        self.n_calls += 1
        frames = self.camera.project(codes, n_components)
        if self.n_calls in self.bad:
            frames[len(frames) // 2] = np.nan
        if self.n_calls in self.late:
            time.sleep(0.3)
        return frames


class TestGuard:
    """Oracle throughout: what the guard delivered."""

    @pytest.mark.parametrize("max_batch", [None, 7])
    def test_refused_frames_are_not_answers(self, max_batch, path):
        recording = RecordingOPU(Noisy(bad=(1, 2, 4, 7)), path)
        opu = GuardedOPU(recording, max_batch=max_batch, retry_wait=0)
        answers = [opu.project(codes, 40) for codes in CALLS[:3] + CALLS[:3]]
        replay = ReplayOPU(path)
        for codes, answer in zip(CALLS[:3] + CALLS[:3], answers, strict=True):
            np.testing.assert_array_equal(replay.project(codes, 40), answer)

    def test_nor_are_late_ones(self, path):
        opu = GuardedOPU(RecordingOPU(Noisy(late=(2,)), path), timeout=0.1, retry_wait=0.3)
        answers = [opu.project(codes, 40) for codes in (CALLS[0], CALLS[1], CALLS[1])]
        replay = ReplayOPU(path)
        for codes, answer in zip((CALLS[0], CALLS[1], CALLS[1]), answers, strict=True):
            np.testing.assert_array_equal(replay.project(codes, 40), answer)
        assert opu.opu.opu.n_calls == 4

    def test_nor_is_the_beginning_of_a_call_that_failed(self, path):
        """The call is made again, and so is its replay."""
        recording = RecordingOPU(Noisy(bad=(2, 3)), path)
        opu = GuardedOPU(recording, max_batch=7, n_retries=1, retry_wait=0)
        with pytest.raises(DeviceFault, match="code 8 of the 20"):
            opu.project(CALLS[0], 40)
        answer = opu.project(CALLS[0], 40)
        np.testing.assert_array_equal(ReplayOPU(path).project(CALLS[0], 40), answer)

    def test_two_recordings_one_around_the_other(self, path):
        inner = RecordingOPU(Noisy(bad=(1,)), path.with_name("inner"))
        opu = GuardedOPU(RecordingOPU(inner, path), retry_wait=0)
        answer = opu.project(CALLS[0], 40)
        for file in (path, path.with_name("inner")):
            np.testing.assert_array_equal(ReplayOPU(file).project(CALLS[0], 40), answer)

    def test_a_recording_of_the_structured_medium(self, path):
        device = SimulatedOPU(medium="structured")
        answer = RecordingOPU(device, path).project(CALLS[0], 200)
        assert answer.min() < -0.3
        found = GuardedOPU(ReplayOPU(path)).project(CALLS[0], 200)
        np.testing.assert_array_equal(found, answer)


def crafted(payloads, before="", **fields):
    """A block whose checksum is right and whose fields need not be."""
    data = [zlib.compress(payload) for payload in payloads]
    header = {
        "shape": [1, 1],
        "dtype": "float32",
        "n_bits": 8,
        "sizes": [len(part) for part in data],
        "facts": {},
        "before": before,
        **fields,
    }
    payload = b"".join(data)
    header["sha256"] = _checksum(header, payload)
    return json.dumps(header).encode() + b"\n" + payload


GOOD = (bytes(16), bytes(1), bytes(4))
CRAFTED = {
    "rows without digests": crafted(GOOD, shape=[2 * 10**6, 1]),
    "many rows": crafted((b"", b"", b""), shape=[10**9, 0], n_bits=0),
    "wide frames": crafted(GOOD, shape=[1, 10**12]),
    "wide codes": crafted(GOOD, n_bits=10**12),
    "no rows of some width": crafted((b"", b"", b""), shape=[0, 10**18]),
    "text for a shape": crafted(GOOD, shape="ab"),
    "truth for a shape": crafted(GOOD, shape=[True, 1]),
    "a fraction": crafted(GOOD, shape=[1.0, 1]),
    "negative": crafted(GOOD, shape=[-1, -1]),
    "three axes": crafted(GOOD, shape=[1, 1, 1]),
    "huge sizes": crafted(GOOD, sizes=[2**70, 0, 0]),
    "sizes beyond the file": crafted(GOOD, sizes=[2**45, 0, 0]),
    "facts that are a list": crafted(GOOD, facts=[1]),
    "limits that are text": crafted(GOOD, facts={"max_bits": "many"}),
    "a floor that is text": crafted(GOOD, facts={"floor": "low"}),
    "objects": crafted(GOOD, dtype="object"),
    "a list of types": crafted(GOOD, dtype=["float32"]),
    "a field more": crafted(GOOD, more=1),
    "digests that go on": crafted((bytes(10**6), bytes(1), bytes(4))),
    "deep": b"[" * 4000 + b"\n",
    "no JSON": b"{]\n",
    "a number": b"1\n",
    "nothing": b"null\n",
    "no text": b"\xff\xfe\n",
}


@pytest.fixture
def at_once():
    """Refused within half a second and a megabyte, by the clock and by Python's allocators."""
    tracemalloc.start()
    start = time.process_time()
    yield
    assert time.process_time() - start < 0.5
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_is_refused_at_once(name, path, at_once):
    path.write_bytes(_MAGIC + CRAFTED[name])
    with pytest.raises(RecordingError):
        ReplayOPU(path).project(np.zeros((1, 8)), 1)


def test_a_crafted_frame_is_refused_at_once(path, at_once):
    """A code that was asked for, and a frame of 10 MB in the place of 4 bytes."""
    code = np.zeros(8, dtype=np.uint8)
    first, chain = begin({})
    block = crafted((digest_of(code, 1), bytes(1), bytes(10**7)), before=chain)
    path.write_bytes(first + block)
    tracemalloc.reset_peak()
    for use in (lambda opu: opu.project(code[None], 1), lambda opu: list(opu.calls())):
        with pytest.raises(RecordingError, match=r"block 1 of .* cannot be read: not 4 bytes"):
            use(ReplayOPU(path))


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_refused_or_harmless(seed):
    assert recordings_damaged(np.random.default_rng(seed)) > 0
