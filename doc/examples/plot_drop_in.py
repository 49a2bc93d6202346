"""
OPUKernelRidge in the place of KernelRidge
==========================================

The same call with another class: the kernel is not a formula of the inputs, but that of an
Optical Processing Unit on codes that are learned from the targets.
"""

# %%
# Data
# ----
# A wave that grows with its input, and noise of standard deviation 0.3.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import root_mean_squared_error

from skopu import EndToEndOPURegressor, OPUKernelRidge, SupervisedBinarizer

rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, size=(300, 1))
grid = np.linspace(-3, 3, 601)[:, None]


def truth(x):
    return x[:, 0] * np.sin(3 * x[:, 0])


y = truth(X) + 0.3 * rng.standard_normal(len(X))

# %%
# Four models
# -----------
# ``KernelRidge`` gets an RBF kernel. ``OPUKernelRidge`` binarizes the input, sends each code
# through the (simulated) device once, and fits a ridge readout; ``alpha="loo"`` takes the
# penalty with the smallest leave-one-out error. ``EndToEndOPURegressor`` reads the average over
# 30 draws of the codes, or, as the matrix of a simulated device is known, their expectation.
binarizer = SupervisedBinarizer(
    n_bits=128, n_components=256, encoder_penalty=1e-3, max_iter=400, random_state=0
)
models = {
    'KernelRidge(kernel="rbf")': KernelRidge(kernel="rbf", alpha=0.1, gamma=2.0),
    "OPUKernelRidge, one pass a row": OPUKernelRidge(
        alpha="loo", n_components=256, binarizer=binarizer
    ),
    "EndToEndOPURegressor, 30 draws": EndToEndOPURegressor(binarizer, n_draws=30, random_state=0),
    "EndToEndOPURegressor, mean": EndToEndOPURegressor(
        binarizer, prediction="mean", random_state=0
    ),
}

fig, axes = plt.subplots(2, 2, figsize=(9, 6.8), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes.flat, models.items()):
    predicted = model.fit(X, y).predict(grid)
    error = root_mean_squared_error(truth(grid), predicted)
    print(f"{name:32s} root mean squared error against the truth: {error:.3f}")
    ax.plot(X, y, ".", color="0.75", markersize=4, label="training rows")
    ax.plot(grid, truth(grid), "k--", linewidth=1, label="truth")
    ax.plot(grid, predicted, color="C3", linewidth=1.6, label="prediction")
    ax.set_title(f"{name}\nerror against the truth {error:.2f}", fontsize=10)
for ax in axes[:, 0]:
    ax.set_ylabel("y")
for ax in axes[1]:
    ax.set_xlabel("x")
axes[0, 0].legend(loc="upper center")
plt.show()

# %%
# With one pass a row the prediction is a staircase: each bit is a threshold on x, so the code,
# and with it the prediction, changes at no more than ``n_bits`` places. The bit probabilities
# change gradually: the average over draws has smaller steps, and the expectation has none.
