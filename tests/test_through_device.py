"""Cross-fitted ensembles through a device.

Oracles: ridge regression by scikit-learn on features made by hand, counts of passes, fits that
nothing disturbed.
"""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from oracles import BlackBox, Flaky, Interrupting
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skopu import CrossFittedOPUClassifier, CrossFittedOPURegressor
from skopu.cross_fitted import answers as answers_module
from skopu.cross_fitted import optical_readout, through_device
from skopu.devices import (
    Camera,
    GuardedOPU,
    LightOnOPU,
    RecordingOPU,
    ReplayOPU,
    SimulatedOPU,
    calibrate,
)
from skopu.exceptions import DeviceFault, PassBudgetError


class Mirrors(BlackBox):
    """Laid out for the first codes, and too small for longer ones."""

    width = None

    def _project(self, codes, n_components):
        self.width = self.width or codes.shape[1]
        assert codes.shape[1] <= self.width
        return super()._project(codes, n_components)


rng = np.random.default_rng(0)
X = rng.normal(size=(80, 4))
y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.1 * rng.normal(size=80)
NEW = rng.normal(size=(30, 4))
MODEL = CrossFittedOPURegressor(
    8, cv=2, max_iter=40, prediction="draws", n_components=64, n_codes=3, n_draws=2, random_state=0
)


def features_by_hand(model, rows):
    """Mean features (J, n, D) of draws, from the parts that the model shows."""
    copies = [scaler.transform(rows) for scaler in model.scalers_]
    found = []
    for code in model._optical_.codes:
        p = expit(copies[code.scaler] @ code.W.T + code.b)
        features = model._optical_.features[code.n_bits]
        draws = [features.transform((p > own).astype(int)) for own in code.thresholds]
        found.append(np.mean(draws, axis=0))
    return np.array(found, dtype=np.float64)


@pytest.mark.parametrize("n_centres", [None, 60])
def test_readout_is_ridge_of_all_answers(n_centres, monkeypatch):
    """Oracle: scikit-learn's ridge of all features side by side; of few centres, near it."""
    if n_centres:
        monkeypatch.setattr(answers_module, "MAX_ROWS", 70)
        monkeypatch.setattr(answers_module, "N_CENTRES", n_centres)
    monkeypatch.setattr(optical_readout, "_ALPHAS", np.array([1e-3]))
    model = clone(MODEL).fit(X, y)
    Phi, new = (np.hstack(features_by_hand(model, rows)) for rows in (X, NEW))
    target = (y - y.mean()) / y.std()
    trace = np.square(Phi - Phi.mean(axis=0)).sum()
    expected = Ridge(1e-3 * trace).fit(Phi, target).predict(new) * y.std() + y.mean()
    atol = 1e-4 if n_centres is None else 0.2 * y.std()
    np.testing.assert_allclose(model.predict(NEW), expected, atol=atol)


def test_rows_left_out_have_not_been_seen():
    """Oracle: ridge by hand, on the other rows and codes of encoders that have seen only these."""
    model = clone(MODEL).set_params(random_state=1).fit(X, y)
    residuals, optical = model._residuals_, model._optical_
    assert optical.alpha == pytest.approx(10**-2.5)  # no whole power of ten, see below
    folds = model._outputs_of_folds(NEW)[:, :, 0]
    whole = clone(MODEL).set_params(prediction="mean", random_state=1).fit(X, y)
    np.testing.assert_array_equal(np.sort(residuals.folds), np.sort(whole._residuals_.folds))
    Phi, new = features_by_hand(model, X), features_by_hand(model, NEW)
    # Which fold a row is in is told by its residual, which no other row has.
    own = model._outputs_of_folds(X)[:, :, 0]
    target = (y - y.mean()) / y.std()
    scores = residuals.scores[:, 0]
    fold = np.array(
        [
            residuals.folds[np.abs(scores[:, None] - np.abs(t - o)).min(axis=1).argmin()]
            for t, o in zip(target, own.T, strict=True)
        ]
    )
    errors = np.zeros(3)
    for number in range(2):
        codes = np.flatnonzero([code.fold == number for code in optical.codes])
        rows = np.hstack(Phi[codes][:, fold != number])
        trace = np.square(rows - rows.mean(axis=0)).sum()
        ridge = Ridge(optical.alpha * trace).fit(rows, target[fold != number])
        np.testing.assert_allclose(ridge.predict(np.hstack(new[codes])), folds[number], atol=1e-3)
        for place, factor in enumerate((10**-0.5, 1, 10**0.5)):
            ridge = Ridge(factor * optical.alpha * trace).fit(rows, target[fold != number])
            out = ridge.predict(np.hstack(Phi[codes][:, fold == number]))
            errors[place] += np.square(out - target[fold == number]).sum()
    assert errors[1] < errors[[0, 2]].min()  # no root of ten away is a better alpha


