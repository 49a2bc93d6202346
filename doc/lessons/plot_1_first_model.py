"""
1. A first model
================

Put a kernel machine that learns its own binary codes in the place of one that does not, read off
what it did, and look at how well it did it.
"""

# %%
# Data
# ----
# The progress of diabetes in 442 patients, from ten measurements; a quarter is held out.
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import PredictionErrorDisplay
from sklearn.model_selection import train_test_split

from skopu import ConvergenceDisplay, CrossFittedOPURegressor, OPUKernelRidge

X, y = load_diabetes(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)

# %%
# The model you know
# ------------------
# Scikit-learn's kernel ridge with its defaults. ``score`` is the share of the variance that is
# explained.
print(f"KernelRidge     {KernelRidge(kernel='rbf').fit(X, y).score(X_test, y_test):.2f}")

# %%
# The same call, another class
# ----------------------------
# ``random_state`` makes the fit repeatable. Nothing else has to be set: the penalty of the
# readout is chosen by exact leave-one-out error, that of the encoder by cross-validation.
model = OPUKernelRidge(random_state=0).fit(X, y)
print(f"OPUKernelRidge  {model.score(X_test, y_test):.2f}")

# %%
# What it did
# -----------
# The columns are real numbers, and an Optical Processing Unit takes zeros and ones. So an encoder
# was trained that turns each row into a code of 64 bits, a (simulated) device turned each code into
# 1024 random features, and a ridge regression reads these.
print(model.binarizer_.transform(X[:2])[:, :16])
print(model.kernel_, model.binarizer_.n_bits, model.features_.n_components)
print(f"alpha {model.alpha_:.3g}, passes through the device {model.features_.opu_.n_passes}")

# %%
# The training of the encoder can be looked at. Every model of the package that trains keeps a
# ``history_``.
ConvergenceDisplay.from_estimator(model.binarizer_)
plt.show()

# %%
# The most accurate one
# ---------------------
# An ensemble of such encoders, each judged on rows that it has not seen, needs no device at all.
# (Half a minute; here with 300 minibatches instead of its own number, and a few seconds.)
ensemble = CrossFittedOPURegressor(max_iter=300, random_state=0).fit(X, y)
print(f"CrossFittedOPURegressor  {ensemble.score(X_test, y_test):.2f}")

fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (name, fitted) in zip(axes, {"one model": model, "ensemble": ensemble}.items()):
    PredictionErrorDisplay.from_estimator(
        fitted, X_test, y_test, kind="actual_vs_predicted", ax=ax, scatter_kwargs={"s": 12}
    )
    ax.set_title(name)
plt.show()

# %%
# Both are estimators like any other: ``clone``, pipelines, cross-validation, ``set_params`` and
# ``sample_weight`` work. Next: a file of your own.
