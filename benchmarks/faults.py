"""The fault laboratory at length: random faults of every kind, and a table of what they did.

    python benchmarks/faults.py --minutes 30 --seed 1

The kinds are the batteries of ``tests/batteries.py``; each gets the same share of the time. A try
is one injected fault. A failure is named with the seed that repeats it.

    python benchmarks/faults.py --signals 500 --results signals.jsonl

sends as many real signals of Ctrl-C into fits of every estimator, at random times, and prints a
table; the file lets it go on where it was cut.
"""

import argparse
import json
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from batteries import BATTERIES
from signal_battery import SIGNALLED, Signals


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="only those whose name contains this")
    parser.add_argument("--signals", type=int, default=0, help="for each estimator")
    parser.add_argument("--results", type=Path, help="file of a record for each estimator")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.signals:
        return send_signals(arguments)
    kinds = [kind for kind in BATTERIES if arguments.kinds in kind]
    print("| kind | tries | failures | seconds |\n|---|---|---|---|")
    total, failures = 0, []
    for kind in kinds:
        start = time.perf_counter()
        n_tries, failed = run(kind, arguments.seed, start + 60 * arguments.minutes / len(kinds))
        total, failures = total + n_tries, failures + failed
        seconds = time.perf_counter() - start
        print(f"| {kind} | {n_tries} | {len(failed)} | {seconds:.0f} |", flush=True)
    print(f"| all | {total} | {len(failures)} | |\n")
    print("\n\n".join(failures))
    return 1 if failures else 0


def send_signals(arguments):
    """Print a row for each estimator: what became of the model that a signal came into."""
    path, done = arguments.results, {}
    if path is not None and path.exists():
        records = [json.loads(line) for line in path.read_text().splitlines()]
        done = {record["estimator"]: record for record in records}
    n_failed = 0
    print("| estimator | signals | as it was | cut short | whole | failures | seconds |")
    print("|---|---|---|---|---|---|---|")
    for number, name in enumerate(name for name in SIGNALLED if arguments.kinds in name):
        if name not in done:
            done[name] = signals_into(name, arguments.signals, [arguments.seed, number])
            if path is not None:
                with path.open("a") as file:
                    print(json.dumps(done[name]), file=file)
        print("| " + " | ".join(map(str, done[name].values())) + " |", flush=True)
        n_failed += done[name]["failures"]
    return 1 if n_failed else 0


def signals_into(name, n, seed):
    """Return the record of ``n`` signals, and print what failed."""
    start, rng, fits = time.perf_counter(), np.random.default_rng(seed), Signals(name)
    failures = 0
    while fits.n < n and failures < 20:
        try:
            fits.one_fit(rng)
        except Exception:
            failures += 1
            print(f"{name}, signal {fits.n}:\n{traceback.format_exc()}", file=sys.stderr)
    seconds = round(time.perf_counter() - start)
    counts = {"estimator": name, "signals": fits.n, **fits.counts}
    return {**counts, "failures": failures, "seconds": seconds}


def run(kind, seed, until):
    """Run a battery until a time; return how often it tried, and what failed."""
    n_tries, failed = 0, []
    number = 0
    while time.perf_counter() < until or not number:
        try:
            n_tries += BATTERIES[kind](np.random.default_rng([seed, number]))
        except Exception:
            n_tries += 1
            failed.append(f"{kind}, default_rng([{seed}, {number}]):\n{traceback.format_exc()}")
        number += 1
    return n_tries, failed


if __name__ == "__main__":
    sys.exit(main())