@pytest.mark.parametrize(("prediction", "n_draws"), [("draws", 2), ("threshold", 1)])
def test_passes(prediction, n_draws):
    """Oracle: rows times codes times draws, on the device's own count."""
    device = BlackBox()
    model = clone(MODEL).set_params(prediction=prediction, opu=device).fit(X, y)
    assert model.n_passes_ == device.n_passes == 80 * 3 * n_draws
    model.predict(NEW)
    assert device.n_passes == (80 + 30) * 3 * n_draws
    model.predict_interval(NEW)
    assert device.n_passes == (80 + 60) * 3 * n_draws


def test_without_a_device_there_is_no_pass():
    device = BlackBox()
    model = clone(MODEL).set_params(prediction="mean", opu=device).fit(X, y)
    model.predict(NEW)
    assert model.n_passes_ == device.n_passes == 0


@pytest.mark.parametrize("n_codes", [1, 2, 7])
def test_codes_are_different(n_codes):
    """Oracle: folds take turns, and no encoder comes twice."""
    model = clone(MODEL).set_params(n_codes=n_codes).fit(X, y)
    optical = model._optical_
    assert 1 <= len(optical.coef) <= n_codes
    assert len({code.W.tobytes() for code in optical.codes}) == len(optical.codes)
    assert len({code.fold for code in optical.codes}) == min(2, len(optical.codes))


