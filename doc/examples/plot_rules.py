"""
Rules in the units of the columns
=================================

:class:`~skopu.NeuralDNFClassifier` learns IF-THEN rules by gradient. They are the whole model: what
is printed is what predicts. Here they tell benign from malignant tumours.
"""

# %%
# Learn and print
# ---------------
# The cuts are in the units of the columns, and the first line that holds decides.
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from skopu import NeuralDNFClassifier

data = load_breast_cancer(as_frame=True)
X, X_test, y, y_test = train_test_split(data.data, data.target, random_state=0)
model = NeuralDNFClassifier(n_rules=4, random_state=0).fit(X, y)
print(model.export_text(class_names=data.target_names))
print(f"\nright on new rows: {100 * model.score(X_test, y_test):.1f} %")

# %%
# Without noise
# -------------
# A rule is a product: a condition has a gradient only on rows where all the others of its rule
# hold. Without the learned noise few rules are ever true, and training leaves them nearly as they
# were.
plain = NeuralDNFClassifier(n_rules=4, adaptive_noise=False, random_state=0).fit(X, y)
print(plain.export_text(class_names=data.target_names))
print(f"\nright on new rows: {100 * plain.score(X_test, y_test):.1f} %")

# %%
# Picture
# -------
# Left: the loss of the rules on the training rows, with the price of their conditions. Then two
# rules of two conditions, on new rows: the shaded box is where the rule holds.
fig, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for estimator, name in ((model, "adaptive noise"), (plain, "no noise")):
    history = estimator.history_
    axes[0].plot(history["iteration"], history["validation_loss"], label=name)
axes[0].set(xlabel="minibatches", ylabel="loss of the rules", yscale="log")
axes[0].legend()
rules = [rule for rule in model.rules_ if len({c.feature for c in rule.conditions}) == 2]
colors = np.array(["#b40426", "#3b4cc0"])
for ax, rule in zip(axes[1:], rules):
    limits = {condition.feature: [-1e9, 1e9] for condition in rule.conditions}
    for condition in rule.conditions:
        limits[condition.feature][condition.operator == "<="] = condition.value
    (i, (left, right)), (j, (low, high)) = limits.items()
    ax.scatter(X_test.iloc[:, i], X_test.iloc[:, j], c=colors[y_test], s=14)
    ax.set(
        xlabel=X.columns[i],
        ylabel=X.columns[j],
        title="\nand ".join(rule.text(X.columns).split(" and ")),
    )
    seen = ax.axis()
    ax.add_patch(Rectangle((left, low), right - left, high - low, color="#3b4cc0", alpha=0.15))
    ax.axis(seen)
for color, name in zip(colors, data.target_names):
    axes[-1].scatter([], [], c=color, s=14, label=name)
axes[-1].legend(loc="lower right")
plt.show()
