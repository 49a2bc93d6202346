"""The scripts in ``benchmarks``: each imports what it needs and reads its command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
# One process a folder: its scripts import each other by name, and torch is slow to load.
SCRIPT = """
import importlib, sys
for name in sys.argv.pop().split(","):
    module = importlib.import_module(name)
    if hasattr(module, "main"):
        sys.argv = [name, "--help"]
        try:
            module.main()
        except SystemExit as end:
            assert end.code == 0, (name, end.code)
        else:
            raise AssertionError(f"{name} --help goes on")
"""


def run(folder, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", ["", "uci", "reproductions"])
def test_every_script_shows_its_help(folder):
    """Oracle: argparse, which ends with status 0; a moved name would end with an ImportError."""
    names = sorted(path.stem for path in (FOLDER / folder).glob("*.py"))
    shown = run(FOLDER / folder, "-c", SCRIPT, ",".join(names))
    assert shown.count("usage:") == sum(
        "def main(" in (FOLDER / folder / f"{name}.py").read_text() for name in names
    )


@pytest.fixture
def importable(monkeypatch):
    """Let the scripts be imported by name."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.usefixtures("importable")
def test_a_default_breaks_the_rule_beyond_chance_only():
    """Oracle: losses of 100 rows by hand, worse by a constant or by as much as they vary."""
    from defaults import Fit, standard_errors

    level = np.array([0.4, 0.6] * 50)  # mean 0.5, standard error 0.01

    def breaks(default, tuned, trivial):
        above = [standard_errors(default * level - worst) for worst in (1.5 * tuned, trivial)]
        return Fit("set", "method", default, tuned, trivial, *above).breaks

    assert breaks(1.0, 0.4, 0.55) is None
    assert breaks(1.0, 0.4, 0.49) is None  # above the mean, by one standard error
    assert "predicting the mean" in breaks(1.0, 0.4, 0.45)
    assert breaks(1.0, 0.33, 0.9) is None  # above 1.5 times the other, by half a standard error
    assert "after the search" in breaks(1.0, 0.3, 0.9)


@pytest.fixture
def claims(importable):
    """The script that runs the commands of the page, and reads its rows."""
    import claims

    return claims


def test_commands_of_claims_are_read_as_people_read_them(claims):
    """Oracle: a page of three rows, and its commands written out."""
    page = """
.. list-table::

   * - claim
     - verdict
     - what
     - command
   * - one
     - reproduced
     - this
     - ``S/uci/run.py --sets
       yacht``, and ``--seeds 1``
   * - two
     - undecided
     - that
     - the same, ``--quick``; ``pytest tests/test_ridge.py``
   * - three
     - refuted
     - ``--nothing``
     - ``python benchmarks/relax.py``, ``S/uci/run.py --sets yacht``
"""
    yacht = "uci/run.py --sets yacht"
    assert claims.commands_of(page) == [
        yacht,
        f"{yacht} --seeds 1",
        f"{yacht} --quick",
        "relax.py",
    ]


VERDICTS = ("reproduced", "refuted", "undecided", "misprint", "out of reach")


def test_every_claim_has_a_verdict_and_a_command_that_exists(claims):
    """Oracle: the list of verdicts at the head of the page; the files, and the options' texts."""
    rows = list(claims.rows_of(claims.PAGE.read_text()))
    assert len(rows) > 80
    assert {len(row) for row in rows} == {5}
    for claim, verdict, _, commands, _ in rows:
        others = ("order reproduced", '"as good', "the best of")
        assert verdict.startswith((*VERDICTS, *others)), claim
        found = re.findall(r"``(.*?)``", commands)
        for command in found:
            _check_command(command)
        for page in re.findall(r":doc:`/?(\w+)`", commands):
            assert (FOLDER.parent / "doc" / "user_guide" / f"{page}.rst").exists(), page
        measured = verdict.startswith(("reproduced", "refuted", "undecided"))
        points_on = re.match(r"the same|the row above|below|:(doc|ref|class):", commands)
        assert found or points_on or not measured, claim


