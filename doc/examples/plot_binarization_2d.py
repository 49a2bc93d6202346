"""
What learned codes look like
============================

Every bit of a code is one side of a line. :class:`~skopu.HyperplaneBinarizer` draws the lines
at random through the middle of the data; :class:`~skopu.SupervisedBinarizer` learns from the
labels where to put them.
"""

# %%
# Two classes and two chains
# --------------------------
# The readout is the same in both chains: OPU features of the codes and ridge.
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.datasets import make_moons
from sklearn.pipeline import make_pipeline

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)

X, y = make_moons(400, noise=0.2, random_state=0)
X_test, y_test = make_moons(4000, noise=0.2, random_state=1)
x0, x1 = np.meshgrid(np.linspace(-1.8, 2.8, 401), np.linspace(-1.4, 1.9, 301))
points = np.column_stack([x0.ravel(), x1.ravel()])
binarizers = {
    "HyperplaneBinarizer": HyperplaneBinarizer(n_bits=10, random_state=0),
    "SupervisedBinarizer": SupervisedBinarizer(
        n_bits=10, n_components=256, max_iter=800, random_state=0
    ),
}

# %%
# Picture
# -------
# Top: the cells of the plane that share a code, coloured by the mean label of the training rows
# in them (white: no row), and the lines where a bit changes. Bottom: the decision of the whole
# chain.
fig, axes = plt.subplots(2, 2, figsize=(10, 7.4), sharex=True, sharey=True, layout="constrained")
for (top, bottom), (name, binarizer) in zip(axes.T, binarizers.items()):
    chain = make_pipeline(
        binarizer, OPURandomFeatures(n_components=256), OPUKernelRidgeClassifier()
    )
    chain.fit(X, y)
    powers = 2 ** np.arange(10)
    rows, cells = chain[0].transform(X) @ powers, chain[0].transform(points) @ powers
    names, members = np.unique(rows, return_inverse=True)
    means = np.full(2**10, np.nan)
    means[names] = np.bincount(members, weights=y) / np.bincount(members)
    error = 1 - chain.score(X_test, y_test)
    print(f"{name}: {len(names)} codes in use, error on new rows {error:.3f}")

    shares = top.pcolormesh(
        x0, x1, means[cells].reshape(x0.shape), cmap="coolwarm", vmin=-0.2, vmax=1.2, alpha=0.7
    )
    for bit in chain[0].transform(points).T:
        top.contour(x0, x1, bit.reshape(x0.shape), levels=[0.5], colors="k", linewidths=0.8)
    top.set_title(f"{name}: {len(names)} codes in use")

    decision = chain.decision_function(points).reshape(x0.shape)
    bottom.contourf(x0, x1, decision > 0, levels=1, cmap="coolwarm", alpha=0.45)
    bottom.contour(x0, x1, decision, levels=[0], colors="k", linewidths=1)
    bottom.scatter(
        *X.T, c=y, s=12, cmap=ListedColormap(["#3b4cc0", "#b40426"]), edgecolors="w", linewidths=0.3
    )
    bottom.set_title(f"decision, error on new rows {100 * error:.1f} %")
for ax in axes[:, 0]:
    ax.set_ylabel("second input")
for ax in axes[1]:
    ax.set_xlabel("first input")
plt.show()
