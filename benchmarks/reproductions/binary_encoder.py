"""Encoders of binary weights before an OPU: against random hyperplanes and real weights.

Digits, 80 % of the rows for training, classes in proportion, ten splits. The codes go through a
simulated device with 1024 components to ``OPUKernelRidgeClassifier(alpha="loo")``. Encoders are
trained by leave-one-out REINFORCE (or another ``--gradient``) with default settings, except that
the encoder's penalty is 1e-3 for all. Accuracies are mean and standard deviation over splits, of
one code for each row.

    python benchmarks/reproductions/binary_encoder.py --bits 32,64

About ten minutes on one core for each number of bits; ``--save FILE`` keeps every fit.
"""

import sys

from bop import load
from fits import Store, make_parser, percent, split_numbers, table
from sklearn.pipeline import make_pipeline
from tqdm import tqdm

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    SupervisedBinarizer,
)

ENCODERS = {
    "random hyperplanes": None,
    "real weights": {},
    "binary weights, Bop": {"weights": "binary", "weight_optimizer": "bop"},
    "binary weights, straight-through": {"weights": "binary", "weight_optimizer": "ste"},
}


def measure(settings, seed):
    """Fit and return the test accuracy."""
    X, y, X_test, y_test = load("digits", seed, None)
    n_bits, encoder = settings["n_bits"], settings["encoder"]
    if encoder is None:
        binarizer = HyperplaneBinarizer(n_bits, random_state=seed)
    else:
        binarizer = SupervisedBinarizer(n_bits, encoder_penalty=1e-3, random_state=seed)
        binarizer.set_params(gradient=settings.get("gradient", "loo"), **encoder)
    readout = OPUKernelRidgeClassifier(alpha="loo")
    model = make_pipeline(binarizer, OPURandomFeatures(1024), readout).fit(X, y)
    return {"accuracy": model.score(X_test, y_test)}


def study(store, splits, bits, gradient, bar):
    """Return the table and the claims, as Markdown."""
    rows, claims = [], []
    for n_bits in bits:
        means = {}
        for name, encoder in ENCODERS.items():
            settings, values = {"n_bits": n_bits, "encoder": encoder}, []
            if encoder is not None and gradient != "loo":
                settings["gradient"] = gradient
            for seed in splits:
                values.append(store.get(settings, seed)["accuracy"])
                bar.update(1)
            means[name] = sum(values) / len(values)
            rows.append([name, n_bits, percent(values)])
        for name in list(ENCODERS)[2:]:
            over = 100 * (means[name] - means["random hyperplanes"])
            under = 100 * (means["real weights"] - means[name])
            claims.append([f"{name}, {n_bits} bits", f"{over:+.1f}", f"{-under:+.1f}"])
    header = ["encoder", "points over random", "points over real"]
    return table(["encoder", "bits", "test accuracy"], rows), table(header, claims)


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--bits", type=split_numbers, default="64", help="default: %(default)s")
    parser.add_argument("--gradient", default="loo", help="default: %(default)s")
    parser.add_argument("--splits", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--save", help="file that keeps the fits, to go on after a break")
    options = parser.parse_args(argv)
    splits = range(options.splits)
    total = len(ENCODERS) * len(splits) * len(options.bits)
    with tqdm(total=total, unit="fit", file=sys.stderr) as bar:
        tables = study(Store(options.save, measure), splits, options.bits, options.gradient, bar)
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    main()
