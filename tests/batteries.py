"""Batteries of the fault laboratory: a few tries each, drawn by a generator of random numbers.

A battery makes something fail, compares with what did not, and returns how often it tried. The
suite runs each with a few seeds; ``python benchmarks/faults.py`` for as long as it is told.
"""

import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import numpy as np
from laboratory import (
    DRIVERS,
    Driver,
    InnerCalls,
    Lines,
    choose_calls,
    ctrl_c_after,
    disk_of,
    killed_after,
)
from oracles import BlackBox, Flaky
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import NotFittedError

from skopu import (
    AutoencoderBinarizer,
    BinaryAutoencoder,
    BinaryMLPClassifier,
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    DFABinarizer,
    DFAClassifier,
    DFARegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    NeuralDNFClassifier,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
    ThermometerBinarizer,
    TreeBinarizer,
)
from skopu.devices import (
    Calibration,
    Camera,
    GuardedOPU,
    RecordingOPU,
    ReplayOPU,
    SimulatedOPU,
)
from skopu.exceptions import (
    DeviceFault,
    InterruptedFitWarning,
    NotRecordedError,
    RecordingError,
    RecordingWarning,
)

X, y = make_friedman1(48, n_features=5, random_state=0)
X -= 0.5
# Of other sizes, values and classes: what a mixture of both fits would show.
X2, y2 = 3 * X[:40, :4] + 0.1, 1000 * y[:40] + 5
BINARIZER = SupervisedBinarizer(6, n_components=32, max_iter=3, encoder_penalty=1e-3)
MODELS = {
    "SupervisedBinarizer": BINARIZER,
    "of a chosen penalty": SupervisedBinarizer(6, n_components=32, max_iter=3),
    "stopped early": clone(BINARIZER).set_params(early_stopping=True, gradient="quadratic"),
    "exact": clone(BINARIZER).set_params(gradient="exact", start="thresholds"),
    "of weighed columns": clone(BINARIZER).set_params(scaler="relevance"),
    "BinaryMLPClassifier": BinaryMLPClassifier((8,), max_iter=2),
    "BinaryAutoencoder": BinaryAutoencoder(4, max_iter=2),
    "DFABinarizer": DFABinarizer(6, n_components=32, max_iter=2),
    "DFAClassifier": DFAClassifier((8,), max_iter=2),
    "DFARegressor": DFARegressor((8,), max_iter=2),
    "NeuralDNFClassifier": NeuralDNFClassifier(3, max_iter=3),
    "OPURandomFeatures": OPURandomFeatures(32),
    "of a learned gamma": OPURandomFeatures(32, gamma="learn"),
    "HyperplaneBinarizer": HyperplaneBinarizer(8),
    "ThermometerBinarizer": ThermometerBinarizer(4),
    "TreeBinarizer": TreeBinarizer(n_estimators=3),
    "of leaves": TreeBinarizer(8, kind="leaves", n_estimators=2),
    "AutoencoderBinarizer": AutoencoderBinarizer(6, max_iter=2),
    "OPUKernelRidge": OPUKernelRidge(n_components=32, binarizer=BINARIZER),
    "of hyperplanes": OPUKernelRidge(n_components=32, binarizer=HyperplaneBinarizer(8)),
    "rbf": OPUKernelRidge(kernel="rbf", compute_std=True),
    "OPUKernelRidgeClassifier": OPUKernelRidgeClassifier(n_components=32, binarizer=BINARIZER),
    "CrossFittedOPURegressor": CrossFittedOPURegressor(6, cv=2, max_iter=3),
    "CrossFittedOPUClassifier": CrossFittedOPUClassifier(6, cv=2, max_iter=3),
    "of trees": CrossFittedOPURegressor(6, cv=2, max_iter=3, trees=True),
    "an ensemble of weighed columns": CrossFittedOPURegressor(
        6, cv=2, max_iter=3, scaler="relevance"
    ),
    "through a device": CrossFittedOPURegressor(
        6, cv=2, max_iter=3, prediction="draws", n_components=32, n_codes=2, n_draws=2
    ),
    "EndToEndOPURegressor": EndToEndOPURegressor(BINARIZER, n_draws=2),
    "of a mean": EndToEndOPURegressor(BINARIZER, prediction="mean"),
    "EndToEnd of chosen draws": EndToEndOPURegressor(BINARIZER, n_draws="auto"),
    "EndToEndOPUClassifier": EndToEndOPUClassifier(BINARIZER, n_draws=2),
}
METHODS = ("predict", "predict_proba", "decision_function", "transform", "bit_probabilities")
METHODS += ("predict_interval", "predict_set")
# Longer, for signals to come in the middle.
LONG = clone(BINARIZER).set_params(max_iter=40, batch_size=16, n_components=64)
WARM = {
    "SupervisedBinarizer": LONG,
    "exact": clone(LONG).set_params(gradient="exact"),
    "quadratic": clone(LONG).set_params(gradient="quadratic"),
    "binary weights": clone(LONG).set_params(weights="binary", opu=BlackBox()),
    "stopped early": clone(LONG).set_params(early_stopping=True),
    "EndToEndOPURegressor": EndToEndOPURegressor(clone(LONG).set_params(opu=BlackBox()), n_draws=2),
    "EndToEndOPUClassifier": EndToEndOPUClassifier(LONG, prediction="threshold"),
    "EndToEnd of chosen draws": EndToEndOPURegressor(LONG, n_draws="auto"),
}
ON_A_MACHINE = {
    name: WARM[name] for name in ("SupervisedBinarizer", "quadratic", "EndToEndOPURegressor")
}
# Frames of fewer than 32 pixels may be alike by chance: that one repeats another is not looked for.
ON_A_MACHINE["through a device"] = clone(MODELS["through a device"]).set_params(n_components=40)


