"""Training an encoder against a device, from arrays to arrays."""

import io
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skopu._core.interrupts import Interrupts, restoring
from skopu._core.places import resolve_torch_device
from skopu._core.random import draw_seeds
from skopu._core.tensors import to_numpy
from skopu.exceptions import DeviceFault
from skopu.gradients import resolve_gradient
from skopu.losses import LOSSES
from skopu.objectives import Objective, resolve_kappa
from skopu.training.autograd_loop import AutogradLoop
from skopu.training.binary_exact import BinaryExactModel
from skopu.training.choice import PENALTIES, choose
from skopu.training.encoders import make_encoder
from skopu.training.exact_model import ExactModel
from skopu.training.joint import JointModel
from skopu.training.needs import check_parts
from skopu.training.optimizers import share_with_bop
from skopu.training.rows import TrainingRows, in_advance, minibatches

MAX_ITER = 1500
# Steps without device and draws are cheap: more of them, and 100 epochs where rows are many.
_EXACT_ITER, _EXACT_EPOCHS, _MAX_EXACT_ITER = 3000, 100, 10_000
_MAX_CHOICE_ITER = 1500  # of the choice of a penalty: candidates are ranked, not used
_TAU = 1e-8  # of Bop: gradients below it are rounding


@dataclass(frozen=True)
class TrainedEncoder:
    """What training leaves: weights (k, d), bias (k,), and the record of the run.

    ``scaling`` is the place of the copy that was trained on, ``start`` where its encoder started.

    ``fault`` is what stopped the device, and ``state`` what to go on from, as bytes; both may be
    None. ``was_cut`` says that the user cut it short. A device that failed before the first
    minibatch leaves no weights.
    """

    scaling: int
    start: str
    encoder_penalty: float
    penalty_errors: dict
    gradient: object
    n_passes: int
    coef: np.ndarray | None = None
    intercept: np.ndarray | None = None
    gamma: float | np.ndarray | None = None
    history: dict | None = None
    n_iter: int = 0
    fault: Exception | None = None
    state: bytes | None = None
    was_cut: bool = False


