"""Convergence with and without variance reduction, and what the number of draws is worth.

Figure 3 of Kozyrskiy et al.: the training loss of End-to-End against epochs and against passes,
for REINFORCE without baselines, with leave-one-out ones, with a quadratic model as control
variate, and for the exact gradient, which makes no pass (its loss is a bound where there are
classes). Then leave-one-out with other numbers of draws S (one draw has no others, so it is plain
REINFORCE) at equal passes: S times the minibatches is 6000 for all; ``--equal steps`` makes 1500
minibatches whatever S is. ``--objective isolated`` trains that one, with two draws or more;
``--only-draws`` leaves the curves out, ``--budget`` changes the 6000.

Other settings are the defaults, but for the encoder's penalty, which is 0.001 for all. Sets, rows
and splits are those of ``protocol.py``. Printed are means and standard deviations over seeds of
the training loss, averaged over the last twentieth of the training, and of the test error: mean
squared error of the standardised target, or error rate, with ten draws. Curves are geometric
means, bands one standard deviation of the logarithm.

    SKOPU_DATA=folder python benchmarks/convergence.py --figure doc/_static/figure3.png

``--cache folder`` keeps the fits, so that a run cut short goes on where it was.
"""

import numpy as np
from joblib import Memory
from protocol import end_to_end, make_parser, mean_error, resolve, split
from tqdm import tqdm

from skopu import (
    ConvergenceDisplay,
    SupervisedBinarizer,
)
from skopu.gradients import Exact, LeaveOneOut, Quadratic, Reinforce

SETS = "mocap,boston"
N_DRAWS = (1, 2, 4, 8, 16)
BUDGET = 6000  # draws of a row times minibatches
QUICK_BUDGET, QUICK_SEEDS = 480, 2
PENALTY = 1e-3

# Label, gradient, colour (of Okabe and Ito, told apart by the colour-blind) and style.
CURVES = (
    ("reinforce, S=4", Reinforce(4), "#D55E00", ":"),
    ("loo, S=4", LeaveOneOut(4), "#0072B2", "-"),
    ("loo, S=16", LeaveOneOut(16), "#56B4E9", "--"),
    ("quadratic, S=4", Quadratic(4), "#009E73", "-."),
    ("exact, no passes", Exact(), "#000000", "-"),
)


def by_draws(n_draws):
    """Return the estimator of the study of draws."""
    return Reinforce(1) if n_draws == 1 else LeaveOneOut(n_draws)


def n_iterations(gradient, options):
    """Minibatches for a gradient; the exact one, without draws, gets those of S = 4."""
    n_draws = getattr(gradient, "n_draws", 4) if options.equal == "passes" else 4
    return options.budget // n_draws


def fit(folder, name, gradient, objective, seed, max_iter):
    """Train on a split of a set; return the fitted binarizer and the test error."""
    X, X_test, y, y_test = split(folder, name, seed)
    binarizer = SupervisedBinarizer(
        gradient=gradient, objective=objective, encoder_penalty=PENALTY, max_iter=max_iter
    )
    model = end_to_end(y, binarizer, random_state=seed).fit(X, y)
    return model.binarizer_, mean_error(model.predict(X_test), y_test)


def fit_all(options):
    """Return a list over seeds of (binarizer, error), by set and gradient (its repr)."""
    curves = [] if options.only_draws else [gradient for _, gradient, _, _ in CURVES]
    gradients = curves + [by_draws(S) for S in options.n_draws]
    gradients = {repr(gradient): gradient for gradient in gradients}
    cached = Memory(options.cache, verbose=0).cache(fit)
    fits = {(name, key): [] for name in options.sets for key in gradients}
    with tqdm(total=len(fits) * options.seeds, unit="fit") as bar:
        for seed in range(options.seeds):
            for name, key in fits:
                max_iter = n_iterations(gradients[key], options)
                run = cached(options.data, name, gradients[key], options.objective, seed, max_iter)
                fits[name, key].append(run)
                bar.update()
    return fits


