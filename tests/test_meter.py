"""What may be answered for a device, and what its clones share."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from oracles import BlackBox, Hardware
from sklearn.base import clone
from sklearn.datasets import make_friedman1

from skopu import DFARegressor, EndToEndOPURegressor, OPUKernelRidge, SupervisedBinarizer
from skopu.devices import (
    AnchorRetrieval,
    Camera,
    GuardedOPU,
    MachineOPU,
    OPUDevice,
    PhaseShiftingHolography,
    RecordingOPU,
    ReplayOPU,
    SimulatedOPU,
    calibrate,
)
from skopu.exceptions import PassBudgetError

X, y = make_friedman1(60, n_features=5, random_state=0)
CODES = np.random.default_rng(0).integers(0, 2, size=(40, 12), dtype=np.uint8)


class Budgeted(BlackBox):
    """A user's device of the plainest kind, with a budget."""

    max_passes = 500
    sent = 0  # by all objects of the class

    def _project(self, codes, n_components):
        type(self).sent += len(codes)
        return super()._project(codes, n_components)


class Dimmed(SimulatedOPU):
    """Says nothing of its answers, which are not those of the matrix it inherits."""

    def _project(self, codes, n_components):
        return super()._project(codes, n_components) / 2


class Mixin:
    def _project(self, codes, n_components):
        return 2 * super()._project(codes, n_components)


class Mixed(Mixin, SimulatedOPU):
    pass


class OwnTruth(SimulatedOPU):
    """Says that its answers, made in another way, are those of the matrix."""

    computable = True

    def _project(self, codes, n_components):
        return np.abs(codes @ self.matrix(codes.shape[1], n_components).T) ** 2


class TestCapabilities:
    @pytest.mark.parametrize(
        ("device", "known", "computable"),
        [
            (SimulatedOPU(), True, True),
            (SimulatedOPU(camera=Camera()), False, False),
            (SimulatedOPU(medium="structured"), False, False),
            (SimulatedOPU(medium="auto"), False, False),
            (GuardedOPU(), True, True),
            (GuardedOPU(BlackBox()), False, False),
            (RecordingOPU("simulated", "nowhere"), False, False),
            (ReplayOPU("nowhere"), False, False),
            (calibrate(BlackBox(), 8, 20), True, False),
            (GuardedOPU(calibrate(BlackBox(), 8, 20)), True, False),
            (BlackBox(), False, False),
            (MachineOPU(), False, False),
            (Dimmed(), True, False),
            (Mixed(), True, False),
            (GuardedOPU(Dimmed()), True, False),
            (OwnTruth(), True, True),
        ],
        ids=repr,
    )
    def test_each_device_says_what_may_be_done_for_it(self, device, known, computable):
        assert (device.known_matrix, device.computable) == (known, computable)

    @pytest.mark.parametrize("gradient", ["loo", "rebar", "quadratic"])
    def test_what_is_merely_known_is_asked(self, gradient):
        """Oracle: the machine's own count; 15,510 passes used to be claimed and 150 sent."""
        machine = Hardware(gain=1.0)
        device = calibrate(machine, 8, 256)
        machine.n_passes = 0
        binarizer = SupervisedBinarizer(
            8, n_components=256, max_iter=8, gradient=gradient, encoder_penalty=1e-3, opu=device
        )
        binarizer.fit(X, y)
        assert binarizer.n_passes_ == machine.n_passes > 0


