"""The command line: status, messages, table, JSON, figure."""

import io
import json
import re
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skopu import __version__
from skopu.comparison import cli, figure, options
from skopu.comparison.methods import MAIN, METHODS, Method
from skopu.comparison.runner import Record

TINY = ["--n-bits", "6", "--n-components", "16", "--max-iter", "3", "--n-jobs", "1", "--quiet"]
FAST = [*TINY, "--methods", "chain,hyperplanes", "--n-splits", "2", "--no-figure"]


@pytest.fixture
def table(tmp_path):
    """Path of a file with a numeric and a text column and three targets."""
    rng = np.random.default_rng(0)
    lines = ["size,colour,price,kind,rare"]
    for i in range(60):
        size = rng.normal()
        colour = ("red", "blue")[i % 2]
        lines.append(f"{size:.4f},{colour},{size**2:.4f},{'ab'[size > 0]},{'xy'[i == 0]}")
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(lines))
    return str(path)


def replace_methods(monkeypatch, **factories):
    """Offer other methods than the usual ones."""
    methods = {name: Method(name, make) for name, make in factories.items()}
    parser = options.make_parser()
    parser.set_defaults(methods=methods)
    monkeypatch.setattr(cli, "make_parser", lambda: parser)


class Zero(BaseEstimator):
    """Predicts 0, the mean of a standardised target."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_bundled_sets_make_a_table_and_a_figure(tmp_path, capsys):
    """Oracle: every method, by its error, set by set; the file starts as a PNG."""
    path = tmp_path / "figure.png"
    arguments = ["--datasets", "diabetes,iris", "--n-splits", "1", "--figure", str(path)]
    assert cli.main([*TINY, *arguments]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["set", "method", "test", "error", "fit", "s", "device", "passes"]
    shown = [line for line in lines[2:17] if not line.startswith("-")]
    labels = {METHODS[name].label for name in MAIN}
    for rows in (shown[:7], shown[7:14]):
        assert {label for label in labels for row in rows if f" {label} " in row} == labels
        errors = [float(re.search(r"\d\.\d+", row)[0]) for row in rows]
        assert errors == sorted(errors)
    assert f"Figure: {path}" in out
    assert "MSE of the standardised target (1 = predicting the mean)" in out
    assert path.read_bytes()[1:4] == b"PNG"
    assert err == ""


def test_csv_prints_the_task_and_how_to_override_it(table, capsys):
    """Oracle: 'kind' holds text, so it is classified."""
    assert cli.main([table, "--target", "kind", *FAST]) == 0
    out, err = capsys.readouterr()
    assert "houses: task: classification, because column 'kind' holds 2 labels" in err
    assert "--task regression overrides this" in err
    assert "houses: error rate" in out


def test_json_is_one_object_that_agrees_with_itself(table, capsys):
    """Oracle: mean, sd and schema recomputed from the splits in the same object."""
    assert cli.main([table, "--target", "price", "--json", "--max-rows", "40", *FAST]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert "40 of 60 rows are used" in err
    assert set(report) == {
        "skopu_version",
        "settings",
        "seeds",
        "test_size",
        "n_jobs",
        "stopped",
        "figure",
        "problems",
    }
    sizes = {"n_bits": 6, "n_components": 16, "max_iter": 3, "n_draws": 10}
    assert report["settings"] == {**sizes, "n_candidates": 0}
    assert (report["seeds"], report["figure"], report["stopped"]) == ([0, 1], None, None)
    (problem,) = report["problems"]
    assert (problem["name"], problem["task"], problem["n_rows"]) == ("houses", "regression", 40)
    assert [result["method"] for result in problem["results"]] == ["chain", "hyperplanes"]
    for result in problem["results"]:
        errors = [split["error"] for split in result["splits"]]
        assert result["error_mean"] == pytest.approx(np.mean(errors))
        assert result["error_sd"] == pytest.approx(np.std(errors, ddof=1))
        assert [split["split"] for split in result["splits"]] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "max_iter"),
    [
        (["--datasets", "iris"], options.BUNDLED_MAX_ITER),
        (["--datasets", "iris", "--max-iter", "auto"], "auto"),
        (["{}", "--target", "price"], "auto"),
        (["{}", "--target", "price", "--max-iter", "7"], 7),
    ],
)
def test_only_the_first_look_trains_less(monkeypatch, capsys, table, arguments, max_iter):
    """Oracle: the help. A file of the user's is worth each method's own training."""
    replace_methods(monkeypatch, zero=lambda *_: Zero())
    given = [argument.format(table) for argument in arguments]
    assert cli.main([*given, "--json", "--no-figure", "--quiet", "--n-jobs", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["max_iter"] == max_iter


def test_the_same_seed_gives_the_same_errors(table, capsys):
    """Oracle: the first run; splits are named by their seed."""
    runs = []
    for seed in ("0", "0", "1"):
        cli.main([table, "--target", "price", "--json", "--seed", seed, *FAST])
        results = json.loads(capsys.readouterr().out)["problems"][0]["results"]
        runs.append({s["split"]: s["error"] for s in results[0]["splits"]})
    assert runs[0] == runs[1]
    assert runs[2][1] == runs[0][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}"], "--target is missing: which column of {} is to be predicted?"),
        (["{}", "--target", "prise"], "'prise' is not a column of the file; did you mean 'price'?"),
        (["{}", "--target", "rare"], "have a single row (such as 'y')"),
        (["{}", "--target", "kind", "--task", "regression"], "regression needs numbers"),
        (["{}", "--target", "price", "--max-rows", "10"], "has 10 usable row(s)"),
        (["{}", "--target", "price", "--datasets", "iris"], "exclude each other"),
        (["{}x", "--target", "price"], "file not found: {}x"),
        (["--target", "price"], "--target and --task belong to a CSV file"),
        (["--figure", "figure.nothing"], "must end in a format that can be drawn"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(table, capsys, arguments, message):
    """Oracle: messages written here."""
    given = [argument.format(table) for argument in arguments]
    assert cli.main([*given, *TINY]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message.format(table) in err
    errors = [line for line in err.splitlines() if line.startswith("skopu: error: ")]
    assert len(errors) == 1
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "endtoend"], "unknown name 'endtoend'; did you mean 'end-to-end'?"),
        (["--datasets", ","], "no name given; known: diabetes"),
        (["--n-splits", "0"], "'0' is not a whole number of 1 or more"),
        (["--seed", "-1"], "'-1' is not a whole number of 0 or more"),
        (["--test-size", "1.5"], "'1.5' is not a number between 0 and 1"),
        (["--n-jobs", "0"], "'0' is not a number of fits at a time"),
        (["--figure", "a.png", "--no-figure"], "not allowed with argument"),
    ],
)
def test_wrong_options_end_with_status_2(capsys, arguments, message):
    """Oracle: messages written here."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_version_and_help(capsys):
    """Oracle: the package's version; every method and an example are in the help."""
    for argument in ("--version", "--help"):
        with pytest.raises(SystemExit) as caught:
            cli.main([argument])
        assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"skopu {__version__}\n")
    assert all(name in out and method.label in out for name, method in METHODS.items())
    assert "python -m skopu houses.csv --target price" in out


