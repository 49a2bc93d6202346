"""The method of auxiliary coordinates (MAC) for small codes before an OPU.

Kozyrskiy et al. (2021, section 2) set it aside for two reasons: its combinatorial step suits short
codes only, and it "converges in one iteration to poor local optima". Here it is, as in
Carreira-Perpinan and Raziperchikolaei (2015), with the readout of an OPU in the decoder's place.
Minimised over codes z_i in {0, 1}^k, an encoder h and a readout w is

    sum_i (y_i - w.phi(z_i))^2 + mu |z_i - h(x_i)|^2,

in turn: w by ridge regression on the features of the codes, h by a logistic regression for each
bit, z_i by trying all 2^k codes, and mu doubles from turn to turn. Codes start at random
hyperplanes, or at those of an autoencoder. Then the codes are h(x), and the readout is chosen as
for the others in the table: ridge on 1024 features, alpha by leave-one-out. Protocol: that of
``protocol.py``; classes have targets -1 and 1.

    SKOPU_DATA=folder python benchmarks/reproductions/mac.py

Printed are test errors, and for each turn of the first seed the share of codes that moved, the
training error with the codes z, and that with h(x): what the encoder cannot follow.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from skopu import (
    AutoencoderBinarizer,
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPURandomFeatures,
    SupervisedBinarizer,
)
from skopu.devices import SimulatedOPU

sys.path.insert(0, str(Path(__file__).parents[1]))
from protocol import add_runs, is_classification, make_parser, resolve, split, split_numbers

SETS = "boston,energy,german"
TURNS = 12
FIRST_MU = 0.01  # with errors in units of the target's variance, and distances in bits


def all_codes(n_bits):
    """Return every code, shape (2^k, k)."""
    return (np.arange(2**n_bits)[:, None] >> np.arange(n_bits) & 1).astype(np.uint8)


def best_codes(y, outputs, codes, wanted, mu):
    """Return for each row the code that costs least, as its number.

    Parameters
    ----------
    y : ndarray of shape (n,)
    outputs : ndarray of shape (2^k,)
        Of the readout for every code.
    codes : ndarray of shape (2^k, k)
    wanted : ndarray of shape (n, k)
        The encoder's.
    mu : float
        Price of a bit that differs from the encoder's.
    """
    codes, wanted = codes.astype(float), wanted.astype(float)
    distances = wanted.sum(1)[:, None] + codes.sum(1) - 2 * wanted @ codes.T
    return np.argmin((y[:, None] - outputs) ** 2 + mu * distances, axis=1)


class Encoder:
    """A logistic regression for each bit; a bit that is the same for all rows stays so."""

    def fit(self, X, bits):
        """Fit every bit."""
        self._bits = [
            LogisticRegression(max_iter=300).fit(X, bit) if np.ptp(bit) else bit[0]
            for bit in bits.T
        ]
        return self

    def transform(self, X):
        """Return codes (n, k)."""
        columns = [
            bit.predict(X) if hasattr(bit, "predict") else np.full(len(X), bit)
            for bit in self._bits
        ]
        return np.stack(columns, axis=1).astype(np.uint8)


def train(X, y, start, seed):
    """Return the encoder of MAC from starting codes (n, k), and what each turn came to."""
    codes = all_codes(start.shape[1])
    features = OPURandomFeatures(256, opu=SimulatedOPU(seed)).fit(codes)
    table = np.asarray(features.transform(codes))
    numbers = start.astype(int) @ (1 << np.arange(start.shape[1]))
    encoder, turns = Encoder(), []
    for turn in range(TURNS):
        readout = OPUKernelRidge("loo", kernel="linear").fit(table[numbers], y)
        wanted = encoder.fit(X, codes[numbers]).transform(X)
        outputs = readout.predict(table)
        before = numbers
        numbers = best_codes(y, outputs, codes, wanted, FIRST_MU * 2**turn)
        followed = wanted.astype(int) @ (1 << np.arange(start.shape[1]))
        errors = [np.mean((y - outputs[chosen]) ** 2) for chosen in (numbers, followed)]
        turns.append((np.mean(before != numbers), *errors))
    return encoder.fit(X, codes[numbers]), turns


def judge(encoder, X, X_test, y, y_test, is_class):
    """Return the test error of a readout of the encoder's codes."""
    features = OPURandomFeatures(1024).fit(encoder.transform(X))
    ridge = OPUKernelRidge("loo").fit(features.transform(encoder.transform(X)), y)
    predicted = ridge.predict(features.transform(encoder.transform(X_test)))
    wrong = np.sign(predicted) != y_test if is_class else (predicted - y_test) ** 2
    return float(np.mean(wrong))


def compare(folder, name, n_bits, seed):
    """Return test errors by method, and the turns of MAC from hyperplanes."""
    X, X_test, y, y_test = split(folder, name, seed)
    is_class = is_classification(y)
    targets = 2.0 * y - 1 if is_class else y
    parts = X, X_test, targets, (2.0 * y_test - 1 if is_class else y_test), is_class
    encoders = {
        "hyperplanes": HyperplaneBinarizer(n_bits, random_state=seed).fit(X),
        "autoencoder": AutoencoderBinarizer(n_bits, random_state=seed).fit(X),
    }
    turns = {}
    for start in list(encoders):
        codes = encoders[start].transform(X)
        encoders[f"MAC from {start}"], turns[start] = train(X, targets, codes, seed)
    encoders["SupervisedBinarizer"] = SupervisedBinarizer(n_bits, random_state=seed).fit(X, y)
    return {key: judge(encoder, *parts) for key, encoder in encoders.items()}, turns["hyperplanes"]


def main(argv=None):
    """Print Markdown tables."""
    parser = add_runs(make_parser(__doc__, SETS))
    parser.add_argument("--bits", type=split_numbers, default="8", help="default: %(default)s")
    options = resolve(parser, argv)
    print("| set, bits | method | test error |\n|---|---|---:|")
    shown = []
    for name in tqdm(options.sets, unit="set", file=sys.stderr):
        for n_bits in options.bits:
            found = [compare(options.data, name, n_bits, seed) for seed in options.seeds]
            shown.append((f"{name}, {n_bits}", found[0][1]))
            for key in found[0][0]:
                errors = np.array([errors[key] for errors, _ in found])
                spread = errors.std(ddof=1) if len(errors) > 1 else 0.0
                print(
                    f"| {name}, {n_bits} | {key} | {errors.mean():.4g} ± {spread:.2g} |", flush=True
                )
    print("\n| set, bits | turn | moved | error of z | error of h(x) |\n|---|---:|---:|---:|---:|")
    for label, turns in shown:
        for number, turn in enumerate(turns, start=1):
            print(f"| {label} | {number} | {' | '.join(f'{value:.3f}' for value in turn)} |")


if __name__ == "__main__":
    main()
