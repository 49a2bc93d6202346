"""The benchmark on real data: it goes on where it was cut, and reports what is in its file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

FOLDER = Path(__file__).parent.parent / "benchmarks" / "uci"
pytestmark = pytest.mark.skipif(
    not os.environ.get("SKOPU_DATA"), reason="SKOPU_DATA names no folder of data sets"
)


def call(script, *arguments):
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("uci") / "results.jsonl"
    options = ("--sets", "yacht", "--methods", "hyperplanes,boosting", "--n-jobs", 1)
    call("run.py", path, "--seeds", 0, *options)
    first = path.read_text()
    with path.open("a") as file:
        file.write('{"problem": "yac')  # a run cut while it wrote
        file.write("\n")
    call("run.py", path, "--seeds", "0,1", *options)
    return path, first


def test_a_cut_run_goes_on(results):
    """Oracle: the file. What was there is still there, and only what was missing is new."""
    path, first = results
    lines = path.read_text().splitlines()
    assert path.read_text().startswith(first)
    new = [json.loads(line) for line in lines[3:]]
    assert sorted((r["method"], r["split"]) for r in new) == [("boosting", 1), ("hyperplanes", 1)]


def test_report_agrees_with_the_file(results, tmp_path):
    """Oracle: means taken from the file by hand."""
    path, _ = results
    lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
    errors = {}
    for line in lines:
        record = json.loads(line)
        errors.setdefault(record["method"], []).append(record["error"])
    options = ("--seeds", "0,1", "--sets", "yacht", "--figures", tmp_path)
    text = call("report.py", path, *options, "--rst", tmp_path / "tables.inc")
    for values in errors.values():
        assert f"{np.mean(values):.4f}"[:5] in text
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    # The same cells in both formats.
    tables = (tmp_path / "tables.inc").read_text()
    for line in text.splitlines()[2:6]:
        for cell in line.strip("| -").split(" | "):
            assert cell in tables


def test_mean_ranks_are_those_of_scipy():
    """Oracle: scipy's ranks; the critical difference of Demsar (2006), table 5a: for 5
    methods q is 2.728, so 2.728 sqrt(5 * 6 / (6 * 30)) on 30 sets."""
    sys.path.insert(0, str(FOLDER))
    try:
        from ranks import critical_difference, mean_ranks
    finally:
        sys.path.remove(str(FOLDER))
    errors = np.random.default_rng(0).random((4, 5))
    expected = np.mean([rankdata(row) for row in errors], axis=0)
    np.testing.assert_allclose(mean_ranks(errors), expected)
    assert critical_difference(5, 30) == pytest.approx(2.728 * np.sqrt(1 / 6), abs=1e-3)
