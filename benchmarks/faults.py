"""The fault laboratory at length: random faults of every kind, and a table of what they did.

    python benchmarks/faults.py --minutes 30 --seed 1

The kinds are the batteries of ``tests/batteries.py``; each gets the same share of the time. A try
is one injected fault. A failure is named with the seed that repeats it.
"""

import argparse
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from batteries import BATTERIES


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="only those whose name contains this")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
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