def test_every_claim_says_when_it_was_measured(claims):
    """Oracle: the history of git, and the commands: those of the suite are tests."""
    shallow = ("git", "rev-parse", "--is-shallow-repository")
    asked = subprocess.run(shallow, cwd=FOLDER, capture_output=True, text=True, check=False)
    has_history = asked.stdout.strip() == "false"
    for claim, _, _, commands, when in claims.rows_of(claims.PAGE.read_text()):
        commits = re.findall(r"``(\w{7})``", when)
        assert commits or when in ("suite", "-"), claim
        if when == "suite":
            assert "``pytest " in commands or commands.startswith("the same"), claim
        if when == "-":
            assert not re.search(r"S/|python benchmarks", commands), claim
        for commit in commits * has_history:
            kind = ("git", "cat-file", "-t", commit)
            done = subprocess.run(kind, cwd=FOLDER, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == "commit", (claim, commit)


def _check_command(command):
    for path in re.findall(r"[\w./]+\.py", command):
        place = path.removeprefix("S/").removeprefix("benchmarks/")
        assert any((folder / place).exists() for folder in (FOLDER, FOLDER.parent)), command
    for test, words in re.findall(r"tests/(\w+\.py)(?: -k (\w+))?", command):
        assert words in (FOLDER.parent / "tests" / test).read_text(), command
    for script, option in re.findall(r"S/(\S+\.py) (--[\w-]+)", command):
        folder = (FOLDER / script).parent
        assert any(f'"{option}"' in path.read_text() for path in folder.glob("*.py")), command


def test_verdicts_follow_the_intervals(monkeypatch):
    """Oracle: means 1 and 2, deviations 0.1 or 1, by hand; a single figure decides nothing."""
    monkeypatch.syspath_prepend(str(FOLDER / "reproductions"))
    from fits import verdict

    low, high, wide = [0.9, 1.0, 1.1], [1.9, 2.0, 2.1], [1.0, 2.0, 3.0]
    assert verdict(high, low) == verdict(high, low, by=0.7) == "reproduced"
    assert verdict(low, high) == verdict(high, low, by=1.3) == "refuted"
    assert verdict(high, low, by=0.9) == verdict(wide, low) == "undecided"
    assert verdict([2.0], [1.0]) == "undecided"


def test_curves_of_the_report_are_drawn(monkeypatch, tmp_path):
    """Oracle: the files, pictures; losses of two epochs, and of 250 minibatches."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.syspath_prepend(str(FOLDER / "reproductions"))
    import autoencoder
    import bop
    from tqdm import tqdm

    store = bop.Store(None, lambda settings, seed, folder: {"loss": [1.0, 0.5 + seed]})
    study = bop.Study(store, (0, 1), None, tqdm(disable=True))
    study.draw(tmp_path / "bop.png")
    autoencoder.draw({"AE": [np.geomspace(1, 0.01, 250)] * 2}, tmp_path / "autoencoder.png")
    for name in ("bop", "autoencoder"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


@pytest.mark.usefixtures("importable")
def test_relax_is_unbiased_whatever_its_network():
    """Oracle: enumeration of all codes; 20,000 estimates, the false-alarm rate of the suite."""
    import torch
    from relax import Relax
    from test_gradients import Case, largest_t, threshold

    from skopu.losses import SquaredError

    case = Case(SquaredError(), 1.0)
    with torch.random.fork_rng():
        relax = Relax(3, n_bits=6)
    source = torch.Generator().manual_seed(0)
    for parameter in relax.network.double().parameters():
        parameter.data.normal_(generator=source)
    estimates = case.estimates(relax, 1.0, 20_000)
    assert largest_t(estimates, case.exact_gradient(1.0)) < threshold(6)


def test_auxiliary_codes_are_the_cheapest(monkeypatch):
    """Oracle: the price of each of the eight codes of three bits, row by row."""
    monkeypatch.syspath_prepend(str(FOLDER / "reproductions"))
    from mac import all_codes, best_codes

    rng = np.random.default_rng(0)
    codes, wanted = all_codes(3), rng.integers(0, 2, (20, 3), dtype=np.uint8)
    assert len({tuple(code) for code in codes.tolist()}) == 8
    y, outputs = rng.standard_normal(20), rng.standard_normal(8)
    for number, row, target in zip(best_codes(y, outputs, codes, wanted, 0.3), wanted, y):
        prices = [
            (target - output) ** 2 + 0.3 * sum(a != b for a, b in zip(code, row))
            for code, output in zip(codes.tolist(), outputs)
        ]
        assert number == np.argmin(prices)


def test_searched_formulas_are_those_of_their_switches(monkeypatch):
    """Oracle: rules read off the switches, string by string; a search that ends without errors."""
    monkeypatch.syspath_prepend(str(FOLDER / "reproductions"))
    from rules import STRINGS, random_formula
    from search import Formula, climb

    y, rng = random_formula(0), np.random.default_rng(0)
    formula = Formula(y, np.arange(300))
    literals = np.hstack([STRINGS, 1 - STRINGS]).astype(bool)
    for choice in (formula.draw(rng) for _ in range(20)):
        rules = choice.reshape(-1, literals.shape[1])
        wrong = np.array([any(string[rule].all() for rule in rules) for string in literals]) != y
        assert formula.error(choice) == wrong.mean()
        assert formula.n_wrong(choice) == wrong[:300].sum()
    choice, n_wrong, *_ = climb(formula.n_wrong, formula.draw, 60, rng)
    assert n_wrong == formula.n_wrong(choice) == 0


def test_searched_signs_are_those_of_a_net(monkeypatch):
    """Oracle: scikit-learn's scaler between layers, and its cross-entropy."""
    monkeypatch.syspath_prepend(str(FOLDER / "reproductions"))
    from scipy.special import softmax
    from search import N_UNITS, Signs
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 6)), rng.integers(0, 3, 50)
    net = Signs(X, y)
    choice = net.draw(rng)
    signs = np.where(choice, 1, -1)
    first, second = signs[: 6 * N_UNITS].reshape(6, -1), signs[6 * N_UNITS :].reshape(-1, 3)
    codes = np.sign(StandardScaler().fit_transform(X @ first))
    logits = StandardScaler().fit_transform(codes @ second)
    assert net.logits(choice, X) == pytest.approx(logits, abs=1e-4)
    expected = log_loss(y, softmax(3 * logits, axis=1))
    assert net.cross_entropy(choice) == pytest.approx(expected, abs=1e-4)
    assert net.accuracy(choice, X, y) == np.mean(logits.argmax(1) == y)


