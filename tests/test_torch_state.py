"""Torch's ambient state: what others have set changes no fit, and no fit changes it."""

import contextlib
import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer

import skopu
from skopu._core.torch_state import plain_torch

X, y = load_breast_cancer(return_X_y=True)
X, y = X[:100], y[:100]
BINARIZER = skopu.SupervisedBinarizer(6, n_components=24, max_iter=3, random_state=0)
CODES = (X.mean(0) < X).astype(np.uint8)
# Every estimator that trains or predicts with torch.
MODELS = {
    "binarizer": BINARIZER,
    "exact binarizer": clone(BINARIZER).set_params(gradient="exact"),
    "binary binarizer": clone(BINARIZER).set_params(weights="binary", gradient="quadratic"),
    "end to end": skopu.EndToEndOPUClassifier(BINARIZER, n_draws=2, random_state=0),
    "cross-fitted": skopu.CrossFittedOPUClassifier(6, cv=2, max_iter=3, random_state=0),
    "dfa": skopu.DFAClassifier((8,), max_iter=2, random_state=0),
    "dfa binarizer": skopu.DFABinarizer(6, n_components=24, max_iter=2, random_state=0),
    "binary mlp": skopu.BinaryMLPClassifier((8,), max_iter=2, random_state=0),
    "rules": skopu.NeuralDNFClassifier(3, max_iter=3, random_state=0),
    "binary autoencoder": skopu.BinaryAutoencoder(6, max_iter=3, random_state=0),
    "autoencoder": skopu.AutoencoderBinarizer(6, max_iter=3, random_state=0),
    "features": skopu.OPURandomFeatures(n_components=24, gamma="learn"),
    "kernel ridge": skopu.OPUKernelRidgeClassifier(n_components=24, binarizer=BINARIZER),
}


@contextlib.contextmanager
def setting(set_, value, usual):
    set_(value)
    try:
        yield
    finally:
        set_(usual)


# What other libraries and users do.
STATES = {
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: setting(torch.set_default_dtype, torch.float16, torch.float32),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "precision": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
}


def state():
    """What a fit must leave as it was."""
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
    )


def answer(model):
    """Everything that a fit with torch leads to."""
    rows = CODES if isinstance(model, skopu.OPURandomFeatures) else X
    fitted = clone(model).fit(rows, y)
    names = ("predict_proba", "predict", "bit_probabilities", "transform")
    return {name: getattr(fitted, name)(rows) for name in names if hasattr(fitted, name)}


@pytest.fixture(scope="module")
def plain():
    return {name: answer(model) for name, model in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_that_is_set_changes_a_fit(name, plain):
    """Oracle: the same fit in torch as it comes, to the last bit."""
    for description, enter in STATES.items():
        with enter():
            before = state()
            found = answer(MODELS[name])
            assert state() == before, description
        for method, expected in plain[name].items():
            np.testing.assert_array_equal(found[method], expected, err_msg=description)


@pytest.mark.parametrize("name", STATES)
def test_inside_it_is_as_it_comes(name):
    """Oracle: torch in a fresh process, as ``state`` finds it here; gradients flow."""
    usual = state()
    with STATES[name]():
        before = state()
        assert before != usual
        with plain_torch():
            assert state() == usual
            weight = torch.ones(2, requires_grad=True)
            (weight @ weight).backward()
            assert weight.grad.tolist() == [2, 2]
        assert state() == before


def test_an_error_leaves_it_as_it_was():
    with torch.no_grad():
        with pytest.raises(ZeroDivisionError), plain_torch():
            raise ZeroDivisionError
        assert not torch.is_grad_enabled()


def test_the_last_of_several_threads_puts_it_back():
    """Oracle: the order of events: the thread that came first leaves first."""
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    seen = []

    def first():
        with plain_torch():
            first_is_in.set()
            second_is_in.wait()
        first_is_out.set()

    def second():
        first_is_in.wait()
        with plain_torch():
            second_is_in.set()
            first_is_out.wait()
            seen.append(torch.get_default_dtype())

    with setting(torch.set_default_dtype, torch.float64, torch.float32):
        threads = [threading.Thread(target=work) for work in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64


def test_fits_draw_nothing_from_the_generator_of_the_process(plain):
    """Oracle: its state, which somebody else's draws depend on."""
    for name, model in MODELS.items():
        before = torch.get_rng_state()
        answer(model)
        assert torch.equal(torch.get_rng_state(), before), name
