"""How many draws a prediction is averaged over: ten, eighty, or as many as their variance asks for.

End-to-End by REINFORCE with default settings but ``n_draws``; the encoders of a seed are the same.
Protocol: that of ``protocol.py``. Errors are mean +- sd over seeds; draws are those of the fits
with ``n_draws="auto"``, and passes a row takes at prediction. Processor time is that of ``fit``.

    SKOPU_DATA=folder python benchmarks/draws.py
"""

import sys
import time

import numpy as np
from joblib import Parallel, delayed
from protocol import add_runs, end_to_end, make_parser, mean_error, resolve, split
from tqdm import tqdm

from skopu.comparison.report import format_error

SETS = "boston,energy,yacht,airfoil,powerplant,naval,protein,eeg,mocap,miniboo,credit,german"
CHOICES = (10, 80, "auto")


def fit(folder, name, n_draws, seed):
    """Return error, draws and seconds of one fit."""
    X, X_test, y, y_test = split(folder, name, seed)
    model = end_to_end(y, None, n_draws=n_draws, random_state=seed)
    start = time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - start
    return mean_error(model.predict(X_test), y_test), len(model.thresholds_), seconds


def main():
    """Print a markdown table."""
    options = resolve(add_runs(make_parser(__doc__, SETS)))
    jobs = [(n, c, s) for n in options.sets for c in CHOICES for s in options.seeds]
    fits = Parallel(options.n_jobs, return_as="generator")(
        delayed(fit)(options.data, *job) for job in jobs
    )
    found = dict(zip(jobs, tqdm(fits, total=len(jobs), unit="fit", file=sys.stderr)))
    print('| set | 10 | 80 | "auto" | draws of "auto" | s with 10, 80, "auto" |')
    print("|---|---:|---:|---:|---:|---:|")
    ratios = []
    for name in options.sets:
        cells, means, times = [], [], []
        for choice in CHOICES:
            errors, draws, seconds = zip(*(found[name, choice, s] for s in options.seeds))
            spread = np.std(errors, ddof=1) if len(errors) > 1 else 0.0
            cells.append(format_error(np.mean(errors), spread))
            means.append(np.mean(errors))
            times.append(f"{np.mean(seconds):.1f}")
        ratios.append(np.divide(means[1:], means[0]))
        chosen = ", ".join(map(str, draws))  # of the last choice
        print(f"| {name} | {' | '.join(cells)} | {chosen} | {', '.join(times)} |")
    print("Geometric mean of the errors over those of 10: 80, auto:", end=" ")
    print(*(f"{ratio:.3f}" for ratio in np.exp(np.mean(np.log(ratios), axis=0))))


if __name__ == "__main__":
    main()
