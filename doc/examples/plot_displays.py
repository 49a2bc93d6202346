"""
Codes, intervals and passes in pictures
=======================================

Displays draw what a fitted estimator has to show, in the manner of scikit-learn's: each has a
``from_estimator`` or ``from_estimators``, and keeps the axes in ``ax_``.

The budgets are small so that the example runs in seconds.
"""

# %%
# Which columns do bits look at?
# ------------------------------
# Each column is shuffled in turn, and the bits that flip are counted. Splits of trees ask one
# column each, by a name that can be read; the bits of a supervised encoder look at directions.
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.model_selection import train_test_split

from skopu import (
    CodesDisplay,
    CrossFittedOPURegressor,
    EndToEndOPURegressor,
    IntervalsDisplay,
    PassesDisplay,
    SupervisedBinarizer,
    TreeBinarizer,
)

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

splits = TreeBinarizer(24, random_state=0).fit(X_train, y_train)
encoder = SupervisedBinarizer(24, max_iter=150, random_state=0).fit(X_train, y_train)
fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.8), layout="constrained")
for binarizer, ax in zip((splits, encoder), axes):
    CodesDisplay.from_estimator(binarizer, X_test, y_test, random_state=0, ax=ax)
    ax.set_title(type(binarizer).__name__)
plt.show()

# %%
# Where bits change from the top of a picture to its bottom, they tell small targets from large
# ones.
display = CodesDisplay.from_estimator(splits, X_test, y_test, kind="rows")
display.ax_.set_title("Splits of 111 test rows")
plt.show()

# %%
# How far off may a prediction be?
# --------------------------------
# An ensemble's intervals come from rows that its models have not seen. Of 111 test rows, about
# nine in ten should be held.
ensemble = CrossFittedOPURegressor(32, cv=4, max_iter=150, random_state=0).fit(X_train, y_train)
display = IntervalsDisplay.from_estimator(ensemble, X_test, y_test, coverage=0.9)
display.ax_.set_title("Disease progression a year later")
plt.show()

# %%
# What do passes buy?
# -------------------
# A gradient that only asks the device, for more and more minibatches, beside the exact one, which
# knows the device's matrix and needs passes for its readout alone.
X, y = make_friedman1(400, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
models, names = [], []
for gradient, lengths in {"loo": (30, 100, 300), "exact": (300,)}.items():
    for max_iter in lengths:
        codes = SupervisedBinarizer(24, gradient=gradient, max_iter=max_iter, random_state=0)
        models.append(EndToEndOPURegressor(codes, random_state=0).fit(X_train, y_train))
        names.append(gradient)
display = PassesDisplay.from_estimators(models, X_test, y_test, names=names)
display.ax_.set_title("Error for passes")
plt.show()
