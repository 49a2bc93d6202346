"""The page of promises names tests that exist. Oracle: the syntax trees of the tests."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "doc/user_guide/promises.rst").read_text()
NAMED = re.findall(r"``(test_\w+\.py)((?:::\w+)+)``", PAGE)


@pytest.mark.parametrize(("file", "path"), NAMED, ids="".join)
def test_a_promise_has_its_test(file, path):
    body = ast.parse((TESTS / file).read_text()).body
    for name in path.split("::")[1:]:
        found = [node for node in body if getattr(node, "name", None) == name]
        assert found, f"{file} has no {name}"
        body = found[0].body


def test_every_promise_names_one():
    assert PAGE.count("   * - ") == len(NAMED) > 30
