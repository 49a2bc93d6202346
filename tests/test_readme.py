"""The README: every block of Python runs, and shows what the text says."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from sklearn.kernel_ridge import KernelRidge

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"(?s)```python\n(.*?)```", README)
NUMBER = r"-?\d+\.\d+"


@pytest.fixture(scope="module")
def shown():
    """What each block prints, run in order in one namespace, and that namespace."""
    namespace, printed = {}, []
    for block in BLOCKS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(block, namespace)
        printed.append(out.getvalue())
    return namespace, printed


def test_there_are_blocks():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_prints_what_its_comment_says(shown, number):
    """Oracle: the first number behind each ``print``, to five hundredths."""
    stated = re.findall(rf"print\(.*\)  # ({NUMBER})", BLOCKS[number])
    found = re.findall(NUMBER, shown[1][number])
    assert len(stated) == BLOCKS[number].count("print(") == len(found)
    assert [float(text) for text in found] == pytest.approx([*map(float, stated)], abs=0.05)


def test_the_drop_in_beats_what_it_replaces(shown):
    """Oracle: scikit-learn's class on the same rows; the README states its score."""
    X, y, X_test, y_test = (shown[0][name] for name in ("X", "y", "X_test", "y_test"))
    theirs = KernelRidge(kernel="rbf").fit(X, y).score(X_test, y_test)
    assert float(re.search(rf"KernelRidge\(kernel=.*?({NUMBER})", README)[1]) == round(theirs, 2)
    assert shown[0]["model"].score(X_test, y_test) > theirs + 0.05


def test_links_lead_somewhere():
    """Oracle: the files of the repository."""
    root = Path(__file__).parent.parent
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_the_readme_is_short():
    """Oracle: the limit of a first page that is read to its end."""
    assert len(README.split()) <= 480
