"""What others' programs read: addresses, the workflow, the recipe, the citation, forms for issues.

Oracle: ``pyproject.toml``, whose ``[project.urls]`` are the one place to change an address in, and
what GitHub, conda, CFF and Read the Docs say of their files.
"""

import re
import tomllib
from pathlib import Path

import pytest

import skopu
from skopu._core.documented import Documented

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
URLS = PROJECT["urls"]
# Where an address of the project may stand; generated and downloaded files are not the project's.
TEXTS = ["*.md", "*.cff", "*.toml", "*.yaml", "doc/*", "doc/user_guide/*", "doc/lessons/*"]
TEXTS += ["doc/examples/*", "packaging/**/*", ".github/**/*", "skopu/**/*.py", "benchmarks/**/*.py"]


def loaded(name):
    return yaml.safe_load((ROOT / name).read_text())


def recipe():
    """The recipe as conda reads it, with the one variable that it sets."""
    text = (ROOT / "packaging/conda/meta.yaml").read_text()
    (version,) = re.findall(r'\{% set version = "(.*)" %\}', text)
    text = re.sub(r"\{%.*%\}", "", text).replace("{{ version }}", version)
    return yaml.safe_load(text.replace("{{ PYTHON }}", "python"))


def test_addresses_agree_everywhere():
    ours = re.compile(r"https://(?:github\.com/[\w.-]+/skopu|skopu\.[\w.]+)")
    known = {URLS["Homepage"], URLS["Documentation"]}
    files = {path for pattern in TEXTS for path in ROOT.glob(pattern) if path.is_file()}
    texts = {path: path.read_bytes().decode("utf-8", "ignore") for path in files}
    found = {(path.name, url) for path, text in texts.items() for url in ours.findall(text)}
    assert {url for _, url in found} == known, sorted(found)


def test_addresses_of_one_repository():
    assert URLS["Issues"] == f"{URLS['Homepage']}/issues"
    assert URLS["Changelog"] == f"{URLS['Homepage']}/blob/main/CHANGELOG.md"
    assert Documented._doc_link_template.startswith(f"{URLS['Documentation']}/en/latest/generated/")
    assert loaded("CITATION.cff")["repository-code"] == URLS["Homepage"]
    about = recipe()["about"]
    assert (about["home"], about["doc_url"]) == (URLS["Homepage"], URLS["Documentation"])


def test_the_recipe_builds_this_package():
    made = recipe()
    assert made["package"] == {"name": PROJECT["name"], "version": skopu.__version__}
    assert (ROOT / "packaging/conda" / made["source"]["path"]).resolve() == ROOT
    scripts = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert made["build"]["entry_points"] == scripts
    assert made["build"]["noarch"] == "python"
    names = {line.split()[0] for line in made["requirements"]["run"]}
    wanted = {re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]}
    assert names == wanted | {"python", "pytorch"}
    assert {"pip", "setuptools"} <= {line.split()[0] for line in made["requirements"]["host"]}
    about = made["about"]
    assert (about["license"], about["summary"]) == (PROJECT["license"], PROJECT["description"])
    assert (ROOT / about["license_file"]).exists()


def test_the_workflow_runs_what_contributors_run():
    workflow = loaded(".github/workflows/ci.yml")
    events = workflow[True]  # YAML 1.1 reads "on" as a truth
    assert set(events) == {"push", "pull_request"}
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"])
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", name) for name in uses)
    (runs,) = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == "bash .ci/run"
    (python,) = [step["with"] for step in job["steps"] if "python" in step.get("uses", "")]
    assert PROJECT["requires-python"] == f">={python['python-version']}"
    for name in python["cache-dependency-path"].split():
        assert (ROOT / name).exists(), name


def test_the_site_is_built_by_the_same_python():
    site, workflow = loaded(".readthedocs.yaml"), loaded(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    assert site["version"] == 2
    assert site["build"]["os"] == job["runs-on"]
    assert f">={site['build']['tools']['python']}" == PROJECT["requires-python"]
    (install,) = site["python"]["install"]
    assert set(install["extra_requirements"]) <= set(PROJECT["optional-dependencies"])
    assert (ROOT / site["sphinx"]["configuration"]).exists()


def test_the_citation_is_complete():
    """Oracle: the keys that CFF 1.2.0 asks for, and the date in the change log."""
    citation = loaded("CITATION.cff")
    assert set(citation) >= {"cff-version", "message", "title", "authors"}
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    dated = re.search(r"(?m)^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text())
    assert (citation["version"], str(citation["date-released"])) == dated.groups()
    for person in citation["preferred-citation"]["authors"]:
        assert set(person) == {"family-names", "given-names"}


@pytest.mark.parametrize("name", ["bug", "wish"])
def test_forms_for_issues_are_well_formed(name):
    form = loaded(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert set(form) >= {"name", "description", "body"}
    for field in form["body"]:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes", "markdown"}
        assert field["attributes"]["label"]


def test_dashes_in_tables_are_dashes():
    """Oracle: reStructuredText, where a cell of one bare dash is a list without an item."""
    pages = [
        path for kind in ("rst", "inc") for path in (ROOT / "doc" / "user_guide").glob(f"*.{kind}")
    ]
    bare = [path.name for path in pages if re.search(r"(?m)^ +(\* )?- -$", path.read_text())]
    assert len(pages) > 20
    assert not bare
