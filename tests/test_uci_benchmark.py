"""The benchmark on real data: it goes on where it was cut, and reports what is in its file."""

import importlib
import json
import os
import subprocess
import sys
import threading
from itertools import chain, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from skopu.comparison.methods import Method, Settings
from skopu.comparison.problems import Problem
from skopu.comparison.runner import Record

FOLDER = Path(__file__).parent.parent / "benchmarks" / "uci"
needs_data = pytest.mark.skipif(
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


@needs_data
def test_a_cut_run_goes_on(results):
    """Oracle: the file. What was there is still there, and only what was missing is new."""
    path, first = results
    lines = path.read_text().splitlines()
    assert path.read_text().startswith(first)
    new = [json.loads(line) for line in lines[3:]]
    assert sorted((r["method"], r["split"]) for r in new) == [("boosting", 1), ("hyperplanes", 1)]


@needs_data
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


@pytest.fixture
def from_folder(monkeypatch):
    """Import from the folder of the benchmark."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98, 1.0])
def test_a_torn_line_costs_no_other_record(from_folder, tmp_path, share):
    """Oracle: the records appended. A run is killed when a share of a line is written."""
    path = tmp_path / "uci.jsonl"
    results = from_folder("results").Results(path, Settings(), 3000)
    records = [Record("boston", "gp", i, error=0.1 * i, warnings=("a",)) for i in range(3)]
    results.append(records[0])
    line = path.read_bytes()
    path.write_bytes(line + line[: int(share * (len(line) - 1))])
    results.append(records[1])
    results.append(records[2])
    if share == 1.0:  # all of the line but its end: it is a record
        assert results.read() == records
        return
    with pytest.warns(UserWarning, match=r"uci\.jsonl: 1 line\(s\) are no record"):
        assert results.read() == records


def test_lines_that_are_no_records_are_skipped(from_folder, tmp_path):
    """Oracle: the one record among JSON of other kinds, and bytes that are no text."""
    path = tmp_path / "uci.jsonl"
    results = from_folder("results").Results(path, Settings(), 3000)
    path.write_bytes(b'\xff\xfe\n[]\n3\n{}\n{"settings": {}, "warnings": []}\nnull\n')
    results.append(Record("boston", "gp", 0, error=0.1))
    with pytest.warns(UserWarning, match="6 line"):
        assert [r.error for r in results.read()] == [0.1]


def test_runs_that_append_together_lose_nothing(from_folder, tmp_path):
    """Oracle: 2 x 50 records, each long enough to be written in pieces."""
    path = tmp_path / "uci.jsonl"
    module = from_folder("results")

    def append(method):
        results = module.Results(path, Settings(), 3000)
        for i in range(50):
            results.append(Record("boston", method, i, error=0.1, warnings=("w" * 20_000,)))

    threads = [threading.Thread(target=append, args=(method,)) for method in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(module.Results(path, Settings(), 3000).read()) == 100


def test_mean_ranks_are_those_of_scipy(from_folder):
    """Oracle: scipy's ranks; the critical difference of Demsar (2006), table 5a: for 5
    methods q is 2.728, so 2.728 sqrt(5 * 6 / (6 * 30)) on 30 sets."""
    ranks = from_folder("ranks")
    critical_difference, mean_ranks = ranks.critical_difference, ranks.mean_ranks
    errors = np.random.default_rng(0).random((4, 5))
    expected = np.mean([rankdata(row) for row in errors], axis=0)
    np.testing.assert_allclose(mean_ranks(errors), expected)
    assert critical_difference(5, 30) == pytest.approx(2.728 * np.sqrt(1 / 6), abs=1e-3)


@pytest.mark.parametrize("folder", ["", "more"])
def test_sets_of_ones_own_take_part(tmp_path, folder):
    """Oracle: the arrays written; a set of labels and one of numbers, in tables of their own."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2))
    (tmp_path / folder).mkdir(exist_ok=True)
    np.savez(tmp_path / folder / "signs.npz", X=X, y=(X[:, 0] > 0).astype(int))
    np.savez(tmp_path / folder / "sums.npz", X=X, y=X.sum(axis=1))
    path = tmp_path / "uci.jsonl"
    options = ("--data", tmp_path, "--sets", "signs,sums", "--seeds", 0, "--methods", "boosting")
    call("run.py", path, *options, "--n-jobs", 1)
    tables = call("report.py", path, *options)
    headers = [line for line in tables.splitlines() if line.startswith("| method |")]
    assert headers == ["| method | sums |", "| method | signs |"]


def test_runs_agree_where_errors_are_the_same(from_folder, tmp_path, capsys):
    """Oracle: two files by hand; of four common fits one is half of the first's, one fails."""
    agree, results = from_folder("agree"), from_folder("results")

    def written(name, *fits):
        path = tmp_path / name
        for method, split, error in fits:
            record = Record("yacht", method, split, error)
            results.Results(path, Settings(), 3000).append(record)
        return str(path)

    first = written(
        "first", ("gp", 0, 0.5), ("gp", 1, 0.5), ("fourier", 0, 0.1), ("fourier", 1, 0.1)
    )
    second = ("gp", 0, 0.25), ("gp", 1, 0.5), ("fourier", 0, 0.1), ("fourier", 1, None)
    second = written("second", *second, ("dfa", 0, 0.1))
    assert agree.main([first, second]) == 1
    printed = capsys.readouterr().out
    assert "| GP RBF | 2 | 1 | 0.5 to 0.5 |" in printed
    assert "| Fourier features | 2 | 1 | 1 failed in one |" in printed
    assert "2 of 4 fits are the same; 4 and 5 fits read." in printed
    assert agree.main([first, first]) == 0


def test_a_method_without_an_error_is_no_error_of_the_report(from_folder):
    """Oracle: by hand; nothing over nothing is level, anything over nothing is beyond measure."""
    over = from_folder("report")._over
    assert [over(*pair) for pair in ((3, 2), (0, 2), (0, 0), (1, 0))] == [1.5, 0, 1, np.inf]


def test_rows_of_a_set_in_a_file_are_those_of_the_protocol(from_folder, tmp_path):
    """Oracle: the permutation that the protocol names; labels by their numbers in order."""
    y = np.array([7, 3, 7, 3, 5])
    np.savez(tmp_path / "mine.npz", X=np.arange(10.0).reshape(5, 2), y=y)
    problem = from_folder("sets").load("mine", tmp_path, max_rows=4)
    rows = np.random.default_rng(0).permutation(5)[:4]
    np.testing.assert_array_equal(problem.X[:, 0], 2 * rows)
    np.testing.assert_array_equal(problem.y, np.searchsorted([3, 5, 7], y[rows]))
    assert problem.is_classification


def test_a_set_that_is_nowhere_ends_with_one_line(tmp_path):
    """Oracle: the message; it names the set, the file that is missing and the sets known."""
    command = [sys.executable, str(FOLDER / "run.py"), "--sets", "bostom", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in ("'bostom'", str(tmp_path), "boston"))


def test_shards_are_all_of_the_run(from_folder):
    """Oracle: the product of sets, methods and seeds; each fit is in one shard."""
    run = from_folder("run")
    common = ["--sets", "boston,eeg", "--methods", "gp,mlp,dfa"]
    parts = []
    for shard in ("0/4", "1/4", "2/4", "3/4"):
        options = run.resolve(run.make_parser(""), [*common, "--shard", shard])
        parts.append(run.shard_of(options, options.methods))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    everything = product(("boston", "eeg"), ("gp", "mlp", "dfa"), (0, 1, 2))
    assert sorted(chain(*parts)) == sorted(everything)
    with pytest.raises(SystemExit):
        run.resolve(run.make_parser(""), ["--shard", "4/4"])


def test_a_search_shares_the_fits_of_methods_without_a_space(from_folder):
    """Oracle: the settings that each method is fitted with, and the file they are kept in."""
    run = from_folder("run")
    options = run.resolve(run.make_parser(""), ["--methods", "gp,mlp", "--n-candidates", "3"])
    found = {key: s.n_candidates for s, methods in run.groups_of(options) for key in methods}
    assert found == {"gp": 0, "mlp": 3}


def test_a_fit_that_lacked_a_package_is_made_once_it_is_there(from_folder):
    """Oracle: the records that hold an error."""
    run = from_folder("run")
    records = [Record("boston", "xrfm", 0, left_out="no"), Record("boston", "xrfm", 1, error=0.1)]
    assert run.finished(records) == {("boston", "xrfm", 1)}


def test_costs_are_power_laws_of_the_rows(from_folder):
    """Oracle: 2 seconds at 100 rows and 16 at 200 are a cube, by hand; the search by its folds."""
    costs = from_folder("costs")
    measured = {100: 2.0, 200: 16.0}
    assert costs.seconds_at(200, measured) == 16.0
    assert costs.seconds_at(400, measured) == pytest.approx(128.0)
    assert costs.seconds_at(50, measured) == pytest.approx(0.25)
    assert costs.seconds_at(300, {100: 2.0}) == pytest.approx(6.0)
    assert costs.seconds_at(400, {100: 1.0, 200: 100.0}) == pytest.approx(800.0)  # at most a cube
    assert costs.seconds_of_search(150, measured, 10) == pytest.approx(10 * 3 * 2.0 + 6.75)
    problem = Problem("p", np.zeros((125, 1)), np.zeros(125), "regression")
    assert costs.n_train_rows(problem) == 100
    records = [Record("p", "a", i, 0.1, cpu_seconds=1.0 + 2 * i) for i in range(2)]
    assert costs.measured_seconds(records, [problem]) == {100: 2.0}
    limited = Method("A", None, max_train_rows=99)
    left = [("p", 0), ("p", 1)]
    assert costs.price(limited, left, measured, {}, [problem], 0) == 0.0
    method = Method("A", None)
    assert costs.price(method, left, measured, {}, [problem], 0) == 4.0
    assert costs.price(method, left, measured, {100: 7.0}, [problem], 5) == 14.0
    assert costs.price(method, left, {}, {}, [problem], 0) is None
