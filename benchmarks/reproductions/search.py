"""Combinatorial search in the place of gradients: a claim of the slides on discrete blocks.

"Applies generally but not efficient", Lu (2020) says of combinatorial optimisation and evolution of
discrete parameters, and trains them by gradients instead. Here both choose the same parameters:

1. formulas of ten rules over 10 bits, for the random formulas of ``rules.py``: the 200 switches
   that put a literal into a rule, 20 seeds, all 1024 strings or 500 of them seen;
2. nets of signs, a hidden layer of 32, on digits (splits as in ``bop.py``, the default
   training): the 2368 signs of both layers. What is continuous, the means and deviations of the
   layers, is measured anew for each choice of signs.

The search is a (1 + 1) evolution: a random choice, of which each switch turns with one chance in
their number, but at least one does; it is kept if it is not worse on the rows that are seen (wrong
strings, cross-entropy), and begun anew after 20,000 changes without gain. It has the processor's
seconds that the gradient took for the same task, or ten times as many.

    python benchmarks/reproductions/search.py

Some ten minutes of one core.
"""

import sys
import time

import numpy as np
from bop import load
from fits import make_parser, percent, table
from rules import N_SEEDS, STRINGS, random_formula
from scipy.special import log_softmax
from tqdm import tqdm

from skopu import BinaryMLPClassifier, NeuralDNFClassifier

N_RULES = 10
N_UNITS = 32
LENIENT = 10  # times the gradient's seconds
PATIENCE = 20_000


def climb(loss_of, draw, seconds, rng):
    """Return the best choice found, its loss, the choices tried and the seconds it took."""
    start, n_tried, best = time.process_time(), 0, (np.inf, None)
    while (spent := time.process_time() - start) < seconds and best[0] > 0:
        here = draw(rng)
        loss, n_vain = loss_of(here), 0
        while n_vain < PATIENCE and loss > 0 and time.process_time() - start < seconds:
            there = here ^ turns(here.size, rng)
            found = loss_of(there)
            n_tried, n_vain = n_tried + 1, 0 if found < loss else n_vain + 1
            if found <= loss:
                here, loss = there, found
        best = min(best, (loss, here), key=lambda pair: pair[0])
    return best[1], best[0], n_tried, spent


def turns(n, rng):
    """Return which of n switches turn: each with chance 1/n, one at least."""
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.integers(n, size=max(1, rng.binomial(n, 1 / n)))] = True
    return chosen


class Formula:
    """Formulas as switches of their literals, judged on the strings that are seen.

    Truths on all strings are the bits of one whole number, which makes a choice cheap to judge.
    """

    def __init__(self, y, rows):
        literals = np.hstack([STRINGS, 1 - STRINGS])
        self._literals = [number_of(column) for column in literals.T]
        self._all = number_of(np.ones(len(y)))
        self._seen = number_of(np.isin(np.arange(len(y)), rows))
        self._target = number_of(y)

    def truth(self, choice):
        """Return the truth of the formula on all strings, as bits of a number."""
        formula = 0
        for rule in choice.reshape(N_RULES, -1):
            truth = self._all
            for literal in np.flatnonzero(rule).tolist():
                truth &= self._literals[literal]
            formula |= truth
        return formula

    def n_wrong(self, choice):
        """Return how many of the strings that are seen come out wrong."""
        return ((self.truth(choice) ^ self._target) & self._seen).bit_count()

    def error(self, choice):
        """Return the share of all strings that come out wrong."""
        return (self.truth(choice) ^ self._target).bit_count() / len(STRINGS)

    def draw(self, rng):
        """Return a choice with three literals in a rule, in the mean."""
        return rng.random(N_RULES * len(self._literals)) < 3 / len(self._literals)


def number_of(bits):
    """Return the number with these bits."""
    return int("".join("1" if bit else "0" for bit in bits), 2)


