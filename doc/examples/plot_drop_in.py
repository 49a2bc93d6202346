"""
OPUKernelRidge in the place of KernelRidge
==========================================

The same call with another class: the kernel is not a formula of the inputs, but that of an
Optical Processing Unit on codes that are learned from the targets. It pays where the target
depends on a few directions of many columns, which an RBF kernel treats all alike.
"""

# %%
# Data
# ----
# Ten columns, of which the target sees one direction only: a wave, a step, and noise of standard
# deviation 0.3. 300 rows.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV

from skopu import EndToEndOPURegressor, OPUKernelRidge, SupervisedBinarizer

rng = np.random.default_rng(0)
direction = np.array([1, 1, -1, 0, 0, 0, 0, 0, 0, 0]) / np.sqrt(3)


def truth(along):
    return np.sin(2 * along) + (along > 0)


X, X_test = rng.standard_normal((300, 10)), rng.standard_normal((1000, 10))
y = truth(X @ direction) + 0.3 * rng.standard_normal(len(X))

# %%
# Three models
# ------------
# ``KernelRidge`` gets a grid search over its penalty and width. ``OPUKernelRidge`` binarizes the
# rows, sends each code through the (simulated) device once, and fits a ridge readout, its penalty
# chosen by leave-one-out error. As the matrix of a simulated device is known,
# ``EndToEndOPURegressor`` can read the mean over all codes in the place of one.
grid = {"alpha": [0.01, 0.1, 1.0], "gamma": [0.01, 0.03, 0.1, 0.3]}
binarizer = SupervisedBinarizer(encoder_penalty=1e-2, max_iter=600, random_state=0)
models = {
    "KernelRidge, searched": GridSearchCV(KernelRidge(kernel="rbf"), grid),
    "OPUKernelRidge": OPUKernelRidge(binarizer=binarizer),
    "EndToEndOPURegressor, mean": EndToEndOPURegressor(
        binarizer, prediction="mean", random_state=0
    ),
}

along = X_test @ direction
line = np.linspace(-3, 3, 601)
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items()):
    predicted = model.fit(X, y).predict(X_test)
    error = root_mean_squared_error(truth(along), predicted)
    print(f"{name:28s} root mean squared error against the truth: {error:.2f}")
    ax.plot(along, predicted, ".", color="C0", markersize=3, label="predictions")
    ax.plot(line, truth(line), "k-", linewidth=1.2, label="truth")
    ax.set_title(f"{name}\nerror {error:.2f}", fontsize=10)
    ax.set_xlabel("test rows along the direction")
axes[0].set_ylabel("y")
axes[0].legend(loc="lower right")
plt.show()

# %%
# What the encoder learned is the direction: its rows lie along it. A kernel of distances has no
# place for such a thing.
weights = models["OPUKernelRidge"].binarizer_.coef_
share = np.square(weights @ direction) / np.square(weights).sum(axis=1)
print(f"share of a bit's weights along the direction: {np.median(share):.2f}, by chance 0.10")

# %%
# Where the target is smooth in few columns, as waves of a single one are, an RBF kernel is at
# home, and the mean of the codes only comes near it.
