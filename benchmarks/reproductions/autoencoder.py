"""Denoising autoencoders with binary weights on digits, as Markdown tables.

Section 5 of Nayak et al. (ReScience C, 2020) on the 8 x 8 digits of scikit-learn, in the place of
CIFAR: rows scaled to [-1, 1], normal noise of standard deviation 0.1, clipped to [-1, 1]; 64
units, dense, batch normalisation, tanh at the end; a quarter of the rows held out; 3 seeds for
split, start and noise. Compared are real weights with rectifiers (AE), and binary weights with
signs (BAE) trained by Adam on latent weights (straight-through) or by Bop (gamma 1e-3, tau
1e-8), all other parameters by Adam, at the same learning rate and for the same number of
minibatches; and once more with the report's own settings, gamma 1e-5 and Adam (.99, .999) at 1e-3.
Printed is the peak signal-to-noise ratio, in dB, of held-out noisy rows after restoration. The code
of the BAE is binary, where the report's decoder reads real values; "real weights, binary code"
tells how much that costs. The last table uses the codes before an OPU: 1024 components and ridge.

    python benchmarks/reproductions/autoencoder.py --figure curves.png
"""

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from fits import make_parser
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from skopu import BinaryAutoencoder, HyperplaneBinarizer, OPUKernelRidgeClassifier
from skopu.discrete.autoencoder_training import corrupt, train_autoencoder

SEEDS = (0, 1, 2)
RATES = {1e-2: 2000, 1e-3: 6000}  # minibatches: a tenth of the rate takes longer
NOISE = 0.1
REPORT_GAMMA, REPORT_BETAS = 1e-5, (0.99, 0.999)
SHARES = (0.03, 0.1, 0.3, 1.0)  # of the training
AE, REAL, ADAM, BOP = "AE", "real weights, binary code", "BAE (Adam)", "BAE (Bop)"
KINDS = {
    AE: ("relu", {"weights": "real"}),
    REAL: ("sign", {"weights": "real"}),
    ADAM: ("sign", {"weight_optimizer": "ste"}),
    BOP: ("sign", {"weight_optimizer": "bop"}),
}
FORWARD = {"relu": lambda H: np.maximum(H, 0), "sign": lambda H: np.where(H >= 0, 1.0, -1.0)}


