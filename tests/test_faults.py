"""Machines that fail: nothing wrong is delivered, nothing is lost, nothing hangs."""

import pickle
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from batteries import BATTERIES, half_fits
from batteries import MODELS as SMALL
from oracles import BlackBox, Flaky
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_friedman1

import skopu
from skopu import (
    DFABinarizer,
    DFARegressor,
    EndToEndOPUClassifier,
    EndToEndOPURegressor,
    OPUKernelRidge,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu.devices import (
    Camera,
    GuardedOPU,
    MachineOPU,
    OffAxisHolography,
    SimulatedOPU,
)
from skopu.exceptions import DeviceFault, InterruptedFitWarning, PassBudgetError

X, y = make_friedman1(60, n_features=5, random_state=0)
CODES = np.random.default_rng(0).integers(0, 2, size=(130, 6), dtype=np.uint8)
KINDS = (
    "timeout",
    "vendor",
    "dropped",
    "extra",
    "narrow",
    "nothing",
    "dark",
    "saturated",
    "stuck",
    "garbage",
    "repeated",
)
BINARIZER = SupervisedBinarizer(
    6, n_components=64, max_iter=8, batch_size=20, encoder_penalty=1e-3, random_state=0
).set_params(gradient__n_draws=2)
MODELS = {
    "binarizer": BINARIZER,
    "quadratic": clone(BINARIZER).set_params(gradient="quadratic", early_stopping=True),
    "regressor": EndToEndOPURegressor(BINARIZER, n_draws=2, random_state=0),
    "classifier": EndToEndOPUClassifier(
        clone(BINARIZER).set_params(weights="binary"), prediction="threshold", random_state=0
    ),
}


# The others have tests of their own.
QUICK = [kind for kind in BATTERIES if "inner call" not in kind and "recording" not in kind]


def on(machine, name):
    """The model of that name on a machine."""
    model = clone(MODELS[name])
    owner = "opu" if "opu" in model.get_params(deep=False) else "binarizer__opu"
    return model.set_params(**{owner: machine})


def targets(name):
    return np.where(y > np.median(y), "high", "low") if name == "classifier" else y


def outcome(name, model):
    """All that a fit has to say, as arrays."""
    encoder = getattr(model, "binarizer_", model)
    history = [v for k, v in encoder.history_.items() if k not in ("seconds", "n_passes")]
    parts = [encoder.coef_, encoder.intercept_, np.array(encoder.n_iter_), np.array(history)]
    if name == "regressor":
        parts.append(model.predict(X))
    if name == "classifier":
        parts.append(model.predict_proba(X))
    return parts


def check_message(fault):
    """The error names the device and the pass, and says how to go on."""
    assert f"Flaky failed at pass {fault.n_passes + 1} (code " in str(fault)
    assert "4 times in a row: " in str(fault)
    assert fault.device == "Flaky"
    assert any("warm_start=True" in note for note in fault.__notes__)


@pytest.fixture(scope="module")
def faultless():
    """What the fits give on the same machine without a fault; do not change it."""
    return {name: outcome(name, on(Flaky(), name).fit(X, targets(name))) for name in MODELS}


@pytest.mark.parametrize("seed", range(160))
def test_random_faults_change_nothing(seed, faultless):
    """Oracle: the same fit on the machine without faults, bit by bit.

    One call in five fails with a random fault, and every second machine dies at a random call.
    Either the fit is that of the faultless machine, or it says which device failed at which pass;
    the repaired machine then completes it to that of the faultless one.
    """
    rng = np.random.default_rng(seed)
    name = list(MODELS)[seed % len(MODELS)]
    dies_at = int(rng.integers(1, 25)) if seed // len(MODELS) % 2 else None
    machine = Flaky(seed, rate=0.2, kinds=KINDS, dies_at=dies_at)
    model = on(machine, name)
    for _ in range(20):
        try:
            model.fit(X, targets(name))
            break
        except DeviceFault as fault:
            check_message(fault)
            machine.repair()
            model.set_params(warm_start=True)
    machine.repair()
    for found, expected in zip(outcome(name, model), faultless[name], strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(60))
def test_random_faults_in_features(seed):
    """Oracle: the features of the faultless machine. A fault brings those before it along."""
    machine = Flaky(seed, rate=0.6, kinds=KINDS)
    machine.max_batch = 7
    check_features(machine)


@pytest.mark.parametrize("seed", range(8))
def test_random_hangs_in_features(seed):
    """The same with calls that return too late, and then with the wrong frames."""
    machine = Flaky(seed, rate=0.5, kinds=("hang", "timeout", "dark"))
    machine.timeout = 0.1
    check_features(machine)


def check_features(machine):
    features = OPURandomFeatures(64, opu=machine, form="raw").fit(CODES)
    expected = SimulatedOPU(0).project(CODES, 64)
    try:
        found = features.transform(CODES)
    except DeviceFault as fault:
        check_partial(fault, machine, expected)
    else:
        np.testing.assert_allclose(found, expected / 8, rtol=1e-6)
        assert machine.n_passes == len(CODES)


def check_partial(fault, machine, expected):
    """The error brings what was answered, and no more."""
    assert f"Flaky failed at pass {fault.n_passes + 1} (code " in str(fault)
    assert fault.n_passes == machine.n_passes < len(CODES)
    if fault.n_passes:
        np.testing.assert_array_equal(fault.partial, expected[: fault.n_passes])


class TestLaboratory:
    """A quick run of the fault laboratory; the oracles are those of its batteries.

    ``python benchmarks/faults.py`` draws thousands.
    """

    # Ctrl-C in the callback of a weak reference is swallowed by Python itself, and the fit goes on.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("seed", range(2))
    @pytest.mark.parametrize("kind", QUICK)
    def test_battery(self, kind, seed):
        assert BATTERIES[kind](np.random.default_rng(seed)) > 0

    @pytest.mark.filterwarnings("ignore::UserWarning")  # the fits are short, of few rows
    @pytest.mark.parametrize(("error", "n_calls"), [(MemoryError, 4), (KeyboardInterrupt, 2)])
    @pytest.mark.parametrize("name", SMALL)
    def test_half_fits(self, name, error, n_calls):
        assert half_fits(name, n_calls, error, np.random.default_rng(0)) >= 2

    def test_every_public_estimator_is_there(self):
        public = {
            name
            for name in skopu.__all__
            if isinstance(value := getattr(skopu, name), type) and issubclass(value, BaseEstimator)
        }
        assert public == {type(model).__name__ for model in SMALL.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_seen_named_and_waited_for(kind):
    """Oracle: the kind of fault that was put in; waits double, and attempts are bounded."""
    machine = Flaky(1, rate=1.0, kinds=[kind])
    with pytest.raises(DeviceFault, match=r"Flaky failed at pass 1 \(code 1 of the 130") as found:
        machine.project(CODES, 64)
    assert machine.n_calls == machine.n_faults == 4
    assert machine.pauses == [0.1, 0.2, 0.4]
    assert machine.n_passes == 0
    words = {
        "timeout": "TimeoutError: no trigger",
        "vendor": "VendorError: -7",
        "dropped": r"shape (49, 64)",
        "extra": "shape (51, 64)",
        "narrow": "shape (50, 63)",
        "nothing": "shape ()",
        "dark": "are all zero",
        "saturated": "are saturated",
        "stuck": "have one value in all pixels",
        "garbage": "negative or not finite",
        "repeated": "repeat the frame before",
    }
    assert words[kind] in str(found.value)
    again = pickle.loads(pickle.dumps(found.value))
    assert str(again) == str(found.value)


class TestWhatIsNoFault:
    def test_codes_too_dark_for_the_camera(self):
        """Oracle: the probability that all pixels of a faint code stay below half a count.

        With 40 units of light a count, a pixel of a code of one bit reaches half of it with
        probability exp(-20), one of a code of 60 bits with exp(-1/3).
        """
        machine = Faint()
        assert not machine.project(np.eye(60)[:2], 64).any()
        assert machine.project(np.ones((1, 60)), 64).any()
        machine.is_dark = True
        with pytest.raises(DeviceFault, match="1 of 1 frames are all zero"):
            machine.project(np.ones((1, 60)), 64)

    def test_a_zero_code_is_dark(self):
        assert not Flaky().project(np.zeros((3, 5)), 64).any()

    def test_mistakes_of_the_caller_are_not_tried_again(self):
        machine = Flaky()
        for bad, error in ((np.full((1, 2), 3), ValueError), (np.zeros(3), ValueError)):
            with pytest.raises(error):
                machine.project(bad, 4)
        assert machine.n_calls == 0
        with pytest.raises(NotImplementedError, match="must implement _project"):
            MachineOPU().project(CODES, 4)


class TestTimeout:
    def test_a_call_that_hangs_is_left_behind(self):
        """Oracle: the clock, and the answers of the machine once it is back."""
        release = threading.Event()

        class Hanging(BlackBox):
            n_calls = 0

            def _project(self, codes, n_components):
                self.n_calls += 1
                if self.n_calls == 2:
                    release.wait(20)
                return super()._project(codes, n_components)

        inner = Hanging()
        opu = GuardedOPU(inner, timeout=0.05, n_retries=1, retry_wait=0)
        opu.project(CODES, 64)
        start = time.perf_counter()
        with pytest.raises(DeviceFault, match=r"GuardedOPU failed at pass 131 .*still busy"):
            opu.project(CODES, 64)
        assert time.perf_counter() - start < 5
        assert inner.n_calls == 2  # no second call beside one that hangs
        release.set()
        opu.timeout = 10
        np.testing.assert_array_equal(opu.project(CODES, 64), SimulatedOPU(0).project(CODES, 64))

    def test_errors_come_through(self):
        opu = GuardedOPU(Flaky(0, 1.0, ["vendor"]), timeout=10, n_retries=0)
        with pytest.raises(DeviceFault, match="VendorError: -7"):
            opu.project(CODES, 64)


class TestBudget:
    def test_nothing_is_sent_beyond_it(self):
        machine = Flaky()
        machine.max_passes = 200
        machine.project(CODES, 4)
        with pytest.raises(
            PassBudgetError, match=r"Flaky has 70 of max_passes=200 left at pass 131"
        ):
            machine.project(CODES, 4)
        assert machine.n_passes == 130
        assert machine.project(CODES[:70], 4).shape == (70, 4)

    @pytest.mark.parametrize("known", [True, False])
    def test_training_stops_in_time_for_the_readout(self, known):
        """Oracle: the budget: two draws for the readout, what is left for training."""
        opu = GuardedOPU(SimulatedOPU(0) if known else BlackBox(), max_passes=60 + 5 * 40 + 2 * 60)
        model = on(opu, "regressor")
        with pytest.warns(InterruptedFitWarning, match=r"after iteration 5 of 8.*max_passes"):
            model.fit(X, y)
        assert opu.n_passes == model.n_passes_ == opu.max_passes
        with pytest.raises(PassBudgetError):
            model.predict(X)
        opu.max_passes = 10_000
        assert model.predict(X).shape == (60,)
        # Oracle: the fit without a budget.
        whole = outcome("regressor", on(BlackBox(), "regressor").fit(X, y))
        again = outcome("regressor", model.set_params(warm_start=True).fit(X, y))
        for found, expected in zip(again, whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3 if known else 0, atol=1e-3)

    def test_too_small_for_a_start(self):
        opu = GuardedOPU(max_passes=150)
        with pytest.raises(PassBudgetError, match="120 of them are set aside"):
            on(opu, "regressor").fit(X, y)
        assert opu.n_passes == 0


class Faint(MachineOPU):
    """A camera that counts in steps of 40 units of light."""

    count = 40.0
    is_dark = False
    retry_wait = 0

    def _project(self, codes, n_components):
        counts = np.rint(SimulatedOPU(0).project(codes, n_components) / 40)
        return 0 * counts if self.is_dark else 40 * counts


class OneAtATime(MachineOPU):
    """A machine that mixes frames if two calls overlap, as a camera with one buffer does."""

    max_batch = 16

    def __init__(self):
        self.buffer = None
        self.overlaps = 0
        self.busy = False

    def _project(self, codes, n_components):
        self.overlaps += self.busy
        self.busy = True
        self.buffer = SimulatedOPU(0).project(codes, n_components)
        time.sleep(1e-4)  # lets the other thread in
        self.busy = False
        return self.buffer


def test_threads_do_not_mix_frames():
    """Oracle: each estimator alone on the machine."""
    machine = OneAtATime()
    models = [
        OPUKernelRidge(n_components=64, opu=machine),
        on(machine, "binarizer"),
        on(machine, "regressor"),
    ] * 2
    data = [(CODES[:60], y), (X, y), (X, y)] * 2
    with joblib.parallel_config("threading", n_jobs=6):
        fitted = joblib.Parallel()(
            joblib.delayed(model.fit)(*rows) for model, rows in zip(models, data)
        )
    assert machine.overlaps == 0
    alone = [clone(m).set_params() for m in models]
    for model, again, rows in zip(fitted, alone, data):
        again.fit(*rows)
        first, second = (
            m.transform(X) if hasattr(m, "transform") else m.predict(rows[0])
            for m in (model, again)
        )
        np.testing.assert_array_equal(first, second)


class TestWarmStart:
    @pytest.mark.parametrize("gradient", ["loo", "exact", "quadratic"])
    @pytest.mark.parametrize("weights", ["real", "binary"])
    def test_interruption_is_completed(self, gradient, weights, monkeypatch):
        """Oracle: the fit that nobody interrupted."""
        if gradient == "exact" and weights == "binary":
            pytest.skip("the interruption is that of a device")
        model = clone(BINARIZER).set_params(weights=weights, gradient=gradient, opu=BlackBox())
        model.set_params(scaler="standard")  # or rows are asked for by the choice of it first
        whole = outcome("binarizer", clone(model).fit(X, y))
        from skopu.training import encoder_training as encoder

        calls = []
        rows = encoder.TrainingRows.rows

        def interrupted(self, positions):
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return rows(self, positions)

        monkeypatch.setattr(encoder.TrainingRows, "rows", interrupted)
        with pytest.warns(InterruptedFitWarning, match="interrupted at iteration 5 of 8"):
            model.fit(X, y)
        again = pickle.loads(pickle.dumps(model)).set_params(warm_start=True).fit(X, y)
        for found, expected in zip(outcome("binarizer", again), whole, strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_a_finished_fit_goes_on(self):
        """Oracle: iterations add up, the loss goes on falling, the penalty is not chosen again."""
        model = SupervisedBinarizer(
            8, n_components=64, max_iter=60, warm_start=True, random_state=0
        ).fit(X, y)
        first, penalty = model.history_["loss"][-1], model.encoder_penalty_
        model.fit(X, y)
        assert model.n_iter_ == 120
        assert model.history_["iteration"][-1] == 120
        assert np.all(np.diff(model.history_["seconds"]) >= 0)
        assert model.encoder_penalty_ == penalty
        assert np.mean(model.history_["loss"][-10:]) < first
        assert model.n_passes_ == 60 + 120 * 60 * 4

    def test_end_to_end_goes_on(self):
        model = on(SimulatedOPU(0), "regressor").set_params(warm_start=True).fit(X, y)
        before = model.score(X, y)
        for _ in range(5):
            model.fit(X, y)
        assert model.n_iter_ == 48
        assert model.score(X, y) > before

    def test_without_it_a_fit_starts_anew(self):
        model = on(SimulatedOPU(0), "binarizer")
        first = model.fit(X, y).coef_
        np.testing.assert_array_equal(model.fit(X, y).coef_, first)

    def test_another_model_is_refused(self):
        model = clone(BINARIZER).set_params(warm_start=True).fit(X, y)
        with pytest.raises(ValueError, match=r"with \{'n_bits': 6\}, which is different now"):
            model.set_params(n_bits=7).fit(X, y)

    def test_other_rows_are_trained_on(self):
        """After a fault in the readout, other rows must not be given the features of the old."""
        machine = Flaky(0, dies_at=12)
        model = on(machine, "regressor")
        with pytest.raises(DeviceFault):
            model.fit(X, y)
        assert model._unfinished.is_trained
        assert not hasattr(model, "ridge_")
        machine.repair()
        model.set_params(warm_start=True).fit(X[:50], y[:50])
        assert model.predict(X).shape == (60,)
        assert model.n_iter_ == 8

    def test_a_fault_leaves_an_earlier_model_as_it_was(self):
        machine = Flaky(0)
        model = on(machine, "regressor").fit(X, y)
        expected = model.predict(X)
        machine.dies_at = machine.n_calls + 6
        with pytest.raises(DeviceFault):
            model.fit(X, -y)
        machine.repair()
        np.testing.assert_array_equal(model.predict(X), expected)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    @pytest.mark.parametrize("name", ["regressor", "classifier"])
    def test_passes_are_kept_when_the_readout_fails(self, name, error, monkeypatch):
        """Oracle: the count of the machine; an interrupted ridge used to cost all passes."""
        machine = Flaky(0)
        model = on(machine, name)
        part = type(model)._ridge_class

        def fails(*arguments):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(part, "_fit_last", fails)
            with pytest.raises(error) as found:
                model.fit(X, targets(name))
        assert any("what was done is kept" in note for note in found.value.__notes__)
        n_passes = machine.n_passes
        model.set_params(warm_start=True).fit(X, targets(name))
        assert machine.n_passes == n_passes == model.n_passes_
        whole = outcome(name, on(Flaky(0), name).fit(X, targets(name)))
        for one, other in zip(outcome(name, model), whole, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_passes_of_a_readout_are_not_repeated(self):
        """Oracle: the count of a fit without a fault.

        The two draws of 60 rows are one call of 120 codes, in batches of 50; it dies in the third.
        """
        machine = Flaky(0, dies_at=13)
        model = on(machine, "regressor")
        with pytest.raises(DeviceFault):
            model.fit(X, y)
        assert machine.n_passes == 60 + 8 * 40 + 100
        machine.repair()
        model.set_params(warm_start=True).fit(X, y)
        assert machine.n_passes == model.n_passes_ == 60 + 8 * 40 + 2 * 60


class TestFeedbackAlignment:
    def test_history_is_kept(self):
        """Oracle: the frames that the machine had answered."""
        light = OffAxisHolography(Dying(30))
        model = DFARegressor(
            (8,), projector=light, error_encoding="sign", max_iter=50, batch_size=20, random_state=0
        )
        with pytest.raises(DeviceFault, match="Dying failed at pass"):
            model.fit(X, y)
        assert model.history_["iteration"][-1] > 0
        assert model.history_["n_passes"][-1] > 0
        assert np.isfinite(model.history_["loss"]).all()

    def test_a_budget_ends_training(self):
        """Oracle: frames; a minibatch takes at most two for each of its 20 rows."""
        opu = GuardedOPU(max_passes=500)
        model = DFARegressor(
            (8,),
            projector=OffAxisHolography(opu),
            error_encoding="sign",
            max_iter=50,
            batch_size=20,
            random_state=0,
        )
        with pytest.warns(InterruptedFitWarning, match=r"stopped after iteration \d+ of 150"):
            model.fit(X, y)
        assert 460 <= model.n_passes_ == opu.n_passes <= 500

    def test_binarizer_keeps_its_encoder(self):
        model = DFABinarizer(6, n_components=64, max_iter=10, opu=Flaky(0, dies_at=5))
        with pytest.raises(DeviceFault, match="Flaky failed at pass"):
            model.fit(X, y)
        assert model.transform(X).shape == (60, 6)
        assert model.history_["iteration"][-1] == 2  # two calls each, of 50 codes at most


class Dying(MachineOPU):
    """A reference arm that dies at a call."""

    retry_wait = 0

    def __init__(self, dies_at):
        self.dies_at = dies_at
        self.n_calls = 0

    def _interfere(self, codes, n_components, reference, n_pixels):
        self.n_calls += 1
        if self.n_calls >= self.dies_at:
            raise ConnectionResetError("device lost")
        return SimulatedOPU(0)._interfere(codes, n_components, reference, n_pixels)


def test_machine_is_one():
    machine = Flaky()
    assert clone(machine) is machine
    assert clone(OPURandomFeatures(opu=machine)).opu is machine
    with pytest.raises(TypeError, match=r"cannot be pickled.*opu=None.*RecordingOPU"):
        pickle.dumps(machine)


def test_guard_batches_and_forwards():
    """Oracle: the device itself; a camera sets its exposure for each call."""
    inner = BlackBox()
    opu = GuardedOPU(inner, max_batch=50)
    np.testing.assert_array_equal(opu.project(CODES, 9), inner.project(CODES, 9))
    calls = []
    inner._project = lambda codes, n: (
        calls.append(len(codes)) or np.ones((len(codes), n)) * [np.arange(n)]
    )
    opu.set_params(checks_frames=False).project(CODES, 9)
    assert calls == [50, 50, 30]
    known = GuardedOPU(SimulatedOPU(3, max_bits=9, max_components=20))
    assert (known.max_bits, known.max_components, known.known_matrix) == (9, 20, True)
    np.testing.assert_array_equal(known.matrix(4, 5), SimulatedOPU(3).matrix(4, 5))
    with pytest.raises(ValueError, match="'max_passes' parameter of GuardedOPU"):
        GuardedOPU(max_passes=-1).project(CODES, 3)
    assert pickle.loads(pickle.dumps(known)).project(CODES, 5).shape == (130, 5)


@pytest.mark.parametrize("n_components", [3, 7, 49])
def test_guard_passes_interferograms_on(n_components):
    """Oracle: the simulated arm; rounding must not add a pixel."""
    for oversampling in (2, 3.3, 4):
        plain = OffAxisHolography(SimulatedOPU(0), oversampling=oversampling)
        guarded = OffAxisHolography(
            GuardedOPU(SimulatedOPU(0), max_batch=40), oversampling=oversampling, phase_drift=0
        )
        np.testing.assert_allclose(
            guarded.project(CODES, n_components), plain.project(CODES, n_components), atol=1e-9
        )


def test_throughput_is_shown(capsys):
    on(BlackBox(), "binarizer").set_params(verbose=1).fit(X, y)
    assert "passes/s=" in capsys.readouterr().err


def test_a_camera_behind_a_guard():
    """A real exposure makes no false alarm."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opu = GuardedOPU(SimulatedOPU(camera=Camera(bits=8)))
        codes = np.random.default_rng(0).integers(0, 2, size=(500, 64))
        assert opu.project(codes, 200).shape == (500, 200)
