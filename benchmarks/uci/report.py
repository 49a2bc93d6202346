"""Tables and figures of a run of the comparison; see ``run.py``.

python benchmarks/uci/report.py uci.jsonl --figures folder
"""

import sys
from pathlib import Path

import numpy as np
from methods import BINARIZATIONS, METHODS, PEERS, SUPERVISED
from ranks import draw_ranks, mean_ranks
from run import load_all, make_parser, read_records, resolve

from skopu.comparison.figure import draw
from skopu.comparison.report import format_error, remarks, summarise


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--figures", help="folder to save Figure 1 and the ranks in")
    parser.add_argument("--rst", help="file to write the tables to, for the documentation")
    options = resolve(parser, argv)
    sets, seeds = options.sets, options.seeds
    records = [r for r in read_records(options) if r.problem in sets and r.split in seeds]
    present = {record.method for record in records if record.error is not None}
    methods = {n: METHODS[n] for n in METHODS if n in present and n in options.methods}
    problems = load_all(options)
    summaries = summarise(problems, methods, records, len(options.seeds))
    tables = list(_tables(problems, methods, summaries))
    claims = list(_claims(options.sets, summaries))
    print(*map(markdown, tables), "\n".join(claims), sep="\n\n")
    print(*(f"Note: {remark}" for remark in remarks(summaries)), sep="\n", file=sys.stderr)
    if options.rst:
        blocks = [rst(*table) for table in tables] + ["\n".join(f"- {line}" for line in claims)]
        Path(options.rst).write_text("\n\n".join(blocks) + "\n")
    if options.figures:
        _save(Path(options.figures), problems, methods, summaries)


def _tables(problems, methods, summaries):
    """Yield tables as (title, rows), the first row being the header."""
    sets = [problem.name for problem in problems]
    for title, is_classification in (("Regression", False), ("Classification", True)):
        names = [p.name for p in problems if p.is_classification == is_classification]
        if names:
            yield title, list(_error_rows(names, methods, summaries))
    ranked = [("Ranks of binarizations", BINARIZATIONS), ("Ranks of machines", PEERS)]
    if len(_complete(sets, PEERS, methods, summaries)) < len(sets):
        without = [name for name in PEERS if name != "gp"]
        ranked.append(("Ranks of machines without the Gaussian process", without))
    for title, names in ranked:
        rows = _rank_rows([n for n in names if n in methods], methods, sets, summaries)
        if rows:
            yield title, rows


def markdown(table):
    """Write a table in Markdown."""
    title, (header, *rows) = table
    lines = [f"**{title}**", "", _line(header), "|---" * len(header) + "|", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells):
    return f"| {' | '.join(cells)} |"


def rst(title, rows):
    """Write a table in reStructuredText."""
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in rows:
        cells = (r"\-" if cell == "-" else cell for cell in row)
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(cells)]
    return "\n".join(lines)


def means(names, methods, summaries):
    """Return mean errors, shape (sets, methods); NaN where some seed is missing."""
    complete = [s for s in summaries if s.mean is not None and not s.n_missing]
    found = {(s.problem, s.method): s.mean for s in complete}
    return np.array([[found.get((n, m), np.nan) for m in methods] for n in names])


def _error_rows(names, methods, summaries):
    """Rows of errors: one for each method, a column for each set."""
    cells = {(s.problem, s.method): s for s in summaries}
    yield ["method", *names]
    for name, method in methods.items():
        yield [method.label, *(_cell(cells.get((problem, name))) for problem in names)]


def _cell(summary):
    if summary is None or summary.mean is None:
        return "-"
    text = format_error(summary.mean, summary.sd)
    if summary.n_missing:
        return f"{text} ({len(summary.errors)})"
    return f"**{text}**" if summary.best else text


def _complete(sets, names, methods, summaries):
    """Return the sets that all of the methods finished, of those that take part."""
    errors = means(sets, [name for name in names if name in methods], summaries)
    return [name for name, row in zip(sets, errors) if np.isfinite(row).all()]


def _rank_rows(names, methods, sets, summaries):
    """Rows of mean ranks over the sets that all of the methods finished."""
    errors = means(sets, names, summaries)
    complete = np.isfinite(errors).all(axis=1)
    if len(names) < 2 or not complete.any():
        return []
    ranks = mean_ranks(errors[complete])
    ordered = [[methods[names[i]].label, f"{ranks[i]:.2f}"] for i in np.argsort(ranks)]
    return [["method", f"mean rank over {complete.sum()} sets"], *ordered]


def _claims(sets, summaries):
    """Yield sentences: who beats whom, where and by how much."""
    found = {(s.problem, s.method): s.mean for s in summaries if s.mean is not None}
    others = [name for name in BINARIZATIONS if name not in SUPERVISED]
    for name in SUPERVISED:
        lost = []
        for problem in sets:
            rivals = [found[problem, o] for o in others if (problem, o) in found]
            if rivals and (problem, name) in found and found[problem, name] >= min(rivals):
                times = _over(found[problem, name], min(rivals))
                lost.append(f"{problem} ({times:.3f} times the best)")
        where = ", ".join(lost) or "no set"
        yield f"{METHODS[name].label} against other binarizations: loses on {where}."
    for rival in ("kernel-ridge", "kernel-ridge-average", "gp"):
        ratios = {
            problem: _over(found[problem, "cross-fitted"], found[problem, rival])
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


def _over(error, other):
    """Return the ratio of two errors, of which the second may be none at all."""
    if other == 0:
        return 1.0 if error == 0 else np.inf
    return error / other


def _save(folder, problems, methods, summaries):
    folder.mkdir(exist_ok=True)
    draw(problems, methods, summaries).savefig(folder / "comparison.png", dpi=80)
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