def split(seed, noise=NOISE):
    """Training and held-out rows in [-1, 1], the noisy held-out rows, and the labels."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 8 - 1, y, random_state=seed, stratify=y)
    generator = torch.Generator().manual_seed(seed)
    noisy = corrupt(torch.from_numpy(X_test), noise, generator).numpy()
    return X, X_test, noisy, y, y_test


def restore(trained, X, activation):
    """Output of a trained autoencoder."""
    layers = zip(trained.coefs, trained.scales, trained.shifts)
    for number, (coef, scale, shift) in enumerate(layers):
        X = (FORWARD[activation](X) if number else X) @ coef * scale + shift
    return np.tanh(X)


def fit(kind, rate, seed, noise=NOISE, **others):
    """Return the trained network."""
    activation, settings = KINDS[kind]
    X = split(seed, noise)[0]
    settings = BinaryAutoencoder(
        64, noise=noise, learning_rate=rate, max_iter=RATES[rate], **settings, **others
    )
    return train_autoencoder(X, np.ones(len(X)), settings, seed, activation)


def judge(trained, kind, seed, noise=NOISE):
    """Peak signal-to-noise ratio of the restored rows and of the noisy ones."""
    _, clean, noisy, *_ = split(seed, noise)
    restored = restore(trained, noisy, KINDS[kind][0])
    return to_decibels([np.mean((clean - other) ** 2) for other in (restored, noisy)])


def to_decibels(errors):
    """Peak signal-to-noise ratios of mean squared errors: the range of rows is 2, the peak 4."""
    return 10 * np.log10(4 / np.array(errors))


def decibels(kind, rate, seed, noise=NOISE):
    """Peak signal-to-noise ratio of the restored rows and of the noisy ones."""
    return judge(fit(kind, rate, seed, noise), kind, seed, noise)


def ratio_table(bar):
    """Markdown table, and the ratios (kinds, rates, seeds)."""
    ratios = np.empty((len(KINDS), len(RATES), len(SEEDS)))
    for i, kind in enumerate(KINDS):
        for j, rate in enumerate(RATES):
            for k, seed in enumerate(SEEDS):
                ratios[i, j, k], unrestored = decibels(kind, rate, seed)
                bar.update()
    lines = ["| network | " + " | ".join(f"learning rate {rate:g}" for rate in RATES) + " |"]
    lines.append("|---|" + "---:|" * len(RATES))
    for kind, row in zip(KINDS, ratios):
        cells = [f"{cell.mean():.2f} ± {cell.std():.2f}" for cell in row]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines.append(f"| the noisy rows | {unrestored:.2f} | {unrestored:.2f} |")
    return "\n".join(lines), dict(zip(KINDS, ratios))


def report_table(bar, curves):
    """Markdown table with the report's own settings: gamma 1e-5, Adam (.99, .999), rate 1e-3.

    The losses of training of each seed are put into ``curves``, by network.
    """
    heads = [f"training, at {share:.0%}" for share in SHARES]
    lines = [f"| network | {' | '.join(heads)} | held out |", "|---|" + "---:|" * (len(heads) + 1)]
    with patch("skopu.training.optimizers._BETAS", REPORT_BETAS):
        for kind in (AE, ADAM, BOP):
            found = []
            for seed in SEEDS:
                trained = fit(kind, 1e-3, seed, gamma=REPORT_GAMMA)
                losses = trained.history["loss"]
                curves.setdefault(kind, []).append(losses)
                places = [round(share * (len(losses) - 1)) for share in SHARES]
                curve = to_decibels([losses[place] for place in places])
                found.append([*curve, judge(trained, kind, seed)[0]])
                bar.update()
            cells = [f"{v.mean():.2f} ± {v.std():.2f}" for v in np.transpose(found)]
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(curves, path):
    """Draw training against minibatches, in dB: figure 4 of the report."""
    import matplotlib.pyplot as plt

    plt.style.use(Path(__file__).parents[1] / "style.mplstyle")
    figure, ax = plt.subplots(figsize=(6, 3.5))
    for kind, losses in curves.items():
        mean = np.mean(losses, axis=0)
        # Minibatches differ more than steps do: a hundred together.
        blocks = mean[: len(mean) // 100 * 100].reshape(-1, 100).mean(axis=1)
        ax.plot(100 * np.arange(1, len(blocks) + 1), to_decibels(blocks), label=kind)
    ax.set(xlabel="minibatches", ylabel="training rows restored, dB")
    ax.legend()
    figure.savefig(path)


def noise_table(bar):
    """Markdown table of more noise, at the first learning rate."""
    lines = [f"| noise | noisy rows | {AE} | {BOP} |", "|---:|---:|---:|---:|"]
    for noise in (0.3, 0.6):
        cells = []
        for kind in (AE, BOP):
            pairs = []
            for seed in SEEDS:
                pairs.append(decibels(kind, next(iter(RATES)), seed, noise))
                bar.update()
            restored, unrestored = np.transpose(pairs)
            cells.append(f"{restored.mean():.2f} ± {restored.std():.2f}")
        lines.append(f"| {noise} | {unrestored.mean():.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def code_table(bar):
    """Markdown table of the accuracy on digits with 64 and 256 bits before an OPU."""
    lines = ["| codes | bits | right, % |", "|---|---:|---:|"]
    for n_bits in (64, 256):
        for name, make in (
            ("random hyperplanes", HyperplaneBinarizer),
            (BOP, lambda *a, **k: BinaryAutoencoder(*a, feature_range=(-1, 1), **k)),
        ):
            scores = []
            for seed in SEEDS:
                X, X_test, _, y, y_test = split(seed)
                binarizer = make(n_bits, random_state=seed).fit(X)
                ridge = OPUKernelRidgeClassifier(alpha="loo", n_components=1024)
                ridge.fit(binarizer.transform(X), y)
                scores.append(100 * ridge.score(binarizer.transform(X_test), y_test))
                bar.update()
            lines.append(f"| {name} | {n_bits} | {np.mean(scores):.1f} ± {np.std(scores):.1f} |")
    return "\n".join(lines)


def decide(gaps, least):
    """Return what the gaps of the seeds (mean and deviation) say of "at least so much"."""
    if gaps.mean() - gaps.std() >= least:
        return "reproduced"
    return "refuted" if gaps.mean() + gaps.std() < least else "undecided"


def claims(ratios):
    """Markdown table of claims and verdicts."""
    lines = ["| claim | learning rate | measured | verdict |", "|---|---:|---:|---|"]
    for claim, a, b, least in (
        ("AE above BAE (Bop) by 3 dB or more (report: 5.6)", AE, BOP, 3),
        (
            "BAE (Bop) above BAE (Adam), or at most 0.1 dB below (report: 0.2 above)",
            BOP,
            ADAM,
            -0.1,
        ),
    ):
        for rate, gaps in zip(RATES, ratios[a] - ratios[b]):
            verdict = decide(gaps, least)
            lines.append(
                f"| {claim} | {rate:g} | {gaps.mean():+.2f} ± {gaps.std():.2f} | {verdict} |"
            )
    return "\n".join(lines)


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--figure", help="draw training with the report's settings into this file")
    options, curves = parser.parse_args(), {}
    torch.set_num_threads(1)
    total = len(SEEDS) * (len(KINDS) * len(RATES) + 3 + 4 + 4)
    with tqdm(total=total, unit="fit", file=sys.stderr) as bar:
        table, ratios = ratio_table(bar)
        report = report_table(bar, curves)
        noises = noise_table(bar)
        codes = code_table(bar)
    print("## Restored rows, dB", table, "## More noise, dB", noises, sep="\n\n", end="\n\n")
    print("## The report's own settings, dB", report, sep="\n\n", end="\n\n")
    print("## Codes before an OPU", codes, sep="\n\n", end="\n\n")
    print("## Claims", claims(ratios), sep="\n\n")
    if options.figure:
        draw(curves, options.figure)


if __name__ == "__main__":
    main()
