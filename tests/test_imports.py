"""The structure of the package, read from its source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skopu

ROOT = Path(skopu.__file__).parent
LAYERS = [
    [
        "exceptions",
        "_random",
        "_dask",
        "_tensors",
        "_validation",
        "_version",
        "_parts",
        "_rows",
        "_targets",
        "_scaling",
        "_temperature",
    ],
    [
        "kernels",
        "quantized_gram",
        "normal_equations",
        "penalty_scan",
        "ridge",
        "cross_fitting",
        "losses",
        "penalties",
        "optim",
        "devices",
        "_expansion",
        "datasets",
    ],
    ["nn", "gradients", "objectives"],
    ["training"],
    [
        "_features",
        "_binarizer",
        "_kernel_ridge",
        "_end_to_end",
        "_cross_fitted",
        "_binary_mlp",
        "_dfa",
        "_rules",
        "_autoencoder",
        "_display",
        "baselines",
    ],
    [""],  # the front door
    ["comparison"],
    ["__main__"],
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
# Where a library may be imported at the top of a module; inside functions it may be anywhere
# in its own layer. None: nowhere.
AT_THE_TOP = {
    "torch": {
        "_tensors",
        "losses",
        "penalties",
        "optim",
        "nn",
        "gradients",
        "objectives",
        "training",
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
                assert allowed is None or name.split(".")[0] in allowed, f"{name}: {library}"
                assert library not in VENDORS, f"{name}: {library}"
        for node in ast.walk(tree):
            for target in imported(node):
                library = target.split(".")[0]
                assert library not in FORBIDDEN, f"{name}: {target}"
                assert VENDORS.get(library, name) == name, f"{name}: {target}"


def test_nothing_prints_outside_the_command_line():
    for name, tree in modules():
        if name.startswith("comparison"):
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