def fresh(model):
    """A copy with seeds."""
    model = clone(model)
    seeds = [key for key in model.get_params() if key.endswith("random_state")]
    return model.set_params(**dict.fromkeys(seeds, 0))


def data(model, again=False):
    """Rows and the targets that suit a model; others, if it is fitted again."""
    rows, targets = (X2, y2) if again else (X, y)
    if "Classifier" in type(model).__name__:
        names = ("c", "d") if again else ("b", "a")
        return rows, np.where(targets > np.median(targets), *names)
    return rows, targets


def outcome(model, rows):
    """All that a model has to say, by method; None for what a model without a fit says."""
    found = {}
    for method in filter(partial(hasattr, model), METHODS):
        try:
            found[method] = np.asarray(getattr(model, method)(rows))
        except NotFittedError:
            found[method] = None
    return found


def check_same(found, expected, where, tolerance=0.0):
    """Compare two outcomes: to the bit, unless floats are given a relative tolerance."""
    assert found.keys() == expected.keys(), where
    for method in expected:
        pair, message = (found[method], expected[method]), f"{where}: {method}"
        if tolerance and np.asarray(pair[1]).dtype.kind == "f":
            np.testing.assert_allclose(*pair, rtol=tolerance, atol=tolerance, err_msg=message)
        else:
            np.testing.assert_array_equal(*pair, err_msg=message)


def half_fits(name, n_calls, error, rng):
    """Fits that fail at ``n_calls`` of their inner calls, as first fits and as refits.

    Oracle: the same estimator before; either it is as it was, or it says that it is not fitted.
    """
    whole = fresh(MODELS[name])
    before = outcome(whole.fit(*data(whole)), X)
    after = outcome(whole.fit(*data(whole, again=True)), X2)
    with InnerCalls() as calls:
        fresh(MODELS[name]).fit(*data(whole, again=True))
    numbers = choose_calls(calls.functions, n_calls, rng)
    for number in numbers:
        for refit in (False, True):
            model = fresh(MODELS[name])
            if refit:
                model.fit(*data(model))
            where = f"{name}, {'refit' if refit else 'first fit'}, {calls.functions[number - 1]}"
            expected = before if refit else dict.fromkeys(before)
            _check_half_fit(model, InnerCalls(number, error), expected, after, where)
    return 2 * len(numbers)


def _check_half_fit(model, calls, before, after, where):
    with warnings.catch_warnings(record=True, action="always") as told:
        try:
            with calls:
                model.fit(*data(model, again=True))
        except calls.error:
            check_same(outcome(model, X), before, where)
            return
    # It ended well: whole, or cut short by Ctrl-C and telling so.
    if not any(issubclass(warning.category, InterruptedFitWarning) for warning in told):
        # Where memory was missing, smaller portions were summed.
        tolerance = 1e-9 if calls.error is MemoryError else 0.0
        check_same(outcome(model, X2), after, where, tolerance)


