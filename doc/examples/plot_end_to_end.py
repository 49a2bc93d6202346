"""
Joint training and the three predictions
========================================

:class:`~skopu.EndToEndOPURegressor` trains the encoder through the device, then fits the
readout to what prediction will use. Two things are shown: how the two objectives of the paper
converge, and what the number of draws at prediction is worth.
"""

# %%
# Data and model
# --------------
import matplotlib.pyplot as plt
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

from skopu import ConvergenceDisplay, EndToEndOPURegressor, SupervisedBinarizer

X, y = make_friedman1(n_samples=1200, n_features=10, noise=0.5, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)


def fit(objective, **options):
    binarizer = SupervisedBinarizer(
        n_bits=32,
        objective=objective,
        n_components=128,
        encoder_penalty=1e-3,  # given, not chosen: this example trains many times
        max_iter=250,
        batch_size=64,
    )
    model = EndToEndOPURegressor(binarizer, random_state=0, **options)
    return model.fit(X_train, y_train)


# %%
# Fits
# ----
# The encoder depends on ``random_state`` alone, so all fits with the same objective have the
# same encoder: only the readout differs.
draws = [1, 2, 4, 8, 16]
titles = {"end_to_end": "End-to-End", "isolated": "Isolated"}
fitted, scores = {}, {}
for objective in titles:
    for n_draws in draws:
        fitted[objective] = fit(objective, prediction="draws", n_draws=n_draws)
        scores[objective, n_draws] = 1 - fitted[objective].score(X_test, y_test)
    for prediction in ("threshold", "mean"):
        model = fit(objective, prediction=prediction)
        scores[objective, prediction] = 1 - model.score(X_test, y_test)

# %%
# Picture
# -------
# Left: the loss that training reports, averaged over the minibatches of a period, on
# standardised targets. The two losses are not the same quantity: that of End-to-End contains
# the variance of the readout over codes. Right: error on the test rows as a share of the
# variance of the targets (one minus R2).
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for color, (objective, title) in zip(("C0", "C1"), titles.items()):
    ConvergenceDisplay.from_estimator(
        fitted[objective], x="n_passes", name=title, ax=left, color=color
    )
    errors = [scores[objective, n_draws] for n_draws in draws]
    right.plot(draws, errors, "o-", color=color, label=f"{title}, draws")
    # "threshold" takes one pass; "mean" takes none: it is drawn where many draws would lead.
    right.plot(
        1, scores[objective, "threshold"], "s", color=color, mfc="w", label=f"{title}, threshold"
    )
    right.axhline(scores[objective, "mean"], color=color, linestyle="--", label=f"{title}, mean")
left.set_title("Training")
right.set(
    xscale="log",
    xlabel="n_draws (passes a row at prediction)",
    ylabel="1 - R2 on the test rows",
    title="Prediction",
)
right.set_xticks(draws, [str(n_draws) for n_draws in draws])
right.minorticks_off()
right.set_ylim(0, 1.15 * max(scores.values()))
right.legend(fontsize=8, ncols=2, loc="upper right")
plt.show()

# %%
# "threshold" takes one pass a row, "draws" takes ``n_draws``, and "mean" takes none, but needs
# a device whose matrix is known. The more draws, the nearer "draws" comes to "mean".
