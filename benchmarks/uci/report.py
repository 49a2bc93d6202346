"""Tables and figures of a run of the comparison; see ``run.py``.

python benchmarks/uci/report.py uci.jsonl --figures folder
"""

import sys
from pathlib import Path

import numpy as np
from methods import BINARIZATIONS, METHODS, PEERS, SUPERVISED
from ranks import draw_ranks, mean_ranks
from results import Results
from run import make_parser, resolve, settings_of
from sets import CLASSIFICATION_SETS, load_problem

from skopu.comparison.figure import draw
from skopu.comparison.report import format_error, remarks, summarise


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--figures", help="folder to save Figure 1 and the ranks in")
    options = resolve(parser, argv)
    records = Results(options.results, settings_of(options), options.max_rows).read()
    records = [r for r in records if r.problem in options.sets and r.split in options.seeds]
    present = {record.method for record in records}
    methods = {n: METHODS[n] for n in METHODS if n in present and n in options.methods}
    problems = [load_problem(options.data, name, options.max_rows) for name in options.sets]
    summaries = summarise(problems, methods, records, len(options.seeds))
    for kind in (False, True):
        names = [n for n in options.sets if (n in CLASSIFICATION_SETS) == kind]
        if names:
            print(_table(names, methods, summaries), end="\n\n")
    _print_ranks("binarizations", BINARIZATIONS, methods, options.sets, summaries)
    _print_ranks("machines", PEERS, methods, options.sets, summaries)
    print(*_claims(options.sets, summaries), sep="\n")
    print(*(f"Note: {remark}" for remark in remarks(summaries)), sep="\n", file=sys.stderr)
    if options.figures:
        _save(Path(options.figures), problems, methods, summaries)


def means(names, methods, summaries):
    """Return mean errors, shape (sets, methods); NaN where some seed is missing."""
    found = {
        (s.problem, s.method): s.mean for s in summaries if s.mean is not None and not s.n_missing
    }
    return np.array([[found.get((n, m), np.nan) for m in methods] for n in names])


def _table(names, methods, summaries):
    """Markdown table: a row for each method, a column for each set."""
    cells = {(s.problem, s.method): s for s in summaries}
    lines = ["| method | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for name, method in methods.items():
        row = [_cell(cells.get((problem, name))) for problem in names]
        lines.append(f"| {method.label} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _cell(summary):
    if summary is None or summary.mean is None:
        return "-"
    text = format_error(summary.mean, summary.sd)
    if summary.n_missing:
        return f"{text} ({len(summary.errors)})"
    return f"**{text}**" if summary.best else text


def _print_ranks(title, names, methods, sets, summaries):
    """Print mean ranks of some methods over the sets that all of them finished."""
    names = [name for name in names if name in methods]
    errors = means(sets, names, summaries)
    complete = np.isfinite(errors).all(axis=1)
    if len(names) < 2 or not complete.any():
        return
    ranks = mean_ranks(errors[complete])
    print(f"| {title}: mean rank over {complete.sum()} sets | |\n|---|---:|")
    for i in np.argsort(ranks):
        print(f"| {methods[names[i]].label} | {ranks[i]:.2f} |")
    print()


def _claims(sets, summaries):
    """Yield sentences: who beats whom, where and by how much."""
    found = {(s.problem, s.method): s.mean for s in summaries if s.mean is not None}
    others = [name for name in BINARIZATIONS if name not in SUPERVISED]
    for name in SUPERVISED:
        lost = []
        for problem in sets:
            rivals = [found[problem, o] for o in others if (problem, o) in found]
            if rivals and (problem, name) in found and found[problem, name] >= min(rivals):
                lost.append(f"{problem} ({found[problem, name] / min(rivals):.3f} times the best)")
        yield f"{METHODS[name].label} against other binarizations: loses on {lost or 'no set'}."
    for rival in ("kernel-ridge", "gp"):
        ratios = {
            problem: found[problem, "cross-fitted"] / found[problem, rival]
            for problem in sets
            if (problem, rival) in found and (problem, "cross-fitted") in found
        }
        if ratios:
            worst = max(ratios, key=ratios.get)
            yield (
                f"Cross-fitted / {METHODS[rival].label}: below 1 on "
                f"{sum(r < 1 for r in ratios.values())} of {len(ratios)} sets, at most "
                f"{ratios[worst]:.3f} ({worst})."
            )


def _save(folder, problems, methods, summaries):
    folder.mkdir(exist_ok=True)
    draw(problems, methods, summaries).savefig(folder / "comparison.png", dpi=110)
    sets = [problem.name for problem in problems]
    for title, names in (("binarizations", BINARIZATIONS), ("machines", PEERS)):
        names = [name for name in names if name in methods]
        errors = means(sets, names, summaries)
        complete = np.isfinite(errors).all(axis=1)
        if len(names) > 1 and complete.any():
            labels = [methods[name].label for name in names]
            figure = draw_ranks(labels, errors[complete])
            figure.savefig(folder / f"ranks_{title}.png", dpi=110)


if __name__ == "__main__":
    main()