def final_loss(binarizer):
    """Return the training loss, averaged over the last twentieth of the training."""
    losses = binarizer.history_["loss"]
    return np.mean(losses[-max(1, len(losses) // 20) :])


def columns(fits):
    """Return final losses and test errors, one for each seed."""
    return [final_loss(binarizer) for binarizer, _ in fits], [error for _, error in fits]


def plus_minus(values):
    return f"{np.mean(values):.3g} +- {np.std(values, ddof=1):.2g}"


def table(title, rows, sets, fits):
    """Markdown table; rows are pairs of a label and a gradient."""
    heads = [f"{name}, {what}" for name in sets for what in ("loss", "test error")]
    lines = [f"| {title} | minibatches | {' | '.join(heads)} |"]
    lines.append("|---|---:|" + "---:|" * len(heads))
    for label, gradient in rows:
        runs = [fits[name, repr(gradient)] for name in sets]
        cells = [plus_minus(values) for run in runs for values in columns(run)]
        lines.append(f"| {label} | {runs[0][0][0].n_iter_} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_curves(ax, name, x, fits):
    """Draw the curves of a set against epochs or passes."""
    for label, gradient, color, style in CURVES:
        binarizers = [binarizer for binarizer, _ in fits[name, repr(gradient)]]
        if x == "n_passes" and not gradient.uses_device:
            ax.axhline(np.mean([final_loss(b) for b in binarizers]), color=color, lw=1, label=label)
            continue
        ConvergenceDisplay.from_estimators(
            binarizers, x=x, name=label, ax=ax, color=color, linestyle=style
        )
    ax.set(xscale="log", title=name, ylabel="training loss")
    ax.margins(y=0.1)
    ax.xaxis.set_minor_formatter("")
    ax.get_legend().remove()


def draw_study(ax, name, fits, options):
    """Draw final loss and test error against the number of draws."""
    styles = {"training loss": ("#0072B2", "o-"), "test error": ("#E69F00", "s--")}
    values = np.array([columns(fits[name, repr(by_draws(S))]) for S in options.n_draws])
    for number, (label, (color, style)) in enumerate(styles.items()):
        mean, sd = values[:, number].mean(1), values[:, number].std(1, ddof=1)
        ax.errorbar(options.n_draws, mean, sd, fmt=style, color=color, capsize=3, label=label)
    ax.set(xscale="log", yscale="log", xlabel=f"draws S, at equal {options.equal}", title=name)
    ax.set_xticks(options.n_draws, [str(S) for S in options.n_draws])
    ax.set_xticks([], minor=True)
    ax.margins(y=0.25)
    ax.legend(fontsize=8)


def draw(options, fits):
    """Save the picture: a row for each set; epochs, passes, draws."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    sets = options.sets
    fig, axes = plt.subplots(
        len(sets), 3, figsize=(11, 3.3 * len(sets)), squeeze=False, layout="constrained"
    )
    for name, (epochs, passes, study) in zip(sets, axes):
        draw_curves(epochs, name, "epoch", fits)
        draw_curves(passes, name, "n_passes", fits)
        draw_study(study, name, fits, options)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    fig.savefig(options.figure, dpi=80, pil_kwargs={"optimize": True})


def speed_table(sets, fits):
    """Markdown table: passes until the loss is the last of REINFORCE, seconds of training."""
    heads = [f"{name}, {what}" for name in sets for what in ("passes", "seconds")]
    lines = [f"| passes to the last loss of REINFORCE, seconds of training | {' | '.join(heads)} |"]
    lines.append("|---|" + "---:|" * len(heads))
    for label, gradient, _, _ in CURVES:
        cells = []
        for name in sets:
            runs = fits[name, repr(gradient)], fits[name, repr(Reinforce(4))]
            passes = [passes_until(ours, final_loss(base)) for (ours, _), (base, _) in zip(*runs)]
            cells.append("-" if None in passes else f"{np.mean(passes):,.0f}")
            cells.append(f"{np.median([ours.history_['seconds'][-1] for ours, _ in runs[0]]):.0f}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def passes_until(binarizer, loss):
    """Return the passes made when a recorded loss is first as low as ``loss``, or None."""
    history = binarizer.history_
    reached = (n for n, value in zip(history["n_passes"], history["loss"]) if value <= loss)
    return next(reached, None)


def main(argv=None):
    """Print the tables, and save the picture if asked."""
    options = parse(argv)
    fits = fit_all(options)
    if not options.only_draws:
        rows = [(label, gradient) for label, gradient, _, _ in CURVES]
        print(table("gradient", rows, options.sets, fits), end="\n\n")
        print(speed_table(options.sets, fits), end="\n\n")
    rows = [(f"{S}{' (reinforce)' * (S == 1)}", by_draws(S)) for S in options.n_draws]
    print(table("S", rows, options.sets, fits))
    if options.figure:
        draw(options, fits)


def parse(argv):
    parser = make_parser(__doc__, SETS)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default: 5)")
    parser.add_argument("--objective", default="end_to_end", choices=("end_to_end", "isolated"))
    parser.add_argument("--equal", default="passes", choices=("passes", "steps"))
    parser.add_argument("--only-draws", action="store_true", help="only the study of S")
    parser.add_argument("--budget", type=int, default=BUDGET, help="default: %(default)s")
    parser.add_argument("--cache", default=None, help="folder that keeps the fits (default: none)")
    parser.add_argument("--figure", default=None, help="picture to save (default: none)")
    parser.add_argument("--quick", action="store_true", help="few steps and seeds: does it run?")
    options = resolve(parser, argv)
    options.n_draws = N_DRAWS[options.objective == "isolated" :]
    options.budget = QUICK_BUDGET if options.quick else options.budget
    options.seeds = min(options.seeds, QUICK_SEEDS) if options.quick else options.seeds
    if options.only_draws and options.figure:
        parser.error("--figure draws the curves that --only-draws leaves out")
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: standard deviations are printed")
    return options


if __name__ == "__main__":
    main()