class Signs:
    """Nets of signs as switches of their weights, judged by the cross-entropy of seen rows."""

    def __init__(self, X, y):
        self._X, self._y = X.astype(np.float32), y
        self._n_inputs, self._n_classes = X.shape[1], y.max() + 1

    def logits(self, choice, X):
        """Return the logits of rows, by statistics of the rows that are seen."""
        signs = np.where(choice, np.float32(1), np.float32(-1))
        first, second = np.split(signs, [self._n_inputs * N_UNITS])
        first, second = first.reshape(-1, N_UNITS), second.reshape(N_UNITS, -1)
        seen, asked = self._X @ first, X @ first
        codes = [np.sign(H - seen.mean(0)) for H in (seen, asked)]
        seen, asked = (H @ second for H in codes)
        return (asked - seen.mean(0)) / (seen.std(0) + 1e-6)

    def cross_entropy(self, choice):
        """Return the mean cross-entropy of the rows that are seen."""
        logits = log_softmax(3 * self.logits(choice, self._X), axis=1)
        return -logits[np.arange(len(self._y)), self._y].mean()

    def accuracy(self, choice, X, y):
        """Return the share of rows whose class is right."""
        return np.mean(self.logits(choice, X.astype(np.float32)).argmax(1) == y)

    def draw(self, rng):
        """Return random signs."""
        return rng.random((self._n_inputs + self._n_classes) * N_UNITS) < 0.5


def timed(fit, *data):
    """Return a fitted model, and the processor's seconds that it took."""
    start = time.process_time()
    model = fit(*data)
    return model, time.process_time() - start


def count(tried, way):
    """Return the median number of choices tried, nothing for a way that tries none."""
    return f"{np.median(tried[way]):.0f}" if way in tried else ""


def formulas(n_formulas, bar):
    """Return a Markdown table: formulas recovered by gradients and by search."""
    rows = []
    for n_seen in (len(STRINGS), 500):
        errors = {way: [] for way in ("gradient (Bop)", "search")}
        seconds, tried = {way: [] for way in errors}, {"search": []}
        for seed in range(n_formulas):
            y, rng = random_formula(seed), np.random.default_rng(seed)
            seen = rng.permutation(len(y))[:n_seen]
            model = NeuralDNFClassifier(N_RULES, literal_penalty=0, random_state=seed)
            model, spent = timed(model.fit, STRINGS[seen], y[seen])
            errors["gradient (Bop)"].append(np.mean(model.predict(STRINGS) != y))
            seconds["gradient (Bop)"].append(spent)
            formula = Formula(y, seen)
            choice, _, n_tried, taken = climb(formula.n_wrong, formula.draw, spent, rng)
            errors["search"].append(formula.error(choice))
            seconds["search"].append(taken)
            tried["search"].append(n_tried)
            bar.update()
        for way, found in errors.items():
            recovered = f"{np.sum(np.equal(found, 0))} of {n_formulas}"
            spent = f"{np.median(seconds[way]):.2f}"
            rows.append([way, n_seen, recovered, percent(found), spent, count(tried, way)])
    header = ["by", "strings seen", "recovered", "wrong, %", "CPU s, median", "choices, median"]
    return table(header, rows)


def signs(n_splits, bar):
    """Return a Markdown table: digits by gradients, and by search."""
    searches = {"search": 1, f"search, {LENIENT} times the seconds": LENIENT}
    accuracies = {way: [] for way in ("gradient (Bop)", *searches)}
    seconds, tried = {way: [] for way in accuracies}, {way: [] for way in searches}
    for seed in range(n_splits):
        X_seen, y_seen, X_test, y_test = load("digits", seed, None)
        model = BinaryMLPClassifier((N_UNITS,), random_state=seed)
        model, spent = timed(model.fit, X_seen, y_seen)
        accuracies["gradient (Bop)"].append(model.score(X_test, y_test))
        seconds["gradient (Bop)"].append(spent)
        bar.update()
        net = Signs(X_seen, y_seen)
        for way, times in searches.items():
            rng = np.random.default_rng(seed)
            choice, _, n_tried, taken = climb(net.cross_entropy, net.draw, times * spent, rng)
            accuracies[way].append(net.accuracy(choice, X_test, y_test))
            seconds[way].append(taken)
            tried[way].append(n_tried)
            bar.update()
    rows = [
        [way, percent(found), f"{np.median(seconds[way]):.1f}", count(tried, way)]
        for way, found in accuracies.items()
    ]
    return table(["by", "right, %", "CPU s, median", "choices, median"], rows)


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--n-splits", type=int, default=3, help="of digits (default: %(default)s)")
    parser.add_argument("--n-formulas", type=int, default=N_SEEDS, help="default: %(default)s")
    options = parser.parse_args(argv)
    total = 2 * options.n_formulas + 3 * options.n_splits
    with tqdm(total=total, unit="fit", file=sys.stderr) as bar:
        print("## Random formulas", formulas(options.n_formulas, bar), sep="\n\n", flush=True)
        print("\n## Digits, signs", signs(options.n_splits, bar), sep="\n\n")


if __name__ == "__main__":
    main()