def no_memory_in_a_fit(rng):
    """See ``half_fits``."""
    return half_fits(str(rng.choice(list(MODELS))), 4, MemoryError, rng)


def ctrl_c_in_a_fit(rng):
    """See ``half_fits``."""
    return half_fits(str(rng.choice(list(MODELS))), 4, KeyboardInterrupt, rng)


def signals_in_a_fit(rng):
    """Real signals, up to five, each followed by a fit that goes on. Oracle: the fit without."""
    name = str(rng.choice(list(WARM)))
    whole = fresh(WARM[name])
    rows = data(whole)
    start = time.perf_counter()
    expected = outcome(whole.fit(*rows), X)
    seconds = time.perf_counter() - start
    model = fresh(WARM[name]).set_params(warm_start=True)
    for number in range(50):
        delay = float(rng.uniform(1e-4, seconds)) if number < 5 else 60.0
        if not was_cut(model, lambda m, wait=delay: ctrl_c_after(wait, partial(m.fit, *rows))[1]):
            break
    check_same(outcome(model, X), expected, f"{name}, after {number} interruptions")
    return max(1, number)


def was_cut(model, fit):
    """Whether Ctrl-C has cut a fit; ``fit(model)`` says if the ``KeyboardInterrupt`` came out.

    It may also come out when the fit is over, before the caller can know: the model is then whole.
    """
    before = vars(model)
    with warnings.catch_warnings(record=True, action="always") as told:
        came = fit(model)
    is_new = vars(model) is not before  # a fit takes effect by one assignment of all attributes
    if came:
        return not is_new
    return any(issubclass(warning.category, InterruptedFitWarning) for warning in told)


def signal_at_a_line(rng):
    """Ctrl-C at one line of a fit, and a fit that goes on. Oracle: the fit without, its passes."""
    name = str(rng.choice(list(WARM)))
    for number in rng.integers(1, len(short_fit(name)[1]) + 1, size=8):
        check_line(name, int(number))
    return 8


def check_line(name, number):
    """Send Ctrl-C at that line of a fit, complete it, compare; return the place of the line."""
    model, rows, lines = short(name), data(WARM[name]), Lines(number)

    def fit(model):
        try:
            with lines:
                model.fit(*rows)
        except KeyboardInterrupt:
            return True
        return False

    if was_cut(model, fit):
        assert not was_cut(model, lambda m: m.fit(*rows) is None)
    where = f"{name}, line {number}, {lines.places}"
    check_same(outcome(model, X), short_fit(name)[0], where)
    assert model.n_iter_ == 3, where
    return "".join(lines.places)  # none if the fit was shorter: it depends on the garbage collector


def short(name):
    """A model to interrupt at will: three minibatches."""
    owner = "binarizer__" if name.startswith("EndToEnd") else ""
    return fresh(WARM[name]).set_params(warm_start=True, **{f"{owner}max_iter": 3})


@cache
def short_fit(name):
    """Outcome of the fit that nobody interrupts, and the places of all lines that it runs."""
    rows = data(WARM[name])
    expected = outcome(short(name).fit(*rows), X)
    with Lines() as lines:
        short(name).fit(*rows)
    return expected, lines.places


def faults_of_a_machine(rng):
    """A machine one of whose calls in five fails. Oracle: the same fit without a fault."""
    name = str(rng.choice(list(ON_A_MACHINE)))
    owner = "opu" if name != "EndToEndOPURegressor" else "binarizer__opu"
    expected = fresh(ON_A_MACHINE[name]).set_params(**{owner: Flaky()})
    rows = data(expected)
    expected = outcome(expected.fit(*rows), X)
    machine = Flaky(int(rng.integers(2**32)), rate=0.2, kinds=FAULTS)
    machine.dies_at = int(rng.integers(1, 200)) if rng.random() < 0.5 else None
    model = fresh(ON_A_MACHINE[name]).set_params(**{owner: machine})
    for _ in range(50):
        try:
            model.fit(*rows)
            break
        except DeviceFault:
            machine.repair()
            model.set_params(warm_start=True)
    machine.repair()
    check_same(outcome(model, X), expected, name)
    return max(1, machine.n_faults)