@pytest.mark.usefixtures("importable")
def test_every_mutation_can_still_be_made():
    """Oracle: the source, which holds each text once, and the tests, which hold each name."""
    from mutants import MUTANTS, why_stale

    assert {mutant.name: why_stale(mutant, FOLDER.parent) for mutant in MUTANTS} == {
        mutant.name: "" for mutant in MUTANTS
    }
    assert all(mutant.new != mutant.old for mutant in MUTANTS)


@pytest.mark.usefixtures("importable")
def test_structure_counts_rooms_and_arrows(tmp_path):
    """Oracle: a package of three rooms written for the purpose."""
    from structure import figures, read

    files = {
        "__init__.py": '"""Front door."""\n',
        "low.py": 'SIZE = 1  # one\n\n\ndef size():\n    """Size."""\n    return SIZE\n',
        "high/__init__.py": "",
        "high/walls.py": "from skopu.low import size\nfrom skopu.high import doors\n",
        "high/doors.py": "def doors():\n    # why\n    from skopu import low\n\n    return low\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = figures(read(tmp_path))
    assert found["rooms"] == "3"
    assert found["arrows between rooms"] == "1"
    assert found["lines of a function: median, 90 %, most"] == "2, 2, 2"
    assert found["comment lines"].startswith("2 ")


def test_revisions_resume_and_compare_a_tree_with_itself(tmp_path):
    """Oracle: the same source makes the same errors, and a second run measures nothing."""
    pytest.importorskip("resource")
    if not (FOLDER.parent / ".git").exists():
        pytest.skip("needs the history of git")
    results = tmp_path / "found.jsonl"
    options = ("HEAD", "--quick", "--only", "ridge, alpha=loo", "--results", results)
    table = run(FOLDER, "revisions.py", *options)
    lines = results.read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["place"] for entry in entries] == [0, 1]
    assert all(entry["cpu"] > 0 and entry["peak"] > 50 for entry in entries)
    if len(set(entries[0]["contents"])) == 1:
        assert entries[0]["error"] == entries[1]["error"]
    assert "| ridge, alpha=loo, sines |" in table
    assert run(FOLDER, "revisions.py", *options) == table
    assert results.read_text().splitlines() == lines
