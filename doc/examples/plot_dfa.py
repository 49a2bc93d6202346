"""
Training with the error projected by light
==========================================

:class:`~skopu.DFAClassifier` trains hidden layers by a random projection of the error, which a
device with holography does optically. Here it learns digits with matrices and with light, beside
backpropagation, and shows how its updates turn towards the gradient.
"""

# %%
# Five networks
# -------------
# Each differs from the one before in one thing: the feedback for the gradient, errors rounded to
# -1, 0 and 1, and a simulated interferometer with a camera of eight bits for the matrices. The
# last network shows what training the hidden layers is worth: it leaves them as they start.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

from skopu import DFAClassifier
from skopu.devices import Camera, OffAxisHolography, SimulatedOPU

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(scale(X), y, random_state=0)
light = OffAxisHolography(SimulatedOPU(0, camera=Camera(bits=8)))
settings = {
    "backpropagation": {"algorithm": "backprop"},
    "feedback": {},
    "ternary errors": {"error_encoding": "ternary"},
    "by light": {"error_encoding": "ternary", "projector": light},
    "frozen": {"algorithm": "frozen"},
}
models = {}
for name, chosen in settings.items():
    model = DFAClassifier((64, 64), batch_size=64, max_iter=20, random_state=0, **chosen)
    model.set_params(learning_rate_init=3e-3, compute_alignment=True)
    models[name] = model.fit(X, y)
    print(f"{name:16} {100 * model.score(X_test, y_test):.1f} %  frames {model.n_passes_}")

# %%
# Picture
# -------
# Left: the loss. Right: the cosine between the update of each hidden layer and the gradient, which
# is near 0 at first, since the matrices are random: the layers above adapt to the feedback.
fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, model in models.items():
    axes[0].plot(np.arange(1, 21), model.loss_curve_, label=name)
axes[0].set(xlabel="epoch", xticks=range(0, 21, 5), ylabel="cross-entropy", yscale="log")
axes[0].legend()
for name in ("feedback", "ternary errors", "by light"):
    for layer, style in enumerate(("-", "--")):
        axes[1].plot(
            np.arange(1, 21),
            models[name].alignment_[:, layer],
            style,
            color=f"C{list(models).index(name)}",
            label=f"{name}, layer {layer + 1}",
        )
axes[1].set(xlabel="epoch", xticks=range(0, 21, 5), ylabel="cosine with the gradient", ylim=(0, 1))
axes[1].legend()
plt.show()
