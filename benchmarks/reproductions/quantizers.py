"""Penalties of "Binary quantizer" (Partovi Nia and Belbahri, 2020) on digits.

Nets of real weights and sign activations, one hidden layer of 64, trained with and without the
penalty for 100 epochs; then every layer's weights are replaced by alpha times their signs, the
statistics of batch norm staying those of training, as in the paper, or measured anew. Splits as
in ``bop.py``. Test accuracies are mean and standard deviation over seeds; without a penalty alpha
is the mean of the weights' sizes.

    python benchmarks/reproductions/quantizers.py

About ten minutes on one core; ``--save FILE`` keeps every fit.
"""

import sys
from functools import partial

import numpy as np
from bop import load
from fits import Store, add_fits, make_parser, percent, table, verdict
from tqdm import tqdm

from skopu import BinaryMLPClassifier
from skopu.penalties import BinaryQuantizer, foothill

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
FOOTHILLS = ((1, 50), (2, 50), (0.1, 10), (0.1, 100), (0.5, 10), (0.5, 100))
# Without a form, "difference": |f(w) - f(alpha)|^p; "shifted": f(w - alpha sign w).
PENALTIES = {
    **{f"absolute, p = {p:g}": {"p": p} for p in (1.0, 1.5, 2.0)},
    "absolute, p = 1, no ramp": {"p": 1.0, "ramp": None},
    **{
        f"foothill {g:g}, {b}, shifted": {"foothill": [g, b], "form": "shifted"}
        for g, b in FOOTHILLS
    },
    "square": {"base": "square"},
    "elastic net": {"base": "elastic_net"},
    "SCAD, shifted": {"base": "scad", "form": "shifted"},
    "square root, p = 1": {"base": "square_root"},
    "square root, p = 2": {"base": "square_root", "p": 2.0},
    "square root, shifted": {"base": "square_root", "form": "shifted"},
}
STATISTICS = {1.0: np.median, 2.0: np.mean}


def make_penalty(settings, strength):
    """Return the quantizer that a row of the table stands for."""
    settings = dict(settings)
    if "foothill" in settings:
        gamma, beta = settings.pop("foothill")
        settings["base"] = partial(foothill, gamma=gamma, beta=beta)
    return BinaryQuantizer(strength=strength, **settings)


def measure(settings, seed):
    """Fit and return the accuracies, and how far alpha is from the statistic it should be."""
    X, y, X_test, y_test = load("digits", seed, None)
    if "way" in settings:
        model = BinaryMLPClassifier((64,), weight_optimizer=settings["way"], random_state=seed)
        return {"accuracy": model.fit(X, y).score(X_test, y_test)}
    penalty = settings["penalty"]
    if penalty is not None:
        penalty = make_penalty(penalty, settings["strength"])
    model = BinaryMLPClassifier(
        (64,),
        weight_optimizer="real",
        penalty=penalty,
        recalibrate=settings["recalibrate"],
        random_state=seed,
    ).fit(X, y)
    found = {"accuracy": model.score(X_test, y_test)}
    if penalty is not None and penalty.base == "absolute" and penalty.p in STATISTICS:
        expected = [STATISTICS[penalty.p](np.abs(coef)) for coef in model.latent_coefs_]
        found["error"] = float(np.abs(model.alphas_ - expected).max())
    found["real"] = model.set_params(weights="latent").score(X_test, y_test)
    return found


class Study:
    """The tables, from a store."""

    def __init__(self, store, seeds, bar):
        self._store, self._seeds, self._bar = store, seeds, bar

    def values(self, penalty, strength, recalibrate=False, key="accuracy"):
        """Return a figure of every seed."""
        settings = {"penalty": penalty, "strength": strength, "recalibrate": recalibrate}
        found = []
        for seed in self._seeds:
            found.append(self._store.get(settings, seed)[key])
            self._bar.update(1)
        return np.array(found)

    def quantizers(self):
        """Table of penalties and strengths: accuracy of the signs."""
        header = ["penalty", *(f"{strength:.0e}" for strength in STRENGTHS)]
        rows = [
            [name, *(percent(self.values(penalty, strength)) for strength in STRENGTHS)]
            for name, penalty in PENALTIES.items()
        ]
        return table(header, rows)

    def recalibrated(self):
        """Table of statistics kept and measured anew, without and with the plain penalty."""
        p1 = PENALTIES["absolute, p = 1"]
        rows = []
        for label, penalty, strength in (
            ("none", None, 0.0),
            *((f"p = 1, {s:.0e}", p1, s) for s in STRENGTHS),
        ):
            kept = self.values(penalty, strength)
            anew = self.values(penalty, strength, recalibrate=True)
            real = self.values(penalty, strength, key="real")
            rows.append([label, percent(kept), percent(anew), percent(real)])
        return table(["penalty", "signs", "signs, statistics anew", "real weights"], rows)

    def others(self):
        """Table of the same net with weights that are binary in training."""
        rows = []
        for way in ("xnor", "ste", "bop"):
            values = [self._store.get({"way": way}, seed)["accuracy"] for seed in self._seeds]
            self._bar.update(len(values))
            rows.append([way, percent(values)])
        return table(["way", "signs"], rows)

    def claims(self):
        """Table of verdicts."""
        plain, full = self.values(None, 0.0), self.values(None, 0.0, key="real")
        best = max(
            (
                self.values(penalty, strength)
                for penalty in PENALTIES.values()
                for strength in STRENGTHS
            ),
            key=np.mean,
        )
        errors = [
            self.values({"p": p}, strength, key="error").max()
            for p in STATISTICS
            for strength in STRENGTHS
        ]
        lost, won = (100 * (a.mean() - plain.mean()) for a in (full, best))
        near = verdict(best, full, -0.014)
        rows = [
            [f"bare signs lose a lot ({lost:.1f} points)", verdict(full, plain, 0.05)],
            [f"the best penalty wins some back ({won:.1f} points)", verdict(best, plain)],
            [f"it comes within 1.4 points of real weights ({lost - won:.1f} points)", near],
            [
                f"alpha is the median (p = 1), the mean (p = 2) to 1e-3 (largest error "
                f"{max(errors):.0e})",
                "reproduced" if max(errors) <= 1e-3 else "refuted",
            ],
        ]
        return table(["claim, on digits", "verdict"], rows)


def main(argv=None):
    parser = make_parser(__doc__)
    add_fits(parser)
    options = parser.parse_args(argv)
    with tqdm(unit="fit", file=sys.stderr) as bar:
        study = Study(Store(options.save, measure), options.seeds, bar)
        tables = [study.quantizers(), study.recalibrated(), study.others(), study.claims()]
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    main()
