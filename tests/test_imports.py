"""The structure of the package, read from its source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skopu

ROOT = Path(skopu.__file__).parent
MAP = Path(__file__).parent.parent / "doc" / "contributing.rst"
# Every room of the house, floor by floor: imports go down, or stay on a floor without a circle.
LAYERS = [
    ["_core", "_version", "exceptions"],
    ["forms", "ridge", "kernels", "losses", "penalties", "optim", "datasets"],
    ["devices", "gradients", "objectives"],
    ["training"],
    [
        "binarizers",
        "kernel_ridge",
        "end_to_end",
        "cross_fitted",
        "dfa",
        "rules",
        "discrete",
        "displays",
    ],
    [""],  # the front door
    ["deploy"],
    ["comparison"],
    ["command", "__main__"],
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
# Where a library may be imported at the top of a module (of a room, or of one module of it);
# inside functions it may be anywhere in its own layer. Empty: nowhere.
AT_THE_TOP = {
    "torch": {
        "_core.tensors",
        "_core.torch_needed",
        "_core.torch_state",
        "losses",
        "penalties",
        "optim",
        "forms.quadratic",
        "forms.intensities",
        "forms.moments",
        "gradients",
        "objectives",
        "training",
        "binarizers.tied_autoencoder",
        "kernel_ridge.gamma",
        "cross_fitted.training",
        "dfa.encoder",
        "dfa.feedback",
        "dfa.network",
        "dfa.training",
        "rules.network",
        "rules.training",
        "discrete.layers",
        "discrete.training",
        "discrete.autoencoder_network",
        "discrete.autoencoder_training",
    },
    "matplotlib": set(),
    "pandas": set(),
    "dask": set(),
}
FORBIDDEN = {"tensorflow", "jax", "sympy"}
VENDORS = {"lightonml": "devices.lighton"}  # the one module that may, inside a function


def modules():
    """Every module of the package: dotted name below skopu, and its syntax tree."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        yield name, ast.parse(path.read_text())


def imported(node):
    """Dotted names that an import statement brings in; none for other nodes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
    return []


def edges():
    """Imports inside the package, as pairs of dotted names of modules."""
    names = {name for name, _ in modules()}
    for name, tree in modules():
        for node in ast.walk(tree):
            for target in imported(node):
                if target.split(".")[0] != "skopu":
                    continue
                below = target.removeprefix("skopu").lstrip(".")
                while below not in names:
                    below = below.rpartition(".")[0]
                if below != name:
                    yield name, below


def test_every_module_has_a_layer():
    assert {name.split(".")[0] for name, _ in modules()} == set(LAYER)


def drawn():
    """Floors of the map in ``contributing.rst``: lists of rooms with their sentences."""
    text = MAP.read_text().partition("\nRooms\n")[2].partition("\nOne method is one room")[0]
    floors = re.split(r"(?m)^\*\*.+\*\*$", text)[1:]
    room = re.compile(r"(?m)^   ``(\S+)``\n      (.+)$")
    return [room.findall(floor.replace("\\", "")) for floor in floors]


def heads():
    """First line of the docstring of every room: a folder, or a module at the top level."""
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.rglob("__init__.py")}
    return {
        name or "skopu": ast.get_docstring(tree).splitlines()[0]
        for name, tree in modules()
        if name in folders or "." not in name
    }


def test_the_map_is_drawn_as_the_house_is():
    """Oracle: the source. Floors as in ``LAYERS``, every room with the first line of its head."""
    rooms = [[name.partition(".")[0] for name, _ in floor] for floor in drawn()]
    floors = [[name or "skopu" for name in names] for names in LAYERS]
    assert [list(dict.fromkeys(names)) for names in rooms] == floors
    assert dict(room for floor in drawn() for room in floor) == heads()


def test_imports_go_downward():
    for importer, imported_module in edges():
        upper, lower = importer.split(".")[0], imported_module.split(".")[0]
        assert LAYER[lower] <= LAYER[upper], f"{importer} imports {imported_module}, above it"


def test_there_are_no_cycles():
    graph = {}
    for importer, imported_module in edges():
        graph.setdefault(importer, set()).add(imported_module)

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        for target in graph.get(name, ()):
            visit(target, [*path, name])

    for name in list(graph):
        visit(name, [])


def test_libraries_stay_where_they_belong():
    for name, tree in modules():
        for node in tree.body:
            for target in imported(node):
                library = target.split(".")[0]
                allowed = AT_THE_TOP.get(library)
                may = allowed is None or {name, name.split(".")[0]} & allowed
                assert may, f"{name}: {library}"
                assert library not in VENDORS, f"{name}: {library}"
        for node in ast.walk(tree):
            for target in imported(node):
                library = target.split(".")[0]
                assert library not in FORBIDDEN, f"{name}: {target}"
                assert VENDORS.get(library, name) == name, f"{name}: {target}"


def test_nothing_prints_outside_the_command_line():
    for name, tree in modules():
        if name.startswith(("comparison", "command")):
            continue
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [call for call in calls if getattr(call.func, "id", "") == "print"], name


def test_import_is_light():
    """Beside scikit-learn's modules, importing skopu takes less than 0.3 s and no torch."""
    script = (
        "import time, sys, sklearn, sklearn.ensemble, sklearn.gaussian_process, "
        "sklearn.kernel_approximation, sklearn.pipeline; start = time.process_time(); "
        "import skopu; print(time.process_time() - start, 'torch' in sys.modules)"
    )
    best = min(_run(script) for _ in range(3))
    assert best < 0.3


def _run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    seconds, has_torch = done.stdout.split()
    assert has_torch == "False"
    return float(seconds)


@pytest.mark.parametrize("name", skopu.__all__)
def test_public_names_exist(name):
    assert getattr(skopu, name).__doc__


def test_only_public_names_are_offered():
    """Oracle: the estimators, and the modules that ``doc/api.rst`` describes."""
    public = {"datasets", "deploy", "devices", "exceptions", "gradients", "kernels", "optim"}
    public.add("penalties")
    assert set(dir(skopu)) == {*skopu.__all__, *public}


@pytest.mark.parametrize("name", ["datasets", "devices", "gradients"])
def test_public_modules_are_there_without_an_import_of_their_own(name):
    script = f"import skopu; print(skopu.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == [f"skopu.{name}"]


def test_type_checkers_see_the_same_names():
    """Oracle: the table of the lazy front door."""
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    seen = {alias.asname: node.module for node in stub.body for alias in node.names}
    places = {name: f"skopu.{place}" for name, place in skopu._ESTIMATORS.items()}
    modules = dict.fromkeys(skopu._MODULES, "skopu")
    assert seen == {"__version__": "skopu._version", **places, **modules}
    assert (ROOT / "py.typed").exists()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'penalty_scan'"):
        skopu.penalty_scan  # noqa: B018
