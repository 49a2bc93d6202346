"""Peak memory of training a SupervisedBinarizer, beyond the data, against the number of rows.

Every size runs in a process of its own. Prints a Markdown table.

    python benchmarks/encoder_memory.py --rows 100000 1000000 --columns 30
"""

import argparse
import subprocess
import sys
import time

import numpy as np
from machine import peak_megabytes

from skopu import SupervisedBinarizer

LITTLE = {"n_bits": 32, "n_components": 256, "max_iter": 40, "random_state": 0}


def one(n_rows, n_columns, scaler):
    """Print the peak beyond the data of one fit, the size of the data and processor time."""
    rng = np.random.default_rng(0)
    # A first fit loads the libraries.
    SupervisedBinarizer(**LITTLE).fit(rng.standard_normal((200, 3)), rng.standard_normal(200))
    X = np.empty((n_rows, n_columns), dtype=np.float32)
    for start in range(0, n_rows, 10_000):
        rng.standard_normal(out=X[start : start + 10_000], dtype=np.float32)
    y = np.tanh(X[:, 0]) * X[:, 1]
    before, start = peak_megabytes(), time.process_time()
    SupervisedBinarizer(**LITTLE, scaler=scaler).fit(X, y)
    spent = time.process_time() - start
    data = (X.nbytes + y.nbytes) / 2**20
    print(f"{peak_megabytes() - before:.1f} {data:.3f} {spent:.1f}")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--scaler", choices=("standard", "quantile"), default="standard")
    parser.add_argument("--one", action="store_true", help="run one size in this process")
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.rows[0], arguments.columns, arguments.scaler)
        return
    print(
        "| rows | MB beyond the data | data, MB | ratio | seconds, 40 minibatches |\n"
        + "|---" * 5
        + "|"
    )
    for n_rows in arguments.rows:
        command = [sys.executable, __file__, "--one", "--rows", str(n_rows)]
        command += ["--columns", str(arguments.columns), "--scaler", arguments.scaler]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        beyond, data, spent = map(float, done.stdout.split())
        print(
            f"| {n_rows} | {beyond:.0f} | {data:.0f} | {beyond / data:.1f} | {spent} |", flush=True
        )


if __name__ == "__main__":
    main()
