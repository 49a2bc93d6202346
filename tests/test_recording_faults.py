"""Recordings when something fails: nothing recorded before is lost, nothing refused is replayed."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib
from functools import partial

import numpy as np
import pytest
from laboratory import Driver, ctrl_c_after, disk_of, killed_after

from skopu.devices import Camera, GuardedOPU, RecordingOPU, ReplayOPU, SimulatedOPU
from skopu.devices.frame_file import _MAGIC, _checksum, begin, digest_of
from skopu.exceptions import DeviceFault, RecordingError, RecordingWarning

RNG = np.random.default_rng(0)
CALLS = [RNG.integers(0, 2, size=(20, 14), dtype=np.uint8) for _ in range(8)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "experiment.skopu"


def check(path, answers):
    """The file answers each of these calls as it was answered; given as {number: answer}."""
    replay = ReplayOPU(path)
    for number, answer in answers.items():
        np.testing.assert_array_equal(replay.project(CALLS[number], answer.shape[1]), answer)


class TestDisk:
    @pytest.mark.parametrize("seed", range(10))
    def test_a_full_disk_costs_its_own_call_only(self, seed, path):
        """Oracle: the answers before and after. The limit cuts the block anywhere."""
        opu = RecordingOPU(SimulatedOPU(camera=Camera()), path)
        answers = {0: opu.project(CALLS[0], 300)}
        room = int(np.random.default_rng(seed).integers(1, 5000))
        with disk_of(path.stat().st_size + room), pytest.raises(DeviceFault, match="too large"):
            opu.project(CALLS[1], 300)
        check(path, answers)
        answers[2] = opu.project(CALLS[2], 300)  # there is room again
        check(path, answers)
        assert len(list(ReplayOPU(path).calls())) == 2

    def test_no_room_for_the_file(self, path):
        with disk_of(10), pytest.raises(OSError, match="too large"):
            RecordingOPU("simulated", path).project(CALLS[0], 5)
        with pytest.raises(RecordingError, match="breaks off before its first block"):
            ReplayOPU(path).project(CALLS[0], 5)
        opu = RecordingOPU("simulated", path, append=True)
        check(path, {0: opu.project(CALLS[0], 5)})

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

    @pytest.mark.parametrize("seed", range(40))
    def test_a_torn_write(self, seed, path):
        """Oracle: the calls before. The tail is cut, or has room but no data (a power cut)."""
        rng = np.random.default_rng(seed)
        opu = RecordingOPU("simulated", path)
        answers, sizes = {}, []
        for number in range(3):
            answers[number] = opu.project(CALLS[number], 50)
            sizes.append(path.stat().st_size)
        opu.close()
        data = path.read_bytes()
        cut = int(rng.integers(sizes[1] + 1, sizes[2] - 32))
        data = data[:cut] + bytes((sizes[2] - cut) * (seed % 2))
        path.write_bytes(data)
        del answers[2]
        with pytest.warns(RecordingWarning, match="the 3 blocks before it are used"):
            check(path, answers)
        opu = RecordingOPU("simulated", path, append=True)
        with pytest.warns(RecordingWarning):
            answers[3] = opu.project(CALLS[3], 50)
        check(path, answers)


class TestSignals:
    def test_ctrl_c_at_random_times(self, path):
        """Oracle: the calls that came back, in their order, whole, on a noisy device.

        At most one in twenty of the others is there too: the signal came after it was written
        down, and before the caller had it in hand.
        """
        rng = np.random.default_rng(1)
        opu = RecordingOPU(SimulatedOPU(camera=Camera()), path)
        opu.project(CALLS[0][:1], 3)
        answers, n_cut = [], 0
        for _ in range(60):
            call = partial(opu.project, CALLS[int(rng.integers(len(CALLS)))], 300)
            answer, came = ctrl_c_after(float(rng.uniform(1e-4, 4e-3)), call)
            answers += [] if came else [answer]
            n_cut += came
        assert 1 < n_cut < 60
        recorded = [frames for _, frames in ReplayOPU(path).calls()][1:]
        rest = iter(recorded)
        for answer in answers:
            assert any(np.array_equal(frames, answer) for frames in rest)
        assert len(recorded) - len(answers) <= 3

    @pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.05])
    def test_kill_9(self, seconds, path):
        """Oracle: the numbers of the calls that came back, printed by the process itself."""
        script = """
import sys, numpy as np
from skopu.devices import RecordingOPU, SimulatedOPU
opu = RecordingOPU(SimulatedOPU(0), sys.argv[1])
for number in range(100000):
    codes = np.unpackbits(np.array([[number >> 8, number & 255]], dtype=np.uint8), axis=1)
    opu.project(codes, 2000)
    print(number, flush=True)
"""
        lines = killed_after(seconds, script, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecordingWarning)
            replay = ReplayOPU(path)
            for number in map(int, lines):
                bits = np.array([[number >> 8, number & 255]], dtype=np.uint8)
                codes = np.unpackbits(bits, axis=1)
                expected = SimulatedOPU(0).project(codes, 2000)
                np.testing.assert_array_equal(replay.project(codes, 2000), expected)
            # The lock went with the process.
            more = RecordingOPU("simulated", path, append=True)
            answers = {0: more.project(CALLS[0], 30)}
        check(path, answers)


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


def test_damage_is_refused_or_harmless(path):
    """Oracle: the answers. Any byte is changed, cut out, or doubled; 300 files."""
    opu = RecordingOPU("simulated", path)
    answers = {number: opu.project(CALLS[number], 30) for number in range(3)}
    opu.close()
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        data, where = bytearray(whole), int(rng.integers(len(whole)))
        kind = rng.integers(3)
        if kind == 0:
            data[where] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[where : where + int(rng.integers(1, 9))]
        else:
            data[where:where] = data[where : where + 5]
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecordingWarning)
            for number, answer in answers.items():
                try:
                    found = ReplayOPU(path).project(CALLS[number], 30)
                except (RecordingError, DeviceFault):
                    n_refused += 1
                else:
                    np.testing.assert_array_equal(found, answer)
    assert n_refused > 800