def train_encoder(copies, loss, device, settings, seed, keep, resume=None, adds=True):
    """Train an encoder jointly with a readout, through a device or exactly.

    Parameters
    ----------
    copies : list of Rows
        With inputs in each scaling that is to be tried, the safest first, and targets as
        ``encode_targets`` makes them; one copy to go on from an earlier training.
    loss : {"squared_error", "cross_entropy"}
    device : OPUDevice
        Open, and large enough.
    settings : object
        Anything with the training parameters of ``SupervisedBinarizer`` as attributes.
    seed : int
    keep : callable
        Is given the ``TrainedEncoder``, before Ctrl-C can take it away.
    resume : bytes or None, default=None
        The ``state`` of an earlier training, to go on from.
    adds : bool, default=True
        Whether to train further if the earlier training was finished; if not, it is delivered.

    Returns
    -------
    trained : TrainedEncoder
    """
    objective = Objective(LOSSES[loss](), resolve_kappa(settings.objective))
    gradient = resolve_gradient(settings.gradient)
    check_parts(gradient, objective, device, settings.learn_gamma)
    seeds = draw_seeds(seed, 6)
    data = [TrainingRows(*rows[:3], settings, settings.dtype, seeds[1]) for rows in copies]
    n_features, n_outputs = copies[0].X.shape[1], copies[0].Y.shape[1]
    max_iter = _resolve_max_iter(settings, gradient, data[0].n_rows)
    state = _unpack(resume, settings, adds)
    # Two pools of threads that take turns on the same cores wait for each other: the device's
    # product keeps its threads, torch's thin operations get one.
    with restoring(partial(threadpool_limits, 1, user_api="openmp")):
        if state["penalty"] is None:
            n_iter = max(1, min(max_iter // 2, _MAX_CHOICE_ITER))
            rest = n_iter, seeds[4], gradient.uses_device
            chosen = _choose(data, n_outputs, objective, settings, *rest)
            state = {**state, **chosen}
        data = data[state["scaling"]]
        encoder = make_encoder(n_features, settings, seeds[5], state["start"])
        encoder = encoder.to(data.start_rows())
        model = _make_model(encoder, device, gradient, objective, settings, seeds[0], state)
        fault = _start(model, data, n_outputs, seeds[2], state)
        loop, run = None, None
        if fault is None:
            loop = _make_loop(model, data, settings, max_iter, seeds[3], state["run"])
        # What was learned is kept before another Ctrl-C can undo that.
        with Interrupts(one_at_a_time=True) as interrupts:
            if loop is not None:
                run = loop.run()
            with interrupts.held():
                trained = _trained(model, run, fault, gradient, state)
                keep(trained)
    return trained


def _choose(data, n_outputs, objective, settings, *rest):
    """Return scaling, penalty and start to train with, and errors, as parts of a state."""
    penalty = settings.encoder_penalty
    penalties = PENALTIES if isinstance(penalty, str) else [penalty]
    starts = [settings.start]
    if settings.start == "auto":
        starts = ["hyperplanes", "thresholds"] if settings.weights == "real" else ["hyperplanes"]
    choice = choose(data, penalties, starts, n_outputs, objective, settings, *rest)
    # Of a penalty that was given there is nothing to compare.
    chosen = choice._asdict() if isinstance(penalty, str) else {**choice._asdict(), "errors": {}}
    return {**chosen, "penalty": float(choice.penalty)}


def _start(model, data, n_outputs, seed, state):
    """Start or resume a model; return the fault of the device, if there was one."""
    rows, run = data.start_rows(), state["run"]
    if run is not None:
        model.resume(rows, n_outputs, seed, run["module"], state["model"])
        return None
    try:
        model.start(rows, n_outputs, seed)
    except DeviceFault as fault:
        return fault
    return None


def _trained(model, run, fault, gradient, state):
    facts = {
        "scaling": state["scaling"],
        "start": state["start"],
        "encoder_penalty": state["penalty"],
        "penalty_errors": state["errors"],
        "gradient": gradient,
        "n_passes": model.n_passes,
    }
    state = {**state, "n_passes": model.n_passes}
    if fault is not None:
        return TrainedEncoder(**facts, fault=fault, state=_pack(state))
    kept = None
    if run.state is not None:
        own = model.state()
        kept = _pack({**state, "run": run.state, "model": own})
    weight, bias = model.encoder_weights()
    return TrainedEncoder(
        **facts,
        coef=to_numpy(weight),
        intercept=to_numpy(bias),
        gamma=model.gamma,
        history=run.history,
        n_iter=run.n_iter,
        fault=run.fault,
        state=kept,
        was_cut=run.was_cut,
    )


def _pack(state):
    """Return nested dicts of numbers and tensors as bytes, which pickle without torch."""
    # torch's format, read back with ``weights_only``: it holds numbers, and can run no code.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _unpack(state, settings, adds):
    """Return what an earlier training left, or the state of one that has not begun."""
    if state is None:
        empty = dict.fromkeys(("penalty", "start", "run", "model"))
        return {**empty, "errors": {}, "n_passes": 0, "scaling": 0}
    place = resolve_torch_device(settings.torch_device)
    state = torch.load(io.BytesIO(state), map_location=place, weights_only=True)
    if state["run"] is not None:
        state["run"]["is_finished"] &= adds
    return {**state, "scaling": 0}  # of the one copy that it goes on with


def _resolve_max_iter(settings, gradient, n_rows):
    """Return the number of minibatches that ``settings.max_iter`` stands for."""
    if settings.max_iter != "auto":
        return settings.max_iter
    if gradient.uses_device:
        return MAX_ITER
    n_epochs = _EXACT_EPOCHS * n_rows // settings.batch_size
    return min(max(_EXACT_ITER, n_epochs), _MAX_EXACT_ITER)


def _make_model(encoder, device, gradient, objective, settings, seed, state):
    """Return the model that the way of training asks for, not yet started."""
    if not gradient.uses_device:
        exact = ExactModel if settings.weights == "real" else BinaryExactModel
        return exact(
            encoder, objective.loss, objective.kappa, state["penalty"], settings.readout_penalty
        ).to(resolve_torch_device(settings.torch_device))
    return JointModel(
        encoder,
        device,
        gradient,
        objective,
        n_components=settings.n_components,
        encoder_penalty=state["penalty"],
        readout_penalty=settings.readout_penalty,
        learn_gamma=settings.learn_gamma,
        generator=torch.Generator(resolve_torch_device(settings.torch_device)).manual_seed(seed),
        # Passes of an earlier fit that a device ended before there was anything to go on from.
        n_lost=state["n_passes"],
    ).to(resolve_torch_device(settings.torch_device))


def _make_loop(model, data, settings, max_iter, seed, resume):
    """Return the loop of a model that has been started or resumed."""
    held_out = settings.early_stopping
    return _EncoderLoop(
        model,
        data,
        settings,
        seed,
        max_iter=max_iter,
        share=min(1.0, settings.batch_size / data.n_rows),
        verbose=settings.verbose,
        patience=settings.n_iter_no_change if held_out else None,
        resume=resume,
        keeps_state=settings.warm_start,
    )


class _EncoderLoop(AutogradLoop):
    """The run of an encoder's model."""

    description = "training encoder"

    def __init__(self, model, data, settings, seed, **run):
        is_captured = model.can_be_captured and data.is_dense
        super().__init__(model, _make_optimizer(model, settings), is_captured, **run)
        self._model, self._data, self.validates = model, data, settings.early_stopping
        # A run that goes on takes up the order of the rows where it was cut.
        order = minibatches(data.n_rows, settings.batch_size, seed)
        self._batches = in_advance(islice(order, self.n_done, None), data.device)
        self._progress = np.linspace(0, 1, run["max_iter"])

    def inputs(self):
        return (next(self._batches),)

    def surrogate(self, positions):
        self._model.progress = self._progress[self.n_since_start]
        loss, surrogate = self._model.step(*self._data.rows(positions))
        return loss, surrogate, self._model.n_passes

    def validate(self):
        return self._model.loss(*self._data.held_out())

    def mark(self):
        self._model.mark()


def _make_optimizer(model, settings):
    groups = model.groups(settings.learning_rate, settings.readout_learning_rate)
    return share_with_bop(model, groups, gamma=settings.bop_gamma, tau=_TAU)
