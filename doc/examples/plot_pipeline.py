"""
Three steps in a pipeline
=========================

Binarizer, features and readout are three scikit-learn estimators. Here they form a
:class:`~sklearn.pipeline.Pipeline`, and a grid search chooses the number of bits, the scale
``gamma`` of the features and the penalty ``alpha`` of the readout.

The budgets are small so that the example runs in seconds.
"""

# %%
# The chain
# ---------
# ``memory`` keeps the fitted binarizers and features on disk: a new ``gamma`` or ``alpha`` does
# not train the encoder again.
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skopu import OPUKernelRidge, OPURandomFeatures, SupervisedBinarizer

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

cache = TemporaryDirectory()
chain = Pipeline(
    [
        ("binarizer", SupervisedBinarizer(encoder_penalty=0.1, max_iter=150, random_state=0)),
        ("features", OPURandomFeatures(n_components=256)),
        ("ridge", OPUKernelRidge()),
    ],
    memory=cache.name,
)

# %%
# The search
# ----------
# ``gamma`` is given by its fourth power, because that is the factor of the kernel.
n_bits = [8, 16, 32]
gamma_fourth = np.logspace(-4, 0, 3)
alphas = np.logspace(-2, 4, 4)
search = GridSearchCV(
    chain,
    {
        "binarizer__n_bits": n_bits,
        "features__gamma": gamma_fourth**0.25,
        "ridge__alpha": alphas,
    },
    cv=3,
)
search.fit(X_train, y_train)
cache.cleanup()
for name, value in search.best_params_.items():
    print(f"{name:18s} {value:g}")
print(f"R2 in cross-validation: {search.best_score_:.3f}")
print(f"R2 on the test rows:    {search.score(X_test, y_test):.3f}")
print(f"kernel of the readout:  {search.best_estimator_['ridge'].kernel_}")

# %%
# Scores
# ------
# The grid is visited in the order of the names, the last one fastest. Scores are the same
# wherever ``alpha / gamma**4`` is the same (along the diagonals): with a ridge readout a scalar
# ``gamma`` and ``alpha`` do the same job, so that one of them is enough.
scores = search.cv_results_["mean_test_score"].reshape(len(n_bits), len(gamma_fourth), len(alphas))

fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), sharey=True, layout="constrained")
lowest = max(scores.min(), 0.0)
for ax, k, table in zip(axes, n_bits, scores):
    image = ax.imshow(table, vmin=lowest, vmax=scores.max(), cmap="viridis", aspect="auto")
    for (row, column), score in np.ndenumerate(table):
        bright = score > (lowest + scores.max()) / 2
        ax.text(
            column, row, f"{score:z.2f}", ha="center", va="center", color="k" if bright else "w"
        )
    ax.set(title=f"n_bits = {k}", xlabel="ridge__alpha")
    ax.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
axes[0].set_yticks(range(len(gamma_fourth)), [f"{value:g}" for value in gamma_fourth])
axes[0].set_ylabel("features__gamma, fourth power")
fig.colorbar(image, ax=axes, extend="min", label="mean R2 of 3 folds")
fig.suptitle("Cross-validated scores of the chain on the diabetes data")
plt.show()
