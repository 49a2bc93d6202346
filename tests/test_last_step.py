"""What was measured or read outlives whatever ends the last step of a fit.

A cut may fall on any inner call, and the key may be held down: the signal then comes again while
the first is dealt with.
"""

import os
import pickle
import signal
import warnings

import numpy as np
import pytest
import signal_battery
from batteries import check_same, outcome
from laboratory import InnerCalls
from oracles import BlackBox
from sklearn.exceptions import NotFittedError

from skopu import HyperplaneBinarizer, OPUKernelRidge, OPUKernelRidgeClassifier
from skopu.devices import Calibration, calibrate
from skopu.exceptions import InterruptedFitWarning
from skopu.kernel_ridge.alpha import Alpha

# Ctrl-C in the callback of a weak reference is swallowed by Python itself, and the fit goes on.
pytestmark = [
    pytest.mark.usefixtures("default_handler"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer"),
]

N_CUTS = int(os.environ.get("SKOPU_CUTS", "6"))  # of each kind; 0: at every inner call
D = 24
rng = np.random.default_rng(0)
CODES = rng.integers(0, 2, size=(90, 8)).astype(np.uint8)
TARGETS = 1.0 * CODES[:, 0] * CODES[:, 1] - CODES[:, 2] + 0.1 * rng.standard_normal(len(CODES))
LABELS = np.array(["no", "so", "yes"])[np.digitize(TARGETS, [-0.5, 0.3])]
ROWS = 4.0 * CODES - 2 + rng.standard_normal(CODES.shape)


def thirds(X, y):
    return [(X[part::3], y[part::3]) for part in range(3)]


def in_chunks(X, y):
    """Fit to chunks that can be read once."""
    return lambda model: model.fit_chunks(iter(thirds(X, y)))


def in_calls(X, y):
    def fit(model):
        for part in thirds(X, y):
            model.partial_fit(*part)
        return model

    return fit


def at_once(X, y):
    return lambda model: model.fit(X, y)


def in_blocks(X, y):
    da = pytest.importorskip("dask.array")
    blocks = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)

    def fit(model):
        import dask

        with dask.config.set(scheduler="synchronous"):
            return model.fit(*blocks)

    return fit


def ridge(alpha="gcv", **parameters):
    return OPUKernelRidge(alpha, n_components=D, **parameters)


FITS = {
    "chunks": (ridge(), in_chunks(CODES, TARGETS)),
    "alpha given": (ridge(0.3), in_chunks(CODES, TARGETS)),
    "a posterior": (ridge(compute_std=True), in_chunks(CODES, TARGETS)),
    "sums of 7 bits": (ridge(gram="int7"), in_chunks(CODES, TARGETS)),
    "a binarizer": (
        ridge(binarizer=HyperplaneBinarizer(12), random_state=0),
        in_chunks(ROWS, TARGETS),
    ),
    "fourier": (
        ridge(kernel="rbf", kernel_approximation="fourier", random_state=0),
        at_once(ROWS, TARGETS),
    ),
    "a classifier": (
        OPUKernelRidgeClassifier("gcv", n_components=D),
        lambda model: model.fit_chunks(iter(thirds(CODES, LABELS)), classes=["no", "so", "yes"]),
    ),
    "arrays": (ridge(chunk_size=30), at_once(CODES, TARGETS)),
    "rows fewer than features": (OPUKernelRidge(n_components=200), at_once(CODES, TARGETS)),
    "dask": (ridge(), in_blocks(CODES, TARGETS)),
}


def fresh(name):
    model, fit = FITS[name]
    return pickle.loads(pickle.dumps(model)), fit


def predictions(model):
    rows = ROWS if model.binarizer_ is not None or model.kernel_ == "rbf" else CODES
    return model.predict(rows)


def calls_of_last_step(name):
    """Numbers of the inner calls from the first in which all rows are there."""
    model, fit = fresh(name)
    with InnerCalls() as calls:
        fit(model)
    places = [place.partition(":")[2] for place in calls.functions]
    return range(1 + min(places.index(first) for first in FIRST if first in places), len(places))


FIRST = "_finish", "RidgeSums.rereading", "WideSystem.__init__"


@pytest.mark.parametrize("is_held", [0, 2e-5], ids=["once", "held"])
@pytest.mark.parametrize("name", FITS)
def test_all_rows_are_kept_wherever_the_solution_is_cut(name, is_held):
    """Oracle: the fit that nobody cuts: ``solve`` gives its predictions without a row.

    At inner calls after the last row was read, all of them with ``SKOPU_CUTS=0``. Either the model
    is not fitted and what was read is there, or it is whole.
    """
    model, fit = fresh(name)
    expected, n_cut = predictions(fit(model)), 0
    numbers = calls_of_last_step(name)
    assert len(numbers) > 30
    chosen = np.random.default_rng(0).choice(numbers, N_CUTS or len(numbers), replace=False)
    for number in chosen.tolist():
        model, _ = fresh(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InterruptedFitWarning)
            try:
                with InnerCalls(number, KeyboardInterrupt, is_held):
                    fit(model)
            except KeyboardInterrupt as error:
                # The handling of a first one may be cut, and its note be that of another.
                told = " ".join(getattr(error, "__notes__", ()))
                with pytest.raises(NotFittedError):
                    model.predict(CODES)
                assert is_held or "solve() fits the readout" in told, number
                n_cut += 1
                model = pickle.loads(pickle.dumps(model)).solve()
        assert_same(predictions(model), expected)
        assert "_unsolved" not in vars(model)
    assert n_cut or is_held  # when it comes again is up to the clock


