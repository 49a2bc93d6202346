"""Training steps that a card records and repeats; a recorder stands in for CUDA graphs."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skopu import CrossFittedOPURegressor, SupervisedBinarizer
from skopu._core.tensors import to_floats
from skopu.training import capture
from skopu.training.capture import Captured, RatedStep
from skopu.training.rows import in_advance


class Recorder(TorchDispatchMode):
    """Remembers operations with the memory that they read and write, as a CUDA graph does.

    Recording leaves all memory as it was; looking at a value is an error; numbers stay what they
    were when they were recorded.
    """

    def __init__(self):
        super().__init__()
        self.calls, self._before = [], {}

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        if "_local_scalar_dense" in str(function):
            raise RuntimeError("operation not permitted when stream is capturing")
        names = [argument.name for argument in function._schema.arguments]
        given = dict(zip(names, arguments)) | options
        for argument in function._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for part in tree_leaves(given.get(argument.name)):
                    self._before.setdefault(id(part), (part, part.clone()))
        result = function(*arguments, **options)
        self.calls.append((function, arguments, options, result))
        return result

    @torch.no_grad()
    def forget(self):
        for part, before in self._before.values():
            part.copy_(before)

    @torch.no_grad()
    def replay(self):
        for function, arguments, options, kept in self.calls:
            result = function(*arguments, **options)
            for there, found in zip(tree_leaves(kept), tree_leaves(result)):
                if isinstance(there, torch.Tensor) and there is not found:
                    there.copy_(found)


def record(function, inputs):
    recorder = Recorder()
    with recorder:
        outputs = function(*inputs)
    recorder.forget()
    return recorder, outputs


@pytest.fixture
def recorded(monkeypatch):
    """Have functions recorded on the processor; return the number of recordings as a list."""
    made = []

    def counted(function, inputs):
        made.append(1)
        return record(function, inputs)

    monkeypatch.setattr(capture, "recorder_of", lambda tensor: counted)
    return made


class TestCaptured:
    """Oracle: the function, called as it is."""

    def test_memory_is_written_once_a_call(self, recorded):
        total = torch.zeros(3)

        def add(given):
            total.add_(given)
            return (total * 2,)

        captured, results = Captured(add, lambda: [total]), []
        for number in range(6):
            results.append(captured(torch.full((3,), float(number)))[0])
        assert total.tolist() == [15.0] * 3
        assert [result[0].item() for result in results] == [0, 2, 6, 12, 20, 30]
        assert len(recorded) == 1

    def test_another_shape_or_memory_is_recorded_anew(self, recorded):
        parts = [torch.zeros(2)]
        captured = Captured(lambda given: (given.sum() + parts[0].sum(),), lambda: parts)
        for size in (2, 5):
            for _ in range(4):
                assert captured(torch.ones(size))[0] == size
        parts[0] = torch.ones(2)
        for _ in range(4):
            assert captured(torch.ones(5))[0] == 7
        assert len(recorded) == 3

    def test_what_cannot_be_recorded_is_called(self, recorded):
        part = torch.ones(1)
        captured = Captured(lambda given: (given.sum().item(),), lambda: [part])
        with pytest.warns(UserWarning, match="could not record the training step"):
            found = [captured(torch.ones(3)) for _ in range(5)]
        assert found == [(3.0,)] * 5
        assert len(recorded) == 1

    def test_the_processor_records_nothing(self):
        assert capture.recorder_of(torch.ones(1)) is None

    def test_rates_change_between_steps(self, recorded):
        """Oracle: Adam with the same rates."""
        found = []
        for is_captured in (False, True):
            weight = torch.nn.Parameter(torch.ones(4))
            optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
            step = RatedStep(optimizer, is_captured)
            weight.grad = torch.empty(4)
            for number in range(8):
                weight.grad.copy_(weight.detach() * number)
                step(1 / (1 + number))
            found.append(weight.detach().numpy())
        np.testing.assert_allclose(*found, rtol=1e-6)
        assert recorded


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4))
    return X, X[:, 0] * X[:, 1] + X[:, 2]


class TestTraining:
    """Oracle: the same training, operation by operation."""

    def fit(self, model, data):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return clone(model).fit(*data)

    @pytest.mark.parametrize("penalty", [0.01, "auto"])
    def test_exact_encoders(self, data, penalty, monkeypatch, request):
        model = SupervisedBinarizer(
            5, gradient="exact", max_iter=24, encoder_penalty=penalty, batch_size=16, random_state=0
        )
        plain = self.fit(model, data)
        made = request.getfixturevalue("recorded")
        found = self.fit(model, data)
        # Gradient and step; the choice of a penalty does it twice, with all and with those left.
        assert len(made) == (2 if penalty == 0.01 else 6)
        np.testing.assert_allclose(found.coef_, plain.coef_, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            found.history_["loss"], plain.history_["loss"], rtol=1e-3, atol=1e-5
        )
        assert found.encoder_penalty_ == plain.encoder_penalty_

    def test_classes_in_double_precision(self, data, request):
        X, y = data[0], np.digitize(data[1], [-1, 1])
        model = SupervisedBinarizer(
            4,
            gradient="exact",
            max_iter=12,
            encoder_penalty=0.01,
            batch_size=16,
            dtype="float64",
            random_state=0,
        )
        plain = self.fit(model, (X, y))
        assert request.getfixturevalue("recorded") == []
        np.testing.assert_allclose(self.fit(model, (X, y)).coef_, plain.coef_, rtol=1e-4, atol=1e-6)

    def test_a_run_goes_on(self, data, request):
        """Oracle: the same two fits, operation by operation."""
        model = SupervisedBinarizer(
            4, gradient="exact", max_iter=9, encoder_penalty=0.01, warm_start=True, random_state=0
        )
        plain = self.fit(model, data).fit(*data)
        assert request.getfixturevalue("recorded") == []
        found = pickle.loads(pickle.dumps(self.fit(model, data))).fit(*data)
        assert found.n_iter_ == plain.n_iter_ == 18
        np.testing.assert_allclose(found.coef_, plain.coef_, rtol=1e-3, atol=1e-5)

    def test_cross_fitted(self, data, request):
        model = CrossFittedOPURegressor(4, max_iter=24, cv=2, n_best=2, random_state=0)
        plain = self.fit(model, data)
        made = request.getfixturevalue("recorded")
        found = self.fit(model, data)
        assert len(made) == 4
        np.testing.assert_allclose(found.predict(data[0]), plain.predict(data[0]), atol=1e-2)
        np.testing.assert_allclose(
            found.history_["loss"], plain.history_["loss"], rtol=1e-3, atol=1e-5
        )

    def test_binary_weights_are_not_recorded(self, data, recorded):
        model = SupervisedBinarizer(
            4, gradient="exact", weights="binary", max_iter=6, encoder_penalty=0.01, random_state=0
        )
        self.fit(model, data)
        assert not recorded

    def test_minibatches_are_moved_in_advance(self):
        """Oracle: the order as it comes; "meta" stands for a card."""
        batches = iter([np.array([number, number + 1]) for number in range(300)])
        assert next(in_advance(batches, torch.device("cpu"))).tolist() == [0, 1]
        moved = in_advance(batches, torch.device("meta"))
        assert next(moved).shape == (2,)
        assert next(batches).tolist() == [257, 258]


def test_losses_are_fetched_together():
    assert to_floats([torch.tensor(1.5), torch.tensor(2.0)]) == [1.5, 2.0]
    assert to_floats([torch.tensor(1.5), 3]) == [1.5, 3.0]
    assert to_floats([]) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize("penalty", [0.01, "auto"])
def test_a_card_learns_the_same(data, penalty):
    """Oracle: training on the processor, rounded otherwise."""
    losses = []
    for torch_device in ("cpu", "cuda"):
        model = SupervisedBinarizer(
            5, gradient="exact", max_iter=60, encoder_penalty=penalty, torch_device=torch_device
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            losses.append(clone(model).set_params(random_state=0).fit(*data).history_["loss"])
    np.testing.assert_allclose(*losses, rtol=0.05)
