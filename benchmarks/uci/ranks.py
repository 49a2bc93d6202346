"""Ranks of methods over data sets, and the figure that shows them."""

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import rankdata, studentized_range


def mean_ranks(errors):
    """Return each method's rank averaged over sets; 1 is best, ties share their ranks.

    Parameters
    ----------
    errors : ndarray of shape (n_sets, n_methods)

    Returns
    -------
    ranks : ndarray of shape (n_methods,)
    """
    return rankdata(errors, axis=1).mean(axis=0)


def critical_difference(n_methods, n_sets, level=0.05):
    """Difference of mean ranks beyond which two methods differ, by the test of Nemenyi.

    Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
    """
    quantile = studentized_range.ppf(1 - level, n_methods, np.inf) / np.sqrt(2)
    return quantile * np.sqrt(n_methods * (n_methods + 1) / (6 * n_sets))


def draw_ranks(labels, errors):
    """Draw mean ranks as dots, the rank on each set as ticks, and the critical difference.

    Parameters
    ----------
    labels : list of str
        Of the methods.
    errors : ndarray of shape (n_sets, n_methods)

    Returns
    -------
    figure : matplotlib Figure
    """
    ranks, order = rankdata(errors, axis=1), np.argsort(mean_ranks(errors))
    figure = Figure(figsize=(7, 1.2 + 0.32 * len(labels)), layout="constrained")
    ax = figure.subplots()
    for row, method in enumerate(order):
        mean = ranks[:, method].mean()
        rng = np.linspace(-0.22, 0.22, len(ranks))
        ax.plot(ranks[:, method], row + rng, "|", color="#7d9cc0", markersize=7)
        ax.plot(mean, row, "o", color="#3b6ea5")
        ax.annotate(
            f"{mean:.2f}",
            (mean, row),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    best = ranks[:, order[0]].mean()
    difference = critical_difference(len(labels), len(errors))
    ax.axvspan(best, best + difference, color="#3b6ea5", alpha=0.08, lw=0)
    ax.set_yticks(range(len(labels)), [labels[i] for i in order])
    ax.invert_yaxis()
    ax.set_xlabel(
        f"rank over {len(errors)} sets: dots are means, ticks are sets\n"
        "shaded: within the critical difference of the first"
    )
    ax.xaxis.label.set_size("small")
    ax.spines[["top", "right"]].set_visible(False)
    return figure
