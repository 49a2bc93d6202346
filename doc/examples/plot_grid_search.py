"""
Tuning the three steps against a Gaussian process
=================================================

``GridSearchCV`` tunes binarizer, features and readout like any pipeline. Here the strength of the
encoder's penalty and the scaling of its inputs are chosen by three-fold cross-validation on the
training part; the Gaussian process with an RBF kernel on the raw inputs is tuned by marginal
likelihood. Both then meet rows that neither has seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skopu import OPUKernelRidge, OPURandomFeatures, SupervisedBinarizer

# %%
# The search. The encoder is trained on exact losses, without a pass through the device; the
# features then take one pass a row.

pipeline = make_pipeline(
    SupervisedBinarizer(gradient="exact", max_iter=300, random_state=0),
    OPURandomFeatures(2048),
    OPUKernelRidge(),
)
grid = {
    "supervisedbinarizer__encoder_penalty": [1e-3, 1e-2, 1e-1],
    "supervisedbinarizer__scaler": ["standard", "quantile"],
}
search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_mean_squared_error")
kernel = ConstantKernel() * RBF(3.0) + WhiteKernel(0.1)
process = make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True))

# %%
# Two sets: ten blood values and an illness a year later, where noise rules, and a smooth function
# of five of ten columns.

sets = {
    "diabetes": load_diabetes(return_X_y=True),
    "friedman1": make_friedman1(500, noise=0.5, random_state=0),
}
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, (name, (X, y)) in zip(axes, sets.items()):
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    scale = np.var(y)
    search.fit(X, y)
    process.fit(X, y)
    print(name, search.best_params_)
    tried = -search.cv_results_["mean_test_score"] / scale
    ax.scatter(np.zeros(len(tried)), tried, color="lightgrey", label="candidates, cross-validated")
    errors = [np.mean((model.predict(X_test) - y_test) ** 2) / scale for model in (search, process)]
    ax.bar([1, 2], errors, color=["#3b6ea5", "#a9bfd6"])
    for place, error in zip([1, 2], errors):
        ax.text(place, error, f"{error:.3f}", ha="center", va="bottom")
    ax.set_xticks([0, 1, 2], ["grid", "OPU pipeline,\ntuned", "RBF Gaussian\nprocess, tuned"])
    ax.set(title=name, ylabel="mean squared error / variance")
    ax.set_ylim(0, 1.3 * max(*errors, *tried))
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(loc="upper right", fontsize="small")
plt.show()