class TestOneMeter:
    @pytest.mark.parametrize("budget", ["of the class", "of the object"])
    def test_a_budget_is_spent_once_in_a_fit(self, budget):
        """Oracle: the codes that reached the device; clones used to allow 600 of 500."""
        Budgeted.sent = 0
        opu = Budgeted()
        if budget == "of the object":
            opu = BlackBox()
            opu.max_passes = 500
        binarizer = SupervisedBinarizer(
            6, n_components=64, max_iter=40, batch_size=20, encoder_penalty=1e-3, opu=opu
        )
        model = EndToEndOPURegressor(binarizer, n_draws=2, random_state=0)
        with pytest.warns(UserWarning, match="max_passes=500"):
            model.fit(X, y)
        assert opu.n_passes == model.features_.opu_.n_passes == model.n_passes_ <= 500
        assert budget == "of the object" or Budgeted.sent == opu.n_passes
        with pytest.raises(PassBudgetError):
            OPUKernelRidge(n_components=64, opu=clone(opu)).fit(CODES, CODES[:, 0])
        opu.max_passes = 10_000
        assert clone(opu).max_passes == 10_000 or budget == "of the class"

    def test_clones_count_together_and_copies_for_themselves(self):
        opu = SimulatedOPU(3)
        opu.max_passes = 100
        twin = clone(OPUKernelRidge(opu=opu)).opu
        twin.project(CODES, 4)
        assert (opu.n_passes, twin.n_passes) == (40, 40)
        for other in (copy.deepcopy(opu), pickle.loads(pickle.dumps(opu))):
            assert (other.n_passes, other.max_passes) == (40, 100)
            other.project(CODES, 4)
            assert (other.n_passes, opu.n_passes) == (80, 40)

    def test_a_budget_is_looked_at_before_a_prediction(self):
        """Oracle: no pass, although the first 2048 of 2400 rows would have had enough."""
        opu = BlackBox()
        binarizer = SupervisedBinarizer(
            6, n_components=32, max_iter=2, encoder_penalty=1e-3, opu=opu, random_state=0
        )
        model = EndToEndOPURegressor(binarizer, n_draws=2, random_state=0).fit(X, y)
        n_passes, rows = opu.n_passes, np.repeat(X, 40, axis=0)
        opu.max_passes = n_passes + 4799
        with pytest.raises(PassBudgetError, match="4800 codes"):
            model.predict(rows)
        assert opu.n_passes == n_passes
        opu.max_passes += 1
        assert model.predict(rows).shape == (2400,)

    def test_plans_know_the_device_inside(self):
        """Oracle: the budget of the device inside, of which nothing is spent."""
        opu = GuardedOPU(BlackBox())
        opu.opu.max_passes = 10
        opu.check_passes(10)
        with pytest.raises(PassBudgetError, match="BlackBox has 10"):
            opu.check_passes(11)
        assert opu.n_passes == opu.opu.n_passes == 0

    def test_a_name_stands_for_a_fresh_device(self):
        models = [OPUKernelRidge(n_components=32, opu="simulated").fit(CODES, y[:40]) for _ in "12"]
        assert [m.features_.opu_.n_passes for m in models] == [40, 40]

    def test_what_is_computed_counts_in_the_device_too(self):
        inner = SimulatedOPU()
        inner.max_passes = 10
        opu = GuardedOPU(inner)
        opu.count_passes(8)
        assert (opu.n_passes, inner.n_passes) == (8, 8)
        with pytest.raises(PassBudgetError, match="SimulatedOPU has 2 of max_passes=10 left"):
            opu.count_passes(3)
        assert (opu.n_passes, inner.n_passes) == (8, 8)


class TestThreads:
    def test_each_thread_counts_its_own(self):
        """Oracle: the codes that each thread sent."""
        opu = SimulatedOPU()

        def work(n_calls):
            with opu.counting() as tally:
                for _ in range(n_calls):
                    clone(opu).project(CODES[:n_calls], 8)
            return tally.n_passes

        with ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(work, range(1, 30)))
        assert counts == [n * n for n in range(1, 30)]
        assert opu.n_passes == sum(counts)

    def test_one_retrieval_for_several_threads(self):
        """Oracle: each size alone; anchors of one size used to be taken for another's."""
        sizes = [(bits, n) for bits in (4, 6, 9) for n in (3, 8)] * 4
        expected = [AnchorRetrieval(SimulatedOPU()).project(CODES[:, :k], n) for k, n in sizes]
        opu = SimulatedOPU()
        shared = AnchorRetrieval(opu, n_repeats=2)
        found = joblib.Parallel(6, backend="threading")(
            joblib.delayed(shared.project)(CODES[:, :k], n) for k, n in sizes
        )
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)
        assert shared.n_passes == opu.n_passes

    def test_retrievals_on_one_device_count_their_own(self):
        """Oracle: the frames of one call, alone."""
        opu = SimulatedOPU()
        alone = AnchorRetrieval(SimulatedOPU())
        alone.project(CODES, 5)
        retrievals = [AnchorRetrieval(opu) for _ in range(8)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda retrieval: retrieval.project(CODES, 5), retrievals))
        assert {retrieval.n_passes for retrieval in retrievals} == {alone.n_passes}
        assert opu.n_passes == 8 * alone.n_passes


def test_fits_that_share_a_projector_count_their_own():
    """Oracle: the frames of each fit by itself."""
    light = SharedLight(SimulatedOPU())
    models = [
        DFARegressor((4,), projector=light, error_encoding="sign", max_iter=n, random_state=0)
        for n in (1, 2, 3)
    ]
    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(lambda model: clone(model).fit(X, y).n_passes_, models))
    assert counts == [clone(model).fit(X, y).n_passes_ for model in models]


class SharedLight(PhaseShiftingHolography):
    """A bench: a clone is the bench itself."""

    def __init__(self, opu):
        super().__init__(opu)

    def __sklearn_clone__(self):
        return self


def test_a_device_says_what_it_is_in_its_class():
    """Also one that has no matrix at all may not be answered for."""
    assert not OPUDevice.computable
    assert not OPUDevice.known_matrix
