"""
Random features against the closed-form kernel
==============================================

Inner products of OPU features estimate the kernel
:math:`k(x, y) = \\|x\\|^2\\|y\\|^2 + (x^\\top y)^2`. The error falls as :math:`1/\\sqrt{D}`; the
centered form, which takes out the popcount of the codes, starts lower, and the structured medium,
whose rows are orthogonal, lower still.
"""

# %%
# Error against the number of features
# ------------------------------------
# The same 40 codes of 64 bits, 30 devices, both forms, and the centered one with the structured
# medium. With :math:`N = \|x\|^2\|y\|^2` and :math:`P = (x^\top y)^2` the variance of the
# estimate is :math:`(3N^2 + 14NP + 3P^2)/D` for raw features and
# :math:`(N^2 + 4NP + 3P^2)/D` for centered ones; structured, it is :math:`(N + P)^2/D` in the
# limit of many ones, for D at least k.
import matplotlib.pyplot as plt
import numpy as np

from skopu import OPURandomFeatures, opu_kernel
from skopu.devices import SimulatedOPU

codes = np.random.default_rng(0).integers(0, 2, size=(40, 64))
exact = opu_kernel(codes)
P = np.square(codes @ codes.T)
N = exact - P
variance = {
    "raw": 3 * N**2 + 14 * N * P + 3 * P**2,
    "centered": N**2 + 4 * N * P + 3 * P**2,
    "structured": exact**2,
}


def estimate(name, n_components, seed):
    form, medium = ("centered", name) if name == "structured" else (name, "gaussian")
    opu = SimulatedOPU(seed, medium=medium)
    features = OPURandomFeatures(n_components, form=form, opu=opu)
    features = np.asarray(features.fit_transform(codes))
    return features @ features.T


def relative(squares):
    """Root of the mean square, as a share of that of the kernel."""
    return np.sqrt(np.mean(squares) / np.mean(np.square(exact)))


sizes = 2 ** np.arange(5, 13)
errors = {
    name: [
        relative([np.square(estimate(name, D, seed) - exact) for seed in range(30)]) for D in sizes
    ]
    for name in variance
}

# %%
# Picture
# -------
# Left: points are measured, lines are the theory. Right: every pair of codes for one device
# and D = 1024.
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for color, (name, values) in zip(("C1", "C0", "C2"), variance.items()):
    left.loglog(sizes, errors[name], "o", color=color, label=f"{name}, measured")
    left.loglog(sizes, relative(values) / np.sqrt(sizes), color=color, label=f"{name}, theory")
    pairs = np.triu_indices(len(codes), 1)
    right.plot(exact[pairs], estimate(name, 1024, 0)[pairs], ".", color=color, ms=4, label=name)
limits = [exact[pairs].min(), exact[pairs].max()]
right.plot(limits, limits, "k--", linewidth=1, label="exact")
left.set(
    xlabel="D (n_components)",
    ylabel="relative error",
    title="Root mean squared error of the kernel",
)
left.set_xticks(sizes, [str(D) for D in sizes], rotation=45)
ticks = [0.03, 0.1, 0.3]
left.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
left.minorticks_off()
left.grid(alpha=0.4)
left.legend()
right.set(
    xlabel="kernel in closed form", ylabel="inner product of features", title="D = 1024, one device"
)
right.legend()
plt.show()

# %%
# The squared ratio of the two lines is the factor that centring saves in features.
ratio = np.mean(variance["raw"]) / np.mean(variance["centered"])
print(f"variance of raw over centered features, for these codes: {ratio:.2f}")
