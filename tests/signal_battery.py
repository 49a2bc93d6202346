"""Ctrl-C at random times in fits of every public estimator, by real signals.

A try is one signal that came while a fit was running. The suite makes a few for each estimator;
``python benchmarks/faults.py --signals 500`` as many as are named, and a table of them.
"""

import signal
import warnings
from copy import deepcopy
from functools import partial
from time import perf_counter

from batteries import MODELS, WARM, X, check_same, data, fresh, outcome
from laboratory import changed, ctrl_c_after, process_state
from sklearn.base import clone

from skopu import (
    AutoencoderBinarizer,
    BinaryAutoencoder,
    BinaryMLPClassifier,
    CrossFittedOPUClassifier,
    CrossFittedOPURegressor,
    DFABinarizer,
    DFAClassifier,
    DFARegressor,
    NeuralDNFClassifier,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    SupervisedBinarizer,
    TreeBinarizer,
)
from skopu.exceptions import InterruptedFitWarning

_ENCODER = SupervisedBinarizer(6, n_components=32, max_iter=8, batch_size=16, encoder_penalty=1e-3)
_CROSS = {"n_bits": 6, "cv": 2, "max_iter": 6}
_THROUGH = {"prediction": "draws", "n_components": 32, "n_codes": 2, "n_draws": 2}
_IN_CHUNKS = {"n_components": 32, "binarizer": _ENCODER, "chunk_size": 12}
# Those that complete a fit that was cut, to the bit, and short enough for many.
COMPLETED = {
    name: clone(model).set_params(
        **{("binarizer__" if name.startswith("EndToEnd") else "") + "max_iter": 8}
    )
    for name, model in WARM.items()
}
COMPLETED |= {
    "CrossFittedOPURegressor through a device": CrossFittedOPURegressor(**_CROSS, **_THROUGH),
    "CrossFittedOPUClassifier through a device": CrossFittedOPUClassifier(**_CROSS, **_THROUGH),
}
SIGNALLED = {
    **COMPLETED,
    "BinaryMLPClassifier": BinaryMLPClassifier((8,), max_iter=6),
    "BinaryAutoencoder": BinaryAutoencoder(4, max_iter=6),
    "DFABinarizer": DFABinarizer(6, n_components=32, max_iter=6),
    "DFAClassifier": DFAClassifier((8,), max_iter=6),
    "DFARegressor": DFARegressor((8,), max_iter=6),
    "NeuralDNFClassifier": NeuralDNFClassifier(3, max_iter=8),
    "OPURandomFeatures": MODELS["of a learned gamma"],
    "HyperplaneBinarizer": MODELS["HyperplaneBinarizer"],
    "ThermometerBinarizer": MODELS["ThermometerBinarizer"],
    "TreeBinarizer": TreeBinarizer(n_estimators=4),
    "AutoencoderBinarizer": AutoencoderBinarizer(6, max_iter=6),
    "OPUKernelRidge": OPUKernelRidge(**_IN_CHUNKS),
    "OPUKernelRidgeClassifier": OPUKernelRidgeClassifier(**_IN_CHUNKS),
    "OPUKernelRidge in the dual": OPUKernelRidge(kernel="rbf", compute_std=True),
    "CrossFittedOPURegressor": CrossFittedOPURegressor(**_CROSS),
    "CrossFittedOPUClassifier": CrossFittedOPUClassifier(**_CROSS),
}


class Signals:
    """Fits of one estimator that signals come into.

    Parameters
    ----------
    name : str
        In ``SIGNALLED``.

    Attributes
    ----------
    counts : dict of str to int
        What became of the signals' fits: the model stayed as it was, was completed with what had
        been learned, or was whole already.
    """

    def __init__(self, name):
        self.name, self.counts = name, {"as it was": 0, "cut short": 0, "whole": 0}
        self._rows = data(SIGNALLED[name])
        fresh(SIGNALLED[name]).fit(*self._rows)  # loads what is loaded once
        start = perf_counter()
        whole = fresh(SIGNALLED[name]).fit(*self._rows)
        self._seconds = perf_counter() - start
        self._whole = outcome(whole, X)
        self._old = fresh(SIGNALLED[name]).fit(*data(whole, again=True))
        self._before = outcome(self._old, self._old_rows())
        self._process = process_state()

    @property
    def n(self):
        """Signals that came."""
        return sum(self.counts.values())

    def one_fit(self, rng):
        """Interrupt a fit, the first of a model or a later one, then fit to the end.

        Oracle: the fit that nobody interrupted, to the bit; until then what the model was before.
        """
        is_refit = rng.random() < 0.5
        model = deepcopy(self._old) if is_refit else fresh(SIGNALLED[self.name])
        completes = self.name in COMPLETED and not is_refit
        if completes:
            model.set_params(warm_start=True)
        for _ in range(3 if completes else 1):
            before = self._before if is_refit else dict.fromkeys(self._before)
            came = self._interrupt(model, before, self._old_rows(), rng)
            if came != "as it was":
                break
        # One that was whole, and may go on, would be trained further.
        if came != "whole":
            model.fit(*self._rows)
        check_same(outcome(model, X), self._whole, f"{self.name}, {came}")
        return came

    def _old_rows(self):
        return data(self._old, again=True)[0]

    def _interrupt(self, model, before, rows, rng):
        """Fit with a signal; return what became of the model."""
        state, delay = vars(model), float(rng.uniform(1e-4, self._seconds))
        with warnings.catch_warnings(record=True, action="always") as told:
            raised = ctrl_c_after(delay, partial(model.fit, *self._rows))[1]
        assert signal.getsignal(signal.SIGINT) == self._process["signals"][signal.SIGINT]
        now = {name: process_state()[name] for name in changed(self._process)}
        assert not now, f"{self.name} changed {now}"
        is_cut = any(issubclass(warning.category, InterruptedFitWarning) for warning in told)
        # A fit takes effect by one assignment of all attributes.
        if raised and vars(model) is state:
            check_same(outcome(model, rows), before, f"{self.name}: the model before")
            became = "as it was"
        else:
            became = "cut short" if is_cut else "whole"
            assert is_cut or raised or outcome(model, X).keys() == self._whole.keys()
        if raised or is_cut:  # else the fit was over before it came
            self.counts[became] += 1
        return became


def signals_in_fits(name, n, rng):
    """Fits of an estimator until ``n`` signals have come; return their ``counts``."""
    fits = Signals(name)
    while fits.n < n:
        fits.one_fit(rng)
    return fits.counts
