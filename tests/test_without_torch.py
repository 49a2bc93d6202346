"""Without torch: what needs none works, and what needs it says how to get it.

Oracle: another process in which torch cannot be imported; its numbers are those of this one.
"""

import inspect
import json
import subprocess
import sys

import pytest
from sklearn.base import BaseEstimator

import skopu

# A finder in front of all others: as if torch were not installed.
_BLOCK = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
if WITHOUT:
    sys.meta_path.insert(0, NoTorch())
"""
_WORK = """
import json, tempfile, numpy as np, skopu
from pathlib import Path
from sklearn.datasets import load_diabetes
from skopu.devices import Camera, RecordingOPU, ReplayOPU, SimulatedOPU, calibrate
X, y = load_diabetes(return_X_y=True)
X, y = X[:120], y[:120]
bits = skopu.HyperplaneBinarizer(32, random_state=0)
codes = bits.fit_transform(X)
ridge = {
    "linear": skopu.OPUKernelRidge(kernel="linear").fit(X, y).predict(X),
    "rbf": skopu.OPUKernelRidge(kernel="rbf").fit(X, y).predict(X),
    "fourier": skopu.OPUKernelRidge(
        kernel="rbf", kernel_approximation="fourier", n_components=64, random_state=0
    ).fit(X, y).predict(X),
    "bits": skopu.OPUKernelRidge(n_components=64, binarizer=bits).fit(X, y).predict(X),
    "codes": skopu.OPUKernelRidge(n_components=64, gram="int7").fit(codes, y).predict(codes),
}
labels = skopu.OPUKernelRidgeClassifier(n_components=64, binarizer=bits).fit(X, y > 140)
found = {
    **ridge,
    "classifier": labels.decision_function(X),
    "thermometer": skopu.ThermometerBinarizer(4).fit_transform(X),
    "features": skopu.OPURandomFeatures(64).fit_transform(codes),
    "kernel": skopu.opu_kernel(codes),
    "structured": SimulatedOPU(medium="structured").project(codes, 64),
    "camera": SimulatedOPU(camera=Camera()).project(codes, 64),
    "calibrated": calibrate(SimulatedOPU(), 8, 4).forms.coefficients,
}
with tempfile.TemporaryDirectory() as folder:
    opu = RecordingOPU("simulated", Path(folder, "r"))
    opu.project(codes, 16)
    opu.close()
    found["replayed"] = ReplayOPU(Path(folder, "r")).project(codes, 16)
# A job so large that torch would be loaded for its integer product.
from skopu._core import integer_product
product = integer_product.choose_product(10**12, "codes")
assert product is integer_product.float_product or not WITHOUT
print(json.dumps({k: float(np.asarray(v, dtype=float).sum()) for k, v in found.items()}))
"""
_SENTENCES = """
import numpy as np, skopu
X, y = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) % 2
told = {}
def ask(name, call):
    try:
        call()
    except ModuleNotFoundError as error:
        told[name] = str(error)
def take(module):
    __import__("skopu." + module)
for name in NAMES:
    ask(name, lambda: getattr(skopu, name)().fit(X, y))
for name in ("gradients", "optim", "penalties"):
    ask(name, lambda: take(name))
import json
print(json.dumps(told))
"""
# What trains nothing, and the kernel of a Gaussian process, which has no fit.
TORCH_FREE = {
    "HyperplaneBinarizer",
    "OPUKernel",
    "OPURandomFeatures",
    "ThermometerBinarizer",
    "TreeBinarizer",
}
ESTIMATORS = [
    name
    for name in skopu.__all__
    if inspect.isclass(value := getattr(skopu, name)) and issubclass(value, BaseEstimator)
]


def run(script, **names):
    """Return what a script prints in a process of its own."""
    head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    done = subprocess.run([sys.executable, "-c", head + script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_needs_none_gives_the_same():
    without = run(_BLOCK + _WORK, WITHOUT=True)
    assert without == pytest.approx(run(_BLOCK + _WORK, WITHOUT=False), rel=1e-9)


def test_what_needs_it_says_how_to_get_it():
    told = run(_BLOCK + _SENTENCES, WITHOUT=True, NAMES=ESTIMATORS)
    needing = {*ESTIMATORS, "gradients", "optim", "penalties"} - TORCH_FREE
    assert set(told) == needing
    for sentence in told.values():
        assert "pip install torch --index-url" in sentence
