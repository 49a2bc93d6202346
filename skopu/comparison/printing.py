"""What a comparison prints: rows as they are done, the table, JSON."""

import json
import os
import sys
from dataclasses import asdict

from joblib import effective_n_jobs

from skopu._version import __version__
from skopu.comparison.report import as_dict, by_error, error_cell, remarks, text_table


def say(message):
    """Print a line that is no result."""
    print(message, file=sys.stderr)


def show(text):
    """Print a result; a terminal that has no "±" shows "?" instead of an exception.

    Where standard output takes no more, as a full disk does, this and all that follows goes to
    the error output: fits may have taken hours.
    """
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "replace").decode(encoding)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"skopu: standard output takes nothing more ({error.strerror}): the rest goes here.")
        let_go_of_output()
        sys.stdout = sys.stderr
        show(text)


def let_go_of_output():
    """Send what standard output still holds nowhere; Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress_row(summary, widths):
    """Return one row of the table that is to come, as soon as its splits are done.

    Parameters
    ----------
    summary : Summary
        A method on a problem.
    widths : tuple of int
        Of the columns of problems and methods.

    Returns
    -------
    row : str
    """
    seconds = "" if summary.fit_seconds is None else f"{summary.fit_seconds:8.2f} s"
    problem, method = summary.problem.ljust(widths[0]), summary.label.ljust(widths[1])
    return f"{problem}  {method}  {error_cell(summary):<20}{seconds}".rstrip()


def print_table(options, settings, problems, summaries):
    """Print the table, ordered by error, and what its columns mean."""
    show(f"{text_table(by_error(summaries))}\n")
    spread = f"mean ± sd over {options.n_splits} splits" if options.n_splits > 1 else "one split"
    show(
        f"Test error: {spread}, {options.test_size:.0%} of the rows held out; * lowest of the set."
    )
    for problem in problems:
        unit = " (1 = predicting the mean)" * (not problem.is_classification)
        show(f"  {problem.name}: {problem.error_name}{unit}")
    n_jobs = effective_n_jobs(options.n_jobs)
    show(f"Fit s: mean over splits, with {n_jobs} fit(s) at a time on this computer.")
    show("Device passes: codes sent through the simulated device during fit.")
    if settings.max_iter != "auto":
        show(f"Training: {settings.max_iter} minibatches (--max-iter auto: each method's own).")
    for remark in remarks(summaries):
        show(f"Note: {remark}")


def print_json(options, settings, problems, records, summaries, stop, figure_path):
    """Print everything as one JSON object."""
    report = {
        "skopu_version": __version__,
        "settings": asdict(settings),
        "seeds": list(range(options.seed, options.seed + options.n_splits)),
        "test_size": options.test_size,
        "n_jobs": effective_n_jobs(options.n_jobs),
        "stopped": stop,
        "figure": figure_path,
        "problems": as_dict(problems, summaries, records),
    }
    print(json.dumps(report, indent=2, allow_nan=False), flush=True)
