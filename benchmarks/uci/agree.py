"""Whether two runs of the comparison agree, fit by fit.

A run takes many hours, and the code that it measured moves on. Some of its fits made anew, by the
code of today, tell whether its tables still stand: on the same kind of processor the same code
ends at the same errors, to the last digit.

    SKOPU_DATA=folder python benchmarks/uci/run.py anew.jsonl --seeds 0
    python benchmarks/uci/agree.py benchmarks/uci/fits.jsonl anew.jsonl

Printed are, for each method, the fits that both have, how many of them have the same error, and
the smallest and the largest ratio of the others, the second file's errors over the first's. A fit
that failed in one of them only is not the same.
"""

import argparse
import math

from methods import METHODS
from results import Results
from run import settings_of

from skopu.comparison.problems import MAX_ROWS


def main(argv=None):
    """Print a Markdown table; the exit status is 1 if any error differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", help="file of fits")
    parser.add_argument("second", help="file of fits")
    parser.add_argument("--n-candidates", type=int, default=0, help="of the random search")
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS, help="0: all")
    parser.add_argument("--quick", action="store_true", help="short training, as in the run")
    options = parser.parse_args(argv)
    settings = settings_of(options)
    first, second = (
        errors(Results(path, settings, options.max_rows).read())
        for path in (options.first, options.second)
    )
    pairs = {key: (first[key], second[key]) for key in first.keys() & second.keys()}
    print("| method | fits in both | the same | ratio of the others |\n|---|---:|---:|---|")
    for name in METHODS:
        mine = [pair for (_, method, _), pair in sorted(pairs.items()) if method == name]
        if mine:
            print(f"| {METHODS[name].label} | {len(mine)} | {n_same(mine)} | {ratios(mine)} |")
    n = n_same(pairs.values())
    print(f"\n{n} of {len(pairs)} fits are the same; {len(first)} and {len(second)} fits read.")
    return int(n < len(pairs))


def errors(records):
    """Return the errors of fits that were tried, None of those that failed, by their names."""
    return {(r.problem, r.method, r.split): r.error for r in records if r.left_out is None}


def n_same(pairs):
    """Return how many of the pairs are two equal errors."""
    return sum(a == b for a, b in pairs)


def ratios(pairs):
    """Return the range of second over first error, of the pairs that differ; and failures."""
    others = [pair for pair in pairs if pair[0] != pair[1]]
    found = sorted(b / a if a else math.inf for a, b in others if None not in (a, b))
    shown = [f"{found[0]:.3g} to {found[-1]:.3g}"] if found else []
    n_failed = len(others) - len(found)
    return ", ".join(shown + [f"{n_failed} failed in one"] * (n_failed > 0))


if __name__ == "__main__":
    raise SystemExit(main())
