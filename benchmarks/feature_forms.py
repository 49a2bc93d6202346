"""Raw against centered features: error of the kernel, and of ridge regression on top.

For codes of three sets that come with scikit-learn, and 20 devices for each number of
components: the root mean square error of the features' inner products against the closed-form
kernel (relative to the kernel's root mean square), and the test error of ridge with
leave-one-out alpha. Prints both forms and the ratios centered / raw.

    python benchmarks/feature_forms.py
"""

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
    opu_kernel,
)
from skopu.devices import SimulatedOPU

N_DEVICES = 20
COLUMNS = ("raw", "centered", "ratio")
SETS = {
    "diabetes": (load_diabetes, OPUKernelRidge),
    "breast cancer": (load_breast_cancer, OPUKernelRidgeClassifier),
    "digits": (load_digits, OPUKernelRidgeClassifier),
}
BINARIZERS = {
    "random": HyperplaneBinarizer(64, random_state=0),
    "learned": SupervisedBinarizer(64, max_iter=500, random_state=0),
}


def errors(form, n_components, seed, codes, targets, ridge):
    """Relative kernel error and test error for one device; ``codes`` and ``targets`` are pairs."""
    features = OPURandomFeatures(n_components, form=form, opu=SimulatedOPU(seed), binarize=None)
    train, test = (features.fit(codes[0]).transform(z) for z in codes)
    K = opu_kernel(codes[1].astype(float))
    kernel_error = np.sqrt(np.mean((np.asarray(test @ test.T) - K) ** 2) / np.mean(K**2))
    model = ridge(alpha="loo").fit(train, targets[0])
    return kernel_error, 1 - model.score(test, targets[1])


def main():
    """Print a markdown table."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    titles = ["set", "codes", "D"]
    titles += [f"{what} error {s}" for what in ("kernel", "test") for s in COLUMNS]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name, (load, ridge) in SETS.items():
        X, y = load(return_X_y=True)
        rows = train_test_split(X, y, test_size=0.4, random_state=0)
        for kind, binarizer in BINARIZERS.items():
            binarizer.fit(rows[0], rows[2])
            codes = [binarizer.transform(part) for part in rows[:2]]
            for n_components in (64, 256, 1024):
                found = {
                    form: np.mean(
                        [
                            errors(form, n_components, seed, codes, rows[2:], ridge)
                            for seed in range(N_DEVICES)
                        ],
                        axis=0,
                    )
                    for form in ("raw", "centered")
                }
                cells = [
                    f"{found['raw'][i]:.4f} | {found['centered'][i]:.4f} | "
                    f"{found['centered'][i] / found['raw'][i]:.2f}"
                    for i in range(2)
                ]
                print(f"| {name} | {kind} | {n_components} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
