"""What a stranger installs: names, versions and files of the distribution agree.

Oracle: ``pyproject.toml``, from which pip takes them.
"""

import re
import tomllib
from pathlib import Path

import pytest

import skopu

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def text(name):
    return (ROOT / name).read_text()


def bounds(requirements):
    """Lowest versions by name, of requirements such as "numpy>=2.0"."""
    return dict(re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", line).groups() for line in requirements)


def test_lowest_versions_are_those_that_are_tested():
    """But for torch, whose older builds for the CPU cannot be had from every index."""
    lowest = bounds([*PROJECT["dependencies"], *EXTRAS["plot"]])
    tested = dict(re.findall(r"(?m)^([\w-]+)==([\d.]+)", text(".ci/floors.txt")))
    for name, version in lowest.items():
        assert (tested[name] + ".").startswith(version + "."), name
    assert set(tested) - set(lowest) == {"pytest", "torch"}


def test_the_recipe_of_conda_asks_for_the_same():
    recipe = dict(re.findall(r"- ([\w-]+) >=([\d.]+)", text("packaging/conda/meta.yaml")))
    wanted = bounds([*PROJECT["dependencies"], *EXTRAS["torch"], *EXTRAS["plot"]])
    for name, version in wanted.items():
        assert recipe[CONDA.get(name, name)] == version
    assert PROJECT["requires-python"] == f">={recipe['python']}"


@pytest.mark.parametrize("name", ["CITATION.cff", "packaging/conda/meta.yaml", "CHANGELOG.md"])
def test_the_version_is_the_same_everywhere(name):
    pattern = r'(?m)^(?:version: |## |\{% set version = ")(\d+\.\d[\w.]*)'
    assert re.search(pattern, text(name))[1] == skopu.__version__


def test_estimators_link_to_their_pages(public_estimators):
    """Oracle: the pages that ``doc/api.rst`` makes; scikit-learn's pictures link to them."""
    pages = set()
    for block in re.split(r"(?m)^\.\. currentmodule:: ", text("doc/api.rst"))[1:]:
        module, _, rest = block.partition("\n")
        pages |= {f"{module}.{name}" for name in re.findall(r"(?m)^   (\w+)$", rest)}
    parts = [skopu.devices.SimulatedOPU(), skopu.gradients.LeaveOneOut()]
    for model in [*(kind() for kind in public_estimators.values()), *parts]:
        link = re.fullmatch(r"https://[\w.]+/en/latest/generated/(.*)\.html", model._get_doc_link())
        assert link[1] in pages
        assert link[0] in model._repr_html_()


def test_the_description_stands_alone():
    """On an index page nothing relative to the repository is found; the code is the README's."""
    description = text(PROJECT["readme"])
    assert not re.findall(r"\]\((?!https?:)", description)
    (code,) = re.findall(r"(?s)```python\n(.*?)```", description)
    assert code in text("README.md")