def test_failures_are_told_below_the_table(monkeypatch, capsys):
    """Oracle: a method that fails, beside one that cannot."""

    def fail(task, settings, seed):
        raise RuntimeError("out of light")

    replace_methods(monkeypatch, good=lambda *_: Zero(), bad=fail)
    assert cli.main(["--datasets", "diabetes", *TINY, "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[3].split()[:2] == ["bad", "failed"]
    assert "Note: bad on diabetes failed on split 2: RuntimeError: out of light" in out
    replace_methods(monkeypatch, bad=fail)
    assert cli.main(["--datasets", "diabetes", *TINY]) == 1


def test_interruption_prints_what_is_finished(monkeypatch, capsys, tmp_path):
    """Oracle: Ctrl-C in the third fit leaves two."""
    monkeypatch.chdir(tmp_path)

    def interrupt(task, settings, seed):
        if seed == 2:
            raise KeyboardInterrupt
        return Zero()

    replace_methods(monkeypatch, zero=interrupt)
    assert cli.main(["--datasets", "diabetes", *TINY]) == 130
    out, err = capsys.readouterr()
    assert "diabetes  zero" in out
    assert "skopu: interrupted; 2 of 3 fits were finished and are reported." in err
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["--datasets", "diabetes", *TINY, "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["stopped"] == "interrupted"


def test_a_dead_worker_does_not_lose_the_table(monkeypatch, capsys):
    """Oracle: the exception by which joblib tells that the system killed a worker."""

    def run_and_die(*args, **kwargs):
        yield Record("diabetes", "end-to-end", 0, 0.5, 1.0, 0.1, 10)
        raise BrokenProcessPool

    monkeypatch.setattr(cli, "run", run_and_die)
    assert cli.main(["--datasets", "diabetes", *TINY]) == 1
    out, err = capsys.readouterr()
    assert "0.500 (1 of 3 splits)" in out
    assert "a worker process died (out of memory? try --n-jobs 1 or --max-rows)" in err


def test_a_figure_that_cannot_be_saved_does_not_lose_the_table(monkeypatch, capsys, tmp_path):
    """Oracle: the path is a folder."""
    (tmp_path / "folder.png").mkdir()
    replace_methods(monkeypatch, zero=lambda *_: Zero())
    path = str(tmp_path / "folder.png")
    assert cli.main(["--datasets", "diabetes", *TINY, "--figure", path]) == 0
    out, err = capsys.readouterr()
    assert "diabetes  zero" in out
    assert "skopu: the figure was not saved: " in err


def test_a_figure_that_cannot_be_drawn_does_not_lose_the_table(
    monkeypatch, capsys, tmp_path, table
):
    """Oracle: a drawing that fails, told in one line; a name with a formula's sign is drawn."""
    replace_methods(monkeypatch, zero=lambda *_: Zero())
    dollars = tmp_path / "cost_$_2020_$.csv"
    dollars.write_text(Path(table).read_text())
    saved = str(tmp_path / "a.png")
    assert cli.main([str(dollars), "--target", "price", *TINY, "--figure", saved]) == 0
    assert f"Figure: {saved}" in capsys.readouterr().out

    def fail(*args):
        raise RuntimeError("no TeX\non this machine")

    monkeypatch.setattr(figure, "draw", fail)
    for extra in ([], ["--json"]):
        assert cli.main(["--datasets", "diabetes", *TINY, "--figure", saved, *extra]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["figure"] is None if extra else "diabetes  zero" in out
        said = "skopu: the figure was not saved: RuntimeError: no TeX on this machine\n"
        assert err.endswith(said)


def test_progress_goes_to_stderr(monkeypatch, capsys):
    """Oracle: the number of fits and of methods; the row of the table, as soon as it is done."""
    replace_methods(monkeypatch, zero=lambda *_: Zero())
    loud = [argument for argument in TINY if argument != "--quiet"]
    cli.main(["--datasets", "diabetes", *loud, "--no-figure"])
    out, err = capsys.readouterr()
    assert "3/3 fits" in err
    assert "1/1 methods done, last fit: zero on diabetes" in err
    assert re.search(r"diabetes  zero  0\.884 ± 0\.046 .* s\n", err)
    assert "fits [" not in out


@pytest.mark.parametrize("module", ["matplotlib", "pandas"])
def test_missing_extras_are_named(monkeypatch, capsys, table, module):
    """Oracle: the extra that pyproject.toml defines."""
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    replace_methods(monkeypatch, zero=lambda *_: Zero())
    if module == "pandas":
        assert cli.main([table, "--target", "price", *TINY, "--no-figure"]) == 2
    else:
        assert cli.main([*TINY, "--datasets", "diabetes", "--figure", "a.png"]) == 2
        assert cli.main([*TINY, "--datasets", "diabetes"]) == 0
    err = capsys.readouterr().err
    assert f'need {module}: pip install "skopu[plot]"' in err


def test_standard_input_is_a_file(monkeypatch, capsys, table):
    """Oracle: the same table from its file."""
    results = []
    for path in (table, "-"):
        content = io.BytesIO(Path(table).read_bytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
        assert cli.main([path, "--target", "price", "--json", *FAST]) == 0
        (problem,) = json.loads(capsys.readouterr().out)["problems"]
        results.append([r["error_mean"] for r in problem["results"]])
    assert problem["name"] == "standard input"
    assert results[0] == results[1]


def test_module_can_be_run():
    """Oracle: the exit status that the shell sees."""
    command = [sys.executable, "-m", "skopu", "nowhere.csv", "--target", "y", "--no-figure"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "skopu: error: file not found: nowhere.csv\n"
    assert find_spec("skopu.__main__") is not None
