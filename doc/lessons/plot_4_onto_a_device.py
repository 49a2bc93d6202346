"""
4. Onto a device
================

The same models, with light in the place of arithmetic: count the passes, look at the light,
train through it, and keep what it said.
"""

# %%
# Count before you go
# -------------------
# ``n_passes_`` in simulation is the number of codes that a machine will be sent. The vendor's
# devices do about 1500 of them a second.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from skopu import EndToEndOPURegressor, OPURandomFeatures, SupervisedBinarizer
from skopu.devices import Camera, GuardedOPU, RecordingOPU, ReplayOPU, SimulatedOPU

X, y = load_diabetes(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)


def model_on(opu, gradient="loo"):
    """An end-to-end model of a device."""
    binarizer = SupervisedBinarizer(
        32, n_components=256, opu=opu, gradient=gradient, encoder_penalty=0.03, max_iter=200
    )
    return EndToEndOPURegressor(binarizer, OPURandomFeatures(256, opu=opu), random_state=0)


for gradient in ("loo", "exact"):
    model = model_on("simulated", gradient).fit(X, y)
    score = model.score(X_test, y_test)
    print(f"{gradient:6s} {model.n_passes_:7d} passes, R2 {score:.2f}")

# %%
# ``"exact"`` trains on the closed form of what light computes, and pays for the readout alone.
# ``"loo"`` asks the device at every step; it needs to know nothing about it.
#
# Look at the light
# -----------------
# ``skopu device check`` does this from the command line, for the vendor's machines and for your
# own. Here a simulated camera stands in: shot noise, eight bits, a full well.
from skopu.command.front import main

main(["device", "check", "--no-figure"])

lab = SimulatedOPU(camera=Camera(bits=8))
codes = np.random.default_rng(0).integers(0, 2, size=(50, 32))
fig, ax = plt.subplots(figsize=(4, 3.5), layout="constrained")
ax.plot(SimulatedOPU().project(codes, 256).ravel(), lab.project(codes, 256).ravel(), ".", ms=2)
ax.set(xlabel="|Rz|² of the medium", ylabel="what the camera reads")
plt.show()

# %%
# Train through it, and keep what it said
# ---------------------------------------
# ``GuardedOPU`` looks at every frame, tries again, and keeps a budget. ``RecordingOPU`` writes
# every code and frame to a file, from which the whole fit can be repeated by people without a
# machine.
path = Path(tempfile.mkdtemp(), "session")
opu = RecordingOPU(GuardedOPU(lab, max_passes=150_000), path)
model = model_on(opu).fit(X, y)
measured = model.predict(X_test)
print(f"R2 {model.score(X_test, y_test):.2f} after {model.n_passes_} passes")
opu.close()

again = model_on(ReplayOPU(path)).fit(X, y)
print("repeated to the bit:", np.array_equal(again.predict(X_test), measured))

# %%
# A machine stays where it is: put ``None`` or the ``ReplayOPU`` in the place of its device before a
# model is saved, and search with ``n_jobs=1``. More, with faults and how they are told:
# :doc:`/user_guide/devices`.