FAULTS = ("timeout", "vendor", "dropped", "extra", "narrow", "nothing", "dark", "saturated")
FAULTS += ("stuck", "garbage", "repeated")


def drivers(rng):
    """Drivers with their own ways with memory. Oracle: the frames that they pass on."""
    how = str(rng.choice(list(DRIVERS)))
    n_codes, n_bits = int(rng.integers(1, 60)), int(rng.integers(1, 20))
    codes = rng.integers(0, 2, size=(n_codes, n_bits), dtype=np.uint8)
    n_components = int(rng.integers(1, 200))
    batch = None if rng.random() < 0.3 else int(rng.integers(1, 20))
    driver = Driver(how, batch, int(rng.integers(1, 5)))
    driver.checks_frames = False  # of codes as few and short as these
    kinds = (np.array, lambda z: z.astype(bool), np.asfortranarray, lambda z: z.astype(float))
    given = kinds[rng.integers(len(kinds))](codes)
    found = GuardedOPU(driver, checks_frames=False).project(given, n_components)
    driver.project(1 - codes, n_components)
    np.testing.assert_array_equal(given, codes)
    np.testing.assert_array_equal(found, SimulatedOPU(0).project(codes, n_components))
    return 1


@contextmanager
def a_file():
    """Path of a file that is not there yet."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        yield Path(folder, "file")


CALLS = [np.random.default_rng(n).integers(0, 2, size=(20, 14), dtype=np.uint8) for n in range(8)]


def recorded(opu, n_calls, n_components, rng):
    """Make some calls; return each with its answer."""
    numbers = rng.integers(len(CALLS), size=n_calls)
    return [(CALLS[number], opu.project(CALLS[number], n_components)) for number in numbers]


def check_recording(path, calls):
    """The calls are answered as they were; of several answers to a code, in turn."""
    replay = ReplayOPU(path)
    for codes, answer in calls:
        found = replay.project(codes, answer.shape[1])
        np.testing.assert_array_equal(found, answer)


def recordings_on_a_full_disk(rng):
    """Oracle: the answers before and after; the call between leaves nothing."""
    with a_file() as path:
        opu = RecordingOPU(SimulatedOPU(camera=Camera()), path)
        calls = recorded(opu, 3, 300, rng)
        for _ in range(5):
            try:
                with disk_of(path.stat().st_size + int(rng.integers(1, 12_000))):
                    opu.project(CALLS[0], 300)
            except DeviceFault:
                check_recording(path, calls)
                calls += recorded(opu, 1, 300, rng)
            else:  # there was room
                return 1
        check_recording(path, calls)
    return 5


def recordings_torn(rng):
    """A tail that is cut off, or zeros. Oracle: the calls before it; then the file goes on."""
    with a_file() as path:
        opu = RecordingOPU(SimulatedOPU(camera=Camera()), path)
        calls = recorded(opu, 2, 50, rng)
        kept = path.stat().st_size
        recorded(opu, 1, 50, rng)
        opu.close()
        whole = path.read_bytes()
        cut = int(rng.integers(kept + 1, len(whole) - 32))
        path.write_bytes(whole[:cut] + bytes((len(whole) - cut) * int(rng.integers(2))))
        check_recording(path, calls)
        opu = RecordingOPU(SimulatedOPU(1, camera=Camera()), path, append=True)
        check_recording(path, calls + recorded(opu, 2, 70, rng))
    return 1


def recordings_interrupted(rng):
    """Signals at random times. Oracle: the calls that came back, in their order."""
    with a_file() as path:
        opu = RecordingOPU(SimulatedOPU(camera=Camera()), path)
        recorded(opu, 1, 3, rng)
        answers = []
        for _ in range(20):
            call = partial(opu.project, CALLS[int(rng.integers(len(CALLS)))], 300)
            answer, came = ctrl_c_after(float(rng.uniform(1e-4, 4e-3)), call)
            answers += [] if came else [answer]
        # One that the signal kept from its caller may be there too.
        rest = iter([frames for _, frames in ReplayOPU(path).calls()])
        for answer in answers:
            assert any(np.array_equal(frames, answer) for frames in rest)
    return 20


_RECORDER = """
import sys, numpy as np
from skopu.devices import RecordingOPU, SimulatedOPU
opu = RecordingOPU(SimulatedOPU(0), sys.argv[1])
for number in range(100000):
    codes = np.unpackbits(np.array([[number >> 8, number & 255]], dtype=np.uint8), axis=1)
    opu.project(codes, 2000)
    print(number, flush=True)
