"""Time of one row: models exported to ONNX, in onnxruntime, beside ``predict`` itself.

Processor time of one thread, the least and the median of repeats, so that other work on the
machine counts little. With ``--rows`` many rows at once, and the time of each.

    python benchmarks/exported.py
"""

import argparse
import os
import time
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from machine import describe
from sklearn.base import clone
from sklearn.datasets import load_diabetes

import skopu
from skopu.deploy import to_onnx


def models():
    """Yield names and unfitted models."""
    joint = skopu.EndToEndOPURegressor(random_state=0)
    yield "ensemble", skopu.CrossFittedOPURegressor(random_state=0)
    yield "ensemble, trees=False", skopu.CrossFittedOPURegressor(trees=False, random_state=0)
    yield 'end to end, prediction="mean"', clone(joint).set_params(prediction="mean")
    yield "end to end, 10 draws", joint
    yield "OPUKernelRidge()", skopu.OPUKernelRidge(random_state=0)


def milliseconds(call, n_calls, n_repeats=9):
    """Return the least and the median processor time of a call."""
    times = []
    for _ in range(n_repeats):
        start = time.process_time()
        for _ in range(n_calls):
            call()
        times.append((time.process_time() - start) / n_calls * 1e3)
    return min(times), np.median(times)


def session_of(model, X):
    """Return what answers for an exported model, in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(to_onnx(model, X).SerializeToString(), options)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1, help="rows at once; times are of one row")
    n_rows = parser.parse_args().rows
    print(describe())
    X, y = load_diabetes(return_X_y=True)
    rows = np.resize(X, (n_rows, X.shape[1]))
    print("| model | ONNX: least | median | predict: least | median |\n" + "|---" * 5 + "|")
    for name, model in models():
        session = session_of(model.fit(X, y), X)
        n_calls = max(1, 1000 // n_rows)
        exported = milliseconds(partial(session.run, None, {"X": rows}), n_calls)
        own = milliseconds(partial(model.predict, rows), max(1, n_calls // 20))
        cells = (f"{value / n_rows:.4f}" for value in (*exported, *own))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