@pytest.mark.parametrize("cls", [CrossFittedOPURegressor, CrossFittedOPUClassifier])
def test_pipeline_of_one_code(cls):
    """Oracle: the model's own predictions, for the same passes."""
    target = y if cls is CrossFittedOPURegressor else np.where(y > 0, "up", "down")
    options = {**MODEL.get_params(), "prediction": "threshold", "n_codes": 1}
    model = cls(**options).fit(X, target)
    chain, found = model.to_pipeline(), model.predict(NEW)
    if cls is CrossFittedOPURegressor:
        np.testing.assert_allclose(chain.predict(NEW), found, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(chain.predict(NEW), found)
    for other in (clone(MODEL), clone(MODEL).set_params(prediction="mean")):
        with pytest.raises(ValueError, match="a pipeline has one code"):
            other.fit(X, y).to_pipeline()


def vendors_simulation():
    """The adapter of the vendor's library on its simulated device; skipped without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vendor = pytest.importorskip("lightonml.opu", exc_type=ImportError)
    device = vendor.SimulatedOpuDevice()
    device.build_random_matrix(20, 256, 5)
    return LightOnOPU(vendor.OPU(n_components=256, opu_device=device, max_n_features=20))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SimulatedOPU(medium="structured"),
        lambda: SimulatedOPU(camera=Camera()),
        lambda: calibrate(SimulatedOPU(camera=Camera()), n_bits=8, n_components=256),
        vendors_simulation,
        BlackBox,
    ],
    ids=["structured", "camera", "calibrated", "lightonml", "black box"],
)
def test_devices(make):
    """Oracle: predicting the mean; a pickle predicts the same."""
    device = make()
    model = clone(MODEL).set_params(opu=device, n_components=256).fit(X, y)
    assert model.score(NEW, NEW[:, 0] + np.sin(2 * NEW[:, 1])) > 0.4
    if isinstance(device, SimulatedOPU):
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(model)).predict(NEW), model.predict(NEW)
        )


def test_a_replayed_device(tmp_path):
    """Oracle: the recorded fit."""
    path = tmp_path / "passes"
    recording = RecordingOPU(SimulatedOPU(0), path)
    first = clone(MODEL).set_params(opu=recording).fit(X, y).predict(NEW)
    recording.close()
    again = clone(MODEL).set_params(opu=ReplayOPU(path)).fit(X, y).predict(NEW)
    np.testing.assert_array_equal(first, again)


def test_a_budget_is_looked_at_before_the_training():
    """Oracle: no pass and no model; with enough, all are used."""
    device = BlackBox()
    device.max_passes = 80 * 3 * 2 - 1
    model = clone(MODEL).set_params(opu=device)
    with pytest.raises(PassBudgetError):
        model.fit(X, y)
    assert device.n_passes == 0
    device.max_passes += 1
    assert model.fit(X, y).n_passes_ == device.max_passes


def test_a_budget_counts_what_a_machine_takes_for_itself():
    """Oracle: 64 codes for the gain; none is sent before the training."""
    machine = vendors_simulation()
    machine.max_passes = 80 * 3 * 2
    model = clone(MODEL).set_params(opu=machine)
    with pytest.raises(PassBudgetError, match="544 codes"):
        model.fit(X, y)
    assert machine.n_passes == 0
    machine.max_passes += 64
    model.fit(X, y)
    assert machine.n_passes == model.n_passes_ + 64 == machine.max_passes


def test_a_budget_within_counts():
    """Oracle: the budget of the device inside: no pass of the one around it."""
    inner = BlackBox()
    inner.max_passes = 80 * 3 * 2 - 1
    outer = GuardedOPU(inner)
    with pytest.raises(PassBudgetError, match="BlackBox has 479"):
        clone(MODEL).set_params(opu=outer).fit(X, y)
    assert outer.n_passes == inner.n_passes == 0


@pytest.mark.parametrize("method", ["predict", "predict_interval"])
def test_a_budget_is_looked_at_before_predictions(method):
    """Oracle: no pass, although the first rows would have had enough."""
    device = BlackBox()
    model = clone(MODEL).set_params(opu=device).fit(X, y)
    device.max_passes = device.n_passes + 256 * 6
    with pytest.raises(PassBudgetError, match="1800 codes"):
        getattr(model, method)(np.repeat(NEW, 10, axis=0))
    assert device.n_passes == model.n_passes_


def test_passes_are_set_aside_while_encoders_are_trained(monkeypatch):
    """Oracle: another user of the device, who gets none of them."""
    device = BlackBox()
    device.max_passes = 80 * 3 * 2
    train, refused = CrossFittedOPURegressor._train, []

    def with_another(*args):
        with pytest.raises(PassBudgetError, match="480 of them are set aside") as error:
            device.project(np.ones((1, 8)), 64)
        refused.append(error)
        return train(*args)

    monkeypatch.setattr(CrossFittedOPURegressor, "_train", with_another)
    assert clone(MODEL).set_params(opu=device).fit(X, y).n_passes_ == device.max_passes
    assert refused


@pytest.mark.parametrize("dies_at", [1, 3, 5])
def test_a_budget_of_the_rest_is_enough_to_go_on(dies_at):
    """Oracle: the passes that the fit takes without a fault, to the last."""
    machine = Flaky(dies_at=dies_at)
    machine.max_batch, machine.max_passes = 70, 80 * 3 * 2
    model = clone(MODEL).set_params(opu=machine)
    with pytest.raises(DeviceFault):
        model.fit(X, y)
    machine.repair()
    model.set_params(warm_start=True).fit(X, y)
    assert machine.n_passes == model.n_passes_ == machine.max_passes


@pytest.mark.parametrize("dies_at", [1, 4, 9])
def test_a_fault_is_made_good_by_the_next_fit(dies_at, monkeypatch):
    """Oracle: the fit without it; what was answered is not asked again, nothing trained twice."""
    expected = clone(MODEL).set_params(opu=Flaky()).fit(X, y)
    machine = Flaky(dies_at=dies_at)
    model = clone(MODEL).set_params(opu=machine)
    with pytest.raises(DeviceFault) as fault:
        model.fit(X, y)
    assert "warm_start=True" in fault.value.__notes__[0]
    assert not hasattr(model, "scalers_")
    machine.repair()
    monkeypatch.setattr("skopu.cross_fitted.training.train_fold_models", None)
    model.set_params(warm_start=True).fit(X, y)
    np.testing.assert_allclose(model.predict(NEW), expected.predict(NEW), rtol=1e-6)
    assert machine.n_passes - 30 * 6 == 80 * 6  # those of the prediction apart


def test_ctrl_c_between_passes():
    """Oracle: the fit that nothing disturbed."""
    expected = clone(MODEL).set_params(opu=BlackBox()).fit(X, y).predict(NEW)
    model = clone(MODEL).set_params(opu=Interrupting(0, 2), warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    np.testing.assert_allclose(model.set_params(opu=BlackBox()).fit(X, y).predict(NEW), expected)


def test_other_rows_are_another_fit():
    """Oracle: a fit of its own."""
    machine = Flaky(dies_at=2)
    model = clone(MODEL).set_params(opu=machine, warm_start=True)
    with pytest.raises(DeviceFault):
        model.fit(X, y)
    machine.repair()
    other = model.fit(X, 2 * y).predict(NEW)
    np.testing.assert_allclose(
        other, clone(MODEL).set_params(opu=Flaky()).fit(X, 2 * y).predict(NEW)
    )


def test_coverage_of_intervals():
    """Oracle: the share of new targets held; judged by fewer codes, intervals are rather wide."""
    data = np.random.default_rng(1)
    rows = data.normal(size=(400, 3))
    target = rows[:, 0] ** 2 + 0.3 * data.normal(size=400)
    model = clone(MODEL).set_params(n_codes=4, n_components=128).fit(rows[:150], target[:150])
    low, high = model.predict_interval(rows[150:], 0.8).T
    assert 0.7 < ((low <= target[150:]) & (target[150:] <= high)).mean() < 0.98


class TestSplits:
    """Splits of trees among the codes that are shown."""

    rows = rng.uniform(-1, 1, size=(260, 4))
    target = np.sign(rows[:, 0] - 0.31) * np.sign(rows[:, 1] + 0.27) + (rows[:, 2] > 0.63)
    options = {**MODEL.get_params(), "n_components": 512, "opu": BlackBox()}

    def test_one_pass_says_jumps(self):
        """Oracle: without trees, for the same passes; the device's count."""
        errors = []
        for trees in (False, "auto"):
            options = {**self.options, "trees": trees, "n_codes": 1, "prediction": "threshold"}
            options["scaler"] = "both"  # with columns weighed by trees, encoders say much of it
            model = CrossFittedOPURegressor(**options).fit(self.rows[:210], self.target[:210])
            assert model.n_passes_ == 210
            found = model.predict(self.rows[210:])
            errors.append(np.mean((found - self.target[210:]) ** 2))
        assert errors[1] < 0.5 * errors[0]
        assert [type(code).__name__ for code in model._optical_.codes] == ["SplitCode"]
        chain = model.to_pipeline()
        np.testing.assert_allclose(chain.predict(self.rows[210:]), found, rtol=1e-4, atol=1e-4)

    def test_encoders_get_the_draws_that_splits_do_not_need(self):
        """Oracle: one pass for splits; as many for each encoder as three codes of ten allow."""
        options = {**self.options, "n_draws": 10}
        model = CrossFittedOPURegressor(**options).fit(self.rows, self.target)
        codes = model._optical_.codes
        n_splits = sum(type(code).__name__ == "SplitCode" for code in codes)
        assert 0 < n_splits < 3
        draws = [1] * n_splits + [(30 - n_splits) // (3 - n_splits)] * (3 - n_splits)
        assert sorted(len(code.thresholds) for code in codes) == draws
        assert model.n_passes_ == 260 * sum(draws) <= 260 * 30
        assert model.predict_interval(self.rows[:5]).shape == (5, 2)

    def test_the_longest_codes_come_first(self, monkeypatch):
        """Oracle: a machine with mirrors for the codes that it sees first."""
        chosen = through_device.choose_codes
        monkeypatch.setattr(  # in whatever order they are chosen
            through_device, "choose_codes", lambda *args: sorted(chosen(*args), key=_length)
        )
        options = {**self.options, "n_codes": 4, "opu": Mirrors()}
        smooth = 2 * self.rows[:, 0] + self.rows[:, 1] + 0.5 * self.target
        model = CrossFittedOPURegressor(**options).fit(self.rows, smooth)
        lengths = [code.n_bits for code in model._optical_.codes]
        assert max(lengths) > min(lengths) == 8
        model.predict(self.rows[:5])

    def test_a_file_of_a_fit_cut_short(self, tmp_path):
        """Oracle: the same fit in one go, splits included."""
        machine = Flaky(dies_at=1)
        model = CrossFittedOPURegressor(**{**self.options, "opu": machine})
        with pytest.raises(DeviceFault):
            model.fit(self.rows, self.target)
        model.opu = None  # a machine cannot be saved
        joblib.dump(model, tmp_path / "model")
        loaded = joblib.load(tmp_path / "model").set_params(warm_start=True, opu=BlackBox())
        found = loaded.fit(self.rows, self.target).predict(self.rows[:9])
        expected = CrossFittedOPURegressor(**self.options).fit(self.rows, self.target)
        np.testing.assert_allclose(found, expected.predict(self.rows[:9]), rtol=1e-6)

    def test_a_small_device_gets_fewer_bits(self):
        """Oracle: the device's limit."""
        options = {**self.options, "opu": SimulatedOPU(max_bits=9), "n_codes": 4}
        model = CrossFittedOPURegressor(**options).fit(self.rows, self.target)
        assert max(code.n_bits for code in model._optical_.codes) <= 9


def _length(code):
    return code.n_bits