"""


def recordings_killed(rng):
    """SIGKILL. Oracle: the numbers of the calls that came back, printed by the process itself."""
    with a_file() as path:
        lines = killed_after(float(rng.uniform(0, 0.05)), _RECORDER, path)
        numbers = np.array(lines, dtype=np.uint16)
        codes = np.unpackbits(numbers.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)
        check_recording(path, [(codes, SimulatedOPU(0).project(codes, 2000))])
        opu = RecordingOPU("simulated", path, append=True)  # the lock went with the process
        check_recording(path, recorded(opu, 1, 30, rng))
    return 1


def damaged(data, rng):
    """A copy with a bit changed, bytes cut out, or bytes doubled."""
    data, where = bytearray(data), int(rng.integers(len(data)))
    kind = rng.integers(3)
    if kind == 0:
        data[where] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[where : where + int(rng.integers(1, 9))]
    else:
        data[where:where] = data[where : where + 5]
    return data


def recordings_damaged(rng):
    """Oracle: the answers: they come, or the file is refused."""
    with a_file() as path:
        opu = RecordingOPU("simulated", path)
        calls = recorded(opu, 3, 30, rng)
        opu.close()
        whole = path.read_bytes()
        for _ in range(30):
            path.write_bytes(damaged(whole, rng))
            for call in calls:
                with suppress(RecordingError, NotRecordedError):
                    check_recording(path, [call])
    return 30


def calibrations_interrupted(rng):
    """Signals until it is done. Oracle: the calibration that nothing disturbed."""
    machine, calibration, device, n = BlackBox(), Calibration(32, 20), None, 0
    expected = Calibration(32, 20).run(machine).forms.coefficients
    while device is None:
        seconds = float(rng.uniform(5e-4, 2e-2))
        device, came = ctrl_c_after(seconds, partial(calibration.run, machine))
        n += came
    np.testing.assert_array_equal(device.forms.coefficients, expected)
    return max(1, n)


def calibrations_damaged(rng):
    """Oracle: the error, or a calibration that can go on."""
    with a_file() as path:
        Calibration(8, 5).save(path)
        whole = path.read_bytes()
        for _ in range(30):
            path.write_bytes(damaged(whole, rng))
            with suppress(ValueError):
                calibration = Calibration.load(path)
                assert 0 <= calibration.n_done <= calibration.n_passes
                assert np.isfinite(calibration._sums).all()
    return 30


def threads_on_a_device(rng):
    """Several fits on one machine in threads. Oracle: each by itself, and the count of all."""
    machine = Flaky()
    models = [
        fresh(BINARIZER).set_params(opu=machine, n_bits=int(k)) for k in rng.integers(2, 9, 4)
    ]
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(lambda model: clone(model).fit(X, y), models))
    assert machine.n_passes == sum(model.n_passes_ for model in fitted)
    for model, other in zip(models, fitted, strict=True):
        check_same(outcome(other, X), outcome(model.fit(X, y), X), "threads")
    return 4


BATTERIES = {
    "a fit: no memory at an inner call": no_memory_in_a_fit,
    "a fit: Ctrl-C at an inner call": ctrl_c_in_a_fit,
    "a fit: signals, then warm_start": signals_in_a_fit,
    "a fit: a signal at a line, then warm_start": signal_at_a_line,
    "a fit: faults of the machine": faults_of_a_machine,
    "a fit: threads on one machine": threads_on_a_device,
    "drivers and memory": drivers,
    "recording: full disk": recordings_on_a_full_disk,
    "recording: torn write": recordings_torn,
    "recording: signals": recordings_interrupted,
    "recording: kill -9": recordings_killed,
    "recording: damaged file": recordings_damaged,
    "calibration: signals": calibrations_interrupted,
    "calibration: damaged file": calibrations_damaged,
}
