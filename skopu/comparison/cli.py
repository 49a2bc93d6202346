"""The command line: ``python -m skopu``."""

import signal
import sys
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from tqdm import tqdm

from skopu.comparison.csv_files import read_csv_problem
from skopu.comparison.figure import check_figure_path, save_figure
from skopu.comparison.methods import Settings
from skopu.comparison.options import (
    BUNDLED_MAX_ITER,
    DEFAULT_DATASETS,
    DEFAULT_FIGURE,
    make_parser,
)
from skopu.comparison.printing import print_json, print_table, progress_row, say, show
from skopu.comparison.problems import InputError, check_splittable, load_bundled, subsample
from skopu.comparison.report import summarise
from skopu.comparison.runner import run
from skopu.comparison.stopping import stopped_like_ctrl_c

_BAR = "{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} fits [{elapsed} < {remaining}]{postfix}"


class Stop(NamedTuple):
    """Why not all fits were made, and the exit status that says so."""

    reason: str
    status: int


_INTERRUPTED = Stop("interrupted", 128 + signal.SIGINT)
_DIED = Stop("a worker process died (out of memory? try --n-jobs 1 or --max-rows)", 1)


def main(argv=None):
    """Run the comparison and print its result.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None: those of the command line.

    Returns
    -------
    status : int
        0: done; 1: no fit succeeded; 2: the input is not usable; 130: interrupted;
        143: terminated.
    """
    options = make_parser().parse_args(argv)
    try:
        # Everything that can be wrong with the input is found before the first fit.
        figure_path = _resolve_figure(options)
        problems = _load(options)
    except InputError as error:
        say(f"skopu: error: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    for problem in problems:
        for note in problem.notes:
            say(f"{problem.name}: {note}")
    records, stop = _collect(options, problems)
    summaries = summarise(problems, options.methods, records, options.n_splits)
    # What is not complete is not worth a picture.
    if stop or not any(summary.errors for summary in summaries):
        figure_path = None
    _report(options, problems, records, summaries, stop, figure_path)
    if stop:
        n_fits = len(problems) * len(options.methods) * options.n_splits
        say(
            f"skopu: {stop.reason}; {len(records)} of {n_fits} fits were finished and are reported."
        )
        return stop.status
    return 0 if any(summary.errors or summary.left_out for summary in summaries) else 1


def _report(options, problems, records, summaries, stop, path):
    """Print the result and save the figure, which cannot cost the result."""
    what = (path, problems, options.methods, summaries)
    if options.json:
        failure = save_figure(*what) if path else None
        saved = None if failure else path
        reason = stop and stop.reason
        print_json(options, _settings(options), problems, records, summaries, reason, saved)
    else:
        if summaries:
            print_table(options, _settings(options), problems, summaries)
        failure = save_figure(*what) if path else None
        if path and not failure:
            show(f"Figure: {path}")
    if failure:
        say(f"skopu: the figure was not saved: {failure}")


def _load(options):
    """Problems of the command line, checked."""
    if options.csv is None:
        if options.target is not None or options.task != "auto":
            raise InputError(
                "--target and --task belong to a CSV file: name the file first (- is standard "
                "input)."
            )
        problems = [load_bundled(name) for name in options.datasets or DEFAULT_DATASETS]
    elif options.datasets:
        raise InputError("a CSV file and --datasets exclude each other: give one of them.")
    elif options.target is None:
        raise InputError(f"--target is missing: which column of {options.csv} is to be predicted?")
    else:
        problems = [_load_csv(options)]
    problems = [subsample(problem, options.max_rows) for problem in problems]
    for problem in problems:
        check_splittable(problem, options.test_size)
    return problems


def _load_csv(options):
    try:
        return read_csv_problem(options.csv, options.target, options.task)
    except ModuleNotFoundError as error:
        raise InputError(how_to_install("CSV files", error)) from None
    except MemoryError:
        raise InputError(
            f"{options.csv} does not fit in memory: take a sample of its rows."
        ) from None


def how_to_install(what, error):
    """Return what to say of a library of the extra "plot" that is missing."""
    return f'{what} need {error.name.split(".")[0]}: pip install "skopu[plot]"'


def _resolve_figure(options):
    """Where to save the figure; None for nowhere."""
    if options.no_figure:
        return None
    try:
        check_figure_path(options.figure or DEFAULT_FIGURE)
    except ModuleNotFoundError as error:
        message = how_to_install("figures", error)
        if options.figure:
            raise InputError(message) from None
        say(f"skopu: no figure will be saved; {message}")
        return None
    return options.figure or DEFAULT_FIGURE


def _collect(options, problems):
    """Return the records, and why not all are there (None if they are)."""
    records, stop = [], None
    seeds = range(options.seed, options.seed + options.n_splits)
    runs = run(
        problems,
        options.methods,
        _settings(options),
        seeds,
        test_size=options.test_size,
        n_jobs=options.n_jobs,
    )
    total = len(problems) * len(options.methods) * options.n_splits
    with (
        stopped_like_ctrl_c() as signals,
        tqdm(total=total, bar_format=_BAR, disable=options.quiet, file=sys.stderr) as bar,
    ):
        try:
            for record in runs:
                records.append(record)
                _show_progress(options, problems, records, bar)
        except KeyboardInterrupt:
            stop = _by(signals) or _INTERRUPTED
        except BrokenProcessPool:
            # A signal to the whole group may end the workers first.
            stop = _by(signals) or _DIED
        finally:
            runs.close()
    return records, stop


def _by(signals):
    return Stop("terminated", 128 + signals[0]) if signals else None


def _show_progress(options, problems, records, bar):
    """Move the bar on, and print the row that the last record completes."""
    last = records[-1]
    ended = Counter((record.problem, record.method) for record in records)
    n_done = sum(count == options.n_splits for count in ended.values())
    label = options.methods[last.method].label
    n_rows = len(problems) * len(options.methods)
    bar.set_postfix_str(
        f"{n_done}/{n_rows} methods done, last fit: {label} on {last.problem}", refresh=False
    )
    bar.update()
    if ended[last.problem, last.method] == options.n_splits and not options.quiet:
        widths = [
            max(len(problem.name) for problem in problems),
            max(len(method.label) for method in options.methods.values()),
        ]
        problem = next(p for p in problems if p.name == last.problem)
        method = {last.method: options.methods[last.method]}
        (summary,) = summarise([problem], method, records, options.n_splits)
        bar.write(progress_row(summary, widths), file=sys.stderr)


def _settings(options):
    max_iter = options.max_iter or ("auto" if options.csv else BUNDLED_MAX_ITER)
    return Settings(options.n_bits, options.n_components, max_iter)
