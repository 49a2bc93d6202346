"""The working tree against another revision: seconds, memory and errors, interleaved.

Every piece of work of ``work.py`` is done by both trees in turn, each time in a process of its own
on the same rows with the same threads, after a warm-up on a few rows; the order changes from one
repeat to the next. A repeat has its own split and seed. Printed are medians over repeats of the
seconds of the processor (all threads) and of the clock and of the peak of memory, mean test errors
(mean squared error of the standardised target, or error rate), and what the revision needs divided
by what the working tree needs: above 1, the working tree is better.

    SKOPU_DATA=folder python benchmarks/revisions.py 5c78cc4
    SKOPU_DATA=folder python benchmarks/revisions.py 5c78cc4 --only Cross-fitted exact --limit 900
    python benchmarks/revisions.py HEAD --quick --only diabetes

Every measurement is appended to a file as it ends, and a run that was cut goes on where it was.
Measure with nothing else running: a busy neighbour costs both trees, but not alike.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from protocol import load_problem, read_entries
from trees import copy_here, extract
from work import WORK

from skopu.comparison.runner import split_problem

QUICK_ROWS = 300
AVERAGES = {"cpu": np.median, "wall": np.median, "peak": np.median, "error": np.mean}
HEADER = (
    "work",
    "CPU s before",
    "after",
    "ratio",
    "wall ratio",
    "peak MB before",
    "after",
    "error before",
    "after",
    "ratio",
)


def main(argv=None):
    options = make_parser().parse_args(argv)
    names = chosen(options)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        trees = [extract(options.revision, folder / "before"), copy_here(folder / "after")]
        store = Store(options.results, options, trees)
        print(f"| {' | '.join(HEADER)} |\n|---|{'---:|' * (len(HEADER) - 1)}", flush=True)
        for name in names:
            pairs = list(measured(name, trees, store, options, folder))
            print(f"| {' | '.join(row(name, pairs))} |", flush=True)
        print(f"\n{summary(names, store, options)}")


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="of git, for example 5c78cc4")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PART", help="work whose name holds one of these"
    )
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--limit", type=float, default=900, help="seconds a process may take")
    parser.add_argument("--long", action="store_true", help="also what takes many minutes")
    parser.add_argument("--quick", action="store_true", help="few rows and steps, one repeat")
    parser.add_argument("--results", default="revisions.jsonl", help="default: %(default)s")
    data = os.environ.get("SKOPU_DATA")
    parser.add_argument("--data", default=data, help="folder of .npz files (default: $SKOPU_DATA)")
    parser.add_argument("--list", action="version", version="\n".join(WORK), help="names of work")
    return parser


def chosen(options):
    """Return the names of the work to do."""
    if options.quick:
        options.repeats = 1
    named = [name for name in WORK if any(part in name for part in options.only)]
    if options.only and not named:
        raise SystemExit(f"--only names no work; there is: {'; '.join(WORK)}")
    every = [name for name, work in WORK.items() if options.long or not work.is_long]
    return named or every


class Store:
    """Measurements in a file, by name of the work, seed and place (0 before, 1 after)."""

    def __init__(self, path, options, trees):
        self.path = Path(path)
        contents = [tree.content for tree in trees]
        self._key = {"threads": options.threads, "quick": options.quick, "contents": contents}
        self.found = {}
        for entry in read_entries(self.path):
            if all(entry.get(key) == value for key, value in self._key.items()):
                self.found[entry["work"], entry["seed"], entry["place"]] = entry

    def add(self, name, seed, place, entry):
        """Keep a measurement, here and in the file."""
        entry = {"work": name, "seed": seed, "place": place, **self._key, **entry}
        self.found[name, seed, place] = entry
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def measured(name, trees, store, options, folder):
    """Yield a pair of measurements for each repeat: of the revision, and of the working tree."""
    for seed in range(options.repeats):
        pair = [store.found.get((name, seed, place)) for place in (0, 1)]
        if None in pair:  # half a pair is no pair: the machine may have changed since
            arrays = write_arrays(name, seed, options, folder)
            for place in (0, 1) if seed % 2 == 0 else (1, 0):
                print(f"{name}: seed {seed}, {trees[place].label}", file=sys.stderr, flush=True)
                last = store.found.get((name, seed - 1, place), {})
                found = (
                    last if "failure" in last else run(name, trees[place], arrays, seed, options)
                )
                store.add(name, seed, place, found)
            pair = [store.found[name, seed, place] for place in (0, 1)]
        yield pair


def write_arrays(name, seed, options, folder):
    """Write the rows of a split, the same for both trees, and return the file."""
    data, _, n_rows = WORK[name].data.partition(":")
    path = folder / f"{data.replace('/', '_')}-{n_rows}-{seed}.npz"
    if not path.exists():
        problem = load_problem(options.data, data, QUICK_ROWS if options.quick else n_rows)
        np.savez(path, **split_problem(problem, seed)._asdict())
    return path


def run(name, tree, arrays, seed, options):
    """Do a piece of work in a process of its own; return what it measured, or why it did not."""
    command = [sys.executable, str(Path(__file__).parent / "work.py"), name, str(arrays)]
    command += ["--seed", str(seed), "--threads", str(options.threads)]
    command += ["--quick"] if options.quick else []
    threads = {f"{library}_NUM_THREADS": str(options.threads) for library in ("OMP", "MKL")}
    environment = {**os.environ, **threads, "PYTHONPATH": str(tree.folder)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=options.limit
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"> {options.limit:g} s", "limit": options.limit}
    if done.returncode:
        return {"failure": done.stderr.strip().rpartition("\n")[2][:60] or "failed"}
    found = json.loads(done.stdout.splitlines()[-1])
    if found.pop("tree") != str(tree.folder):
        raise RuntimeError(f"another skopu than that of {tree.folder} was imported")
    return found


def row(name, pairs):
    """Return the cells of a piece of work."""
    before, after = zip(*pairs)
    cells = {key: (typical(key, before), typical(key, after)) for key in AVERAGES}
    failed = [
        next((e["failure"] for e in side if "failure" in e), None) for side in (before, after)
    ]
    seconds = [text or number(value, ".3g") for text, value in zip(failed, cells["cpu"])]
    ratios = [number(ratio(cells[key]), ".2f") for key in ("cpu", "wall")]
    peaks = [number(value, ".0f") for value in cells["peak"]]
    errors = [number(value, ".3g") for value in cells["error"]]
    return [name, *seconds, *ratios, *peaks, *errors, number(ratio(cells["error"]), ".3f")]


def typical(key, entries):
    """Median or mean over repeats; None if one of them lacks it."""
    values = [entry.get(key) for entry in entries]
    return None if None in values else float(AVERAGES[key](values))


def ratio(pair):
    """Before divided by after; None where one of them is missing or zero."""
    return pair[0] / pair[1] if all(pair) else None


def number(value, form):
    """Return a cell: a number, or a dash."""
    return "-" if value is None else format(value, form)


def summary(names, store, options):
    """Return sentences: geometric means, the machine and the versions."""
    kept = [(name, seed) for name in names for seed in range(options.repeats)]
    pairs = [(store.found[*job, 0], store.found[*job, 1]) for job in kept]
    lines = []
    for key, label in (("cpu", "CPU seconds"), ("error", "errors")):
        ratios = [ratio([entry.get(key) for entry in pair]) for pair in pairs]
        logs = np.log([value for value in ratios if value])
        if len(logs):
            mean = f"{np.exp(logs.mean()):.3f} ({len(logs)} pairs)"
            lines.append(f"Geometric mean of the ratios of {label}: {mean}.")
    machine = next((e["machine"] for pair in pairs for e in pair if "machine" in e), {})
    facts = "; ".join(f"{key} {value}" for key, value in machine.items())
    return "\n".join([*lines, f"Threads {options.threads}; {facts}"])


if __name__ == "__main__":
    main()
