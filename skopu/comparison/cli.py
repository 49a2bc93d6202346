"""The command line: ``python -m skopu``."""

import json
import sys
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict

from joblib import effective_n_jobs
from tqdm import tqdm

from skopu._version import __version__
from skopu.comparison.csv_files import read_csv_problem
from skopu.comparison.figure import check_figure_path, draw
from skopu.comparison.methods import Settings
from skopu.comparison.options import DEFAULT_DATASETS, DEFAULT_FIGURE, make_parser
from skopu.comparison.problems import InputError, check_splittable, load_bundled, subsample
from skopu.comparison.report import as_dict, remarks, summarise, text_table
from skopu.comparison.runner import run

_BAR = "{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} fits [{elapsed} < {remaining}]{postfix}"
_INTERRUPTED = "interrupted"


def main(argv=None):
    """Run the comparison and print its result.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None: those of the command line.

    Returns
    -------
    status : int
        0: done; 1: no fit succeeded; 2: the input is not usable; 130: interrupted.
    """
    options = make_parser().parse_args(argv)
    try:
        # Everything that can be wrong with the input is found before the first fit.
        figure_path = _resolve_figure(options)
        problems = _load(options)
    except InputError as error:
        _say(f"skopu: error: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    for problem in problems:
        for note in problem.notes:
            _say(f"{problem.name}: {note}")
    records, stop = _collect(options, problems)
    summaries = summarise(problems, options.methods, records, options.n_splits)
    if stop or not any(summary.errors for summary in summaries):
        figure_path = None
    figure_path = _save_figure(options, problems, summaries, figure_path)
    if options.json:
        _print_json(options, problems, records, summaries, stop, figure_path)
    elif summaries:
        _print_table(options, problems, summaries, figure_path)
    if stop:
        n_fits = len(problems) * len(options.methods) * options.n_splits
        _say(f"skopu: {stop}; {len(records)} of {n_fits} fits were finished and are reported.")
    return _status(summaries, stop)


def _save_figure(options, problems, summaries, path):
    """Return the path if a figure was saved there."""
    if path is None:
        return None
    try:
        draw(problems, options.methods, summaries).savefig(path, dpi=150)
    except OSError as error:
        # The table is still to come and must not be lost.
        _say(f"skopu: the figure was not saved: {error}")
        return None
    return path


def _status(summaries, stop):
    if stop:
        return 130 if stop == _INTERRUPTED else 1
    return 0 if any(summary.errors or summary.left_out for summary in summaries) else 1


def _say(message):
    print(message, file=sys.stderr)


def _load(options):
    """Problems of the command line, checked."""
    if options.csv is None:
        if options.target is not None or options.task != "auto":
            raise InputError("--target and --task belong to a CSV file: name the file first.")
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
        raise InputError(_how_to_install("CSV files", error)) from None


def _how_to_install(what, error):
    return f'{what} need {error.name.split(".")[0]}: pip install "skopu[plot]"'


def _resolve_figure(options):
    """Where to save the figure; None for nowhere."""
    if options.no_figure:
        return None
    try:
        check_figure_path(options.figure or DEFAULT_FIGURE)
    except ModuleNotFoundError as error:
        message = _how_to_install("figures", error)
        if options.figure:
            raise InputError(message) from None
        _say(f"skopu: no figure will be saved; {message}")
        return None
    return options.figure or DEFAULT_FIGURE


def _collect(options, problems):
    """Return the records, and why not all are there (None if they are)."""
    settings = _settings(options)
    seeds = range(options.seed, options.seed + options.n_splits)
    records, stop = [], None
    total = len(problems) * len(options.methods) * options.n_splits
    bar = tqdm(total=total, bar_format=_BAR, disable=options.quiet, file=sys.stderr)
    runs = run(
        problems,
        options.methods,
        settings,
        seeds,
        test_size=options.test_size,
        n_jobs=options.n_jobs,
    )
    with bar:
        try:
            for record in runs:
                records.append(record)
                bar.set_postfix_str(_progress(options, problems, records), refresh=False)
                bar.update()
        except KeyboardInterrupt:
            stop = _INTERRUPTED
        except BrokenProcessPool:
            stop = "a worker process died (out of memory? try --n-jobs 1 or --max-rows)"
    return records, stop


def _progress(options, problems, records):
    """Methods done, and what ended last."""
    ended = Counter((record.problem, record.method) for record in records)
    n_done = sum(count == options.n_splits for count in ended.values())
    last = f"{options.methods[records[-1].method].label} on {records[-1].problem}"
    return f"{n_done}/{len(problems) * len(options.methods)} methods done, last fit: {last}"


def _settings(options):
    return Settings(options.n_bits, options.n_components, options.max_iter)


def _show(text):
    # A terminal that has no "±" shows "?" instead of an exception.
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def _print_table(options, problems, summaries, figure_path):
    _show(f"{text_table(summaries)}\n")
    spread = f"mean ± sd over {options.n_splits} splits" if options.n_splits > 1 else "one split"
    _show(
        f"Test error: {spread}, {options.test_size:.0%} of the rows held out; * lowest of the set."
    )
    for problem in problems:
        unit = " (1 = predicting the mean)" * (not problem.is_classification)
        _show(f"  {problem.name}: {problem.error_name}{unit}")
    n_jobs = effective_n_jobs(options.n_jobs)
    _show(f"Fit s: mean over splits, with {n_jobs} fit(s) at a time on this computer.")
    _show("Device passes: codes sent through the simulated device during fit.")
    for remark in remarks(summaries):
        _show(f"Note: {remark}")
    if figure_path:
        _show(f"Figure: {figure_path}")


def _print_json(options, problems, records, summaries, stop, figure_path):
    report = {
        "skopu_version": __version__,
        "settings": asdict(_settings(options)),
        "seeds": list(range(options.seed, options.seed + options.n_splits)),
        "test_size": options.test_size,
        "n_jobs": effective_n_jobs(options.n_jobs),
        "stopped": stop,
        "figure": figure_path,
        "problems": as_dict(problems, summaries, records),
    }
    print(json.dumps(report, indent=2, allow_nan=False))
