"""
3. Tuning and choosing
======================

Which estimator for which job, and which of its settings are worth a search.
"""

# %%
# Which one
# ---------
#
# .. image:: /_static/decision_chart.svg
#    :alt: From the job to the estimator; the same as the list below.
#    :class: dark-light
#
# - **The error counts more than seconds**: :class:`~skopu.CrossFittedOPURegressor` or
#   :class:`~skopu.CrossFittedOPUClassifier`.
# - **KernelRidge is there already, and is to be replaced**: :class:`~skopu.OPUKernelRidge`.
# - **There is a device, or there will be one**: :class:`~skopu.EndToEndOPURegressor` or
#   :class:`~skopu.EndToEndOPUClassifier`, whose readout averages what the device will show.
# - **Rows are very many**: :class:`~skopu.OPUKernelRidge` on codes that are not trained, in chunks.
# - **Somebody must read the model**: :class:`~skopu.NeuralDNFClassifier`.
# - **Weights must be plus or minus one**: :class:`~skopu.BinaryMLPClassifier`.
#
# What is settled already
# -----------------------
# The penalty of the readout (``alpha="loo"``), the penalties of the encoder and the number of
# minibatches choose themselves in every fit. A grid over them costs time, and on most sets gains
# little.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from sklearn.pipeline import Pipeline

from skopu import (
    EndToEndOPURegressor,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPURandomFeatures,
    SupervisedBinarizer,
    ThermometerBinarizer,
)

# Five columns that matter and five that do not, and skewed as measurements often are.
X, y = make_friedman1(400, n_features=10, noise=1.0, random_state=0)
X = np.exp(4 * X)
splits = ShuffleSplit(4, test_size=0.25, random_state=0)

# %%
# What is worth a search
# ----------------------
# The scaler, where columns are skewed or spiky, and the number of bits. Parameters of parts have
# two underscores, also of parts that are still defaults.
short = SupervisedBinarizer(max_iter=150, encoder_penalty=0.03, gradient="exact", random_state=0)
model = EndToEndOPURegressor(short, prediction="mean", random_state=0)
grid = {"binarizer__scaler": ["standard", "quantile"], "binarizer__n_bits": [16, 64]}
search = GridSearchCV(model, grid, cv=splits).fit(X, y)

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for place, (setting, mean, sd) in enumerate(
    zip(
        search.cv_results_["params"],
        search.cv_results_["mean_test_score"],
        search.cv_results_["std_test_score"],
    )
):
    ax.errorbar(mean, place, xerr=sd / 2, fmt="o", color="C0", capsize=3)
    print(setting, round(mean, 3))
ax.set_yticks(
    range(4),
    [
        f"{p['binarizer__scaler']}, {p['binarizer__n_bits']} bits"
        for p in search.cv_results_["params"]
    ],
)
ax.set(xlabel="R2 on rows left out, with its standard error", ylim=(-0.5, 3.5))
plt.show()

# %%
# Are learned codes worth it?
# ---------------------------
# Compare with codes that know nothing of the target, which cost next to nothing: where the dots
# lie on each other, take those.
codes = {
    "hyperplanes": HyperplaneBinarizer(256, scaler="quantile", random_state=0),
    "thermometer": ThermometerBinarizer(256),
    "learned": short.set_params(scaler="quantile"),
}
fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
for place, (name, binarizer) in enumerate(codes.items()):
    chain = Pipeline(
        [("codes", binarizer), ("features", OPURandomFeatures(512)), ("ridge", OPUKernelRidge())]
    )
    scores = cross_val_score(chain, X, y, cv=splits)
    ax.plot(scores, np.full(len(scores), place), "o", color="0.7")
    ax.plot(scores.mean(), place, "o", color="C1")
    print(f"{name:12s} {scores.mean():.3f}")
ax.set_yticks(range(len(codes)), list(codes))
ax.set(xlabel="R2 on rows left out: splits, and their mean", ylim=(-0.5, len(codes) - 0.5))
plt.show()

# %%
# Thermometers look at one column a bit and win where columns act one by one, as most do here;
# learned codes mix columns, and beat random mixtures of them.