def assert_same(found, expected):
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_array_equal(found, expected)


class TestSolve:
    """Oracle: fits to the same rows that nothing ended."""

    def test_a_call_that_is_cut_is_made_again_or_solved(self, monkeypatch):
        """Its rows are not in the model yet, and are counted once in both ways."""
        first, second, third = thirds(CODES, TARGETS)
        model = ridge().partial_fit(*first).partial_fit(*second)
        before = model.predict(CODES)
        whole = ridge().fit_chunks(iter(thirds(CODES, TARGETS))).predict(CODES)
        for goes_on in (lambda m: m.partial_fit(*third), lambda m: m.solve()):
            again = pickle.loads(pickle.dumps(model))
            with monkeypatch.context() as patch:
                patch.setattr(Alpha, "solve", fails)
                with pytest.raises(MemoryError, match="no more"):
                    again.partial_fit(*third)
            assert_same(again.predict(CODES), before)
            assert_same(goes_on(again).predict(CODES), whole)

    def test_chunks_that_end_with_an_error(self):
        def broken():
            yield from thirds(CODES, TARGETS)[:2]
            raise OSError("disk gone")

        model = ridge()
        with pytest.raises(OSError, match="disk gone") as found:
            model.fit_chunks(broken())
        assert "what was read of 60 rows is kept" in found.value.__notes__[-1]
        parts = thirds(CODES, TARGETS)
        expected = ridge().fit_chunks(parts[:2])
        assert_same(model.solve().predict(CODES), expected.predict(CODES))
        expected = ridge().fit_chunks(iter(parts))
        assert_same(model.partial_fit(*parts[2]).predict(CODES), expected.predict(CODES))

    @pytest.mark.parametrize("settings", [{"alpha": 3.0}, {"fit_intercept": False}])
    def test_with_other_settings(self, settings):
        found = ridge().fit_chunks(thirds(CODES, TARGETS)).set_params(**settings).solve()
        expected = ridge().set_params(**settings).fit_chunks(thirds(CODES, TARGETS))
        assert_same(found.predict(CODES), expected.predict(CODES))

    def test_nothing_to_solve(self):
        for model in (ridge(), ridge().fit(CODES, TARGETS)):
            with pytest.raises(NotFittedError, match="no sums of rows to solve"):
                model.solve()

    def test_a_fit_that_read_nothing_leaves_nothing(self):
        model = ridge()
        with pytest.raises(ValueError, match="NaN"):
            model.fit_chunks([(np.full((9, 3), np.nan), np.ones(9))])
        assert "_unsolved" not in vars(model)


def fails(*arguments, **options):
    raise MemoryError("no more")


def on_machine(name):
    """A model that goes on, and the machine that it asks."""
    machine, owner = BlackBox(), "binarizer__opu" if name.startswith("EndToEnd") else "opu"
    model = signal_battery.fresh(signal_battery.COMPLETED[name])
    return model.set_params(warm_start=True, **{owner: machine}), machine


@pytest.mark.parametrize("is_held", [0, 5e-3], ids=["once", "held"])
@pytest.mark.parametrize(
    "name",
    ["SupervisedBinarizer", "EndToEndOPURegressor", "CrossFittedOPURegressor through a device"],
)
def test_passes_are_kept_wherever_a_fit_is_cut(name, is_held):
    """Oracle: the fit that nobody cuts, to the bit, and its passes: one call may be asked again.

    A key repeats every 30 ms; here it is held down and does so every 5.
    """
    model, machine = on_machine(name)
    rows = signal_battery.data(model)
    with InnerCalls() as calls:
        model.fit(*rows)
    expected, n_passes = outcome(model, rows[0]), machine.n_passes
    first = next(n for n, place in enumerate(calls.functions, 1) if place.endswith("_project"))
    numbers = np.arange(first, len(calls.functions))
    chosen = np.random.default_rng(0).choice(numbers, N_CUTS or len(numbers), replace=False)
    for number in chosen.tolist():
        model, machine = on_machine(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InterruptedFitWarning)
            try:
                with InnerCalls(number, KeyboardInterrupt, is_held):
                    model.fit(*rows)
                came = False
            except KeyboardInterrupt:
                came = True
        model.fit(*rows)
        place = f"{number} of {len(calls.functions)}, {calls.functions[number - 1]}"
        if came:  # else it was whole, or read out of what was trained by then
            check_same(outcome(model, rows[0]), expected, place)
            assert machine.n_passes <= n_passes + 2 * len(rows[0]), place


@pytest.mark.parametrize("is_held", [0, 5e-3], ids=["once", "held"])
def test_what_a_calibration_measured_comes_with_the_error(is_held, tmp_path):
    """Oracle: the calibration that nobody cuts, its passes, and the file."""
    machine = BlackBox()
    with InnerCalls() as calls:
        expected = calibrate(machine, 20, 6, path=tmp_path / "whole.npz").forms.coefficients
    n_passes = machine.n_passes
    starts = [n for n, place in enumerate(calls.functions) if place.endswith("Calibration._count")]
    assert len(calls.functions) > starts[-1] + 10
    for number in range(starts[-1] + 3, len(calls.functions)):
        machine, path = BlackBox(), tmp_path / f"{number}.npz"
        device = None
        try:
            with InnerCalls(number, KeyboardInterrupt, is_held):
                device = calibrate(machine, 20, 6, path=path)
        except KeyboardInterrupt as error:
            if device is None:  # else it came when all was done
                device = error.calibration.run(machine)
        np.testing.assert_array_equal(device.forms.coefficients, expected)
        assert machine.n_passes == n_passes
        assert Calibration.load(path).n_done == n_passes
