"""The build of the package in figures, read from the source: rooms, arrows, lengths, comments.

A room is what lies at the top level of the package: a folder, a loose module, or the package's
own ``__init__``, the front door. An arrow is a pair of rooms of which the first imports from the
second. The length of a function is the number of lines with code in its body without docstring.

    python benchmarks/structure.py                    # the working tree
    python benchmarks/structure.py 5c78cc4 HEAD       # revisions, a column each
"""

import argparse
import ast
import io
import tempfile
import tokenize
from pathlib import Path
from typing import NamedTuple

import numpy as np
from trees import copy_here, extract


class Module(NamedTuple):
    """A file of the package."""

    name: str  # dotted, below the package
    text: str

    @property
    def room(self):
        """The folder or loose module at the top level that it is, or lies in."""
        return self.name.partition(".")[0]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revisions", nargs="*", help="of git; default: the working tree")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, str(i)) for i in range(max(1, len(options.revisions)))]
        trees = list(map(extract, options.revisions, folders)) or [copy_here(folders[0])]
        columns = [figures(read(tree.folder / "skopu")) for tree in trees]
    print(f"| | {' | '.join(tree.label for tree in trees)} |\n|---|{'---:|' * len(trees)}")
    for label in columns[0]:
        print(f"| {label} | {' | '.join(column[label] for column in columns)} |")


def read(root):
    """Return the modules of a package."""
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        modules.append(Module(name, path.read_text()))
    return modules


def figures(modules):
    """Return the rows of the table."""
    functions = [length for module in modules for length in body_lengths(module.text)]
    files = [len(module.text.splitlines()) for module in modules]
    comments = sum(map(comment_lines, (module.text for module in modules)))
    return {
        "rooms": str(len(rooms(modules))),
        "arrows between rooms": str(len(arrows(modules))),
        "modules": str(len(modules)),
        "lines": f"{sum(files):,}",
        "lines of a file: median, 90 %, most": spread(files),
        "functions": f"{len(functions):,}",
        "lines of a function: median, 90 %, most": spread(functions),
        "comment lines": f"{comments} ({comments / sum(files):.1%})",
    }


def rooms(modules):
    """Return the names at the top level; that of the front door is empty."""
    return {module.room for module in modules}


def arrows(modules):
    """Return pairs of rooms of which the first imports from the second."""
    known = rooms(modules)
    pairs = set()
    for module in modules:
        for target in imports(module.text):
            package, _, below = target.partition(".")
            room = below.partition(".")[0]
            room = room if room in known else ""  # a name that the front door offers
            if package == "skopu" and room != module.room:
                pairs.add((module.room, room))
    return pairs


def imports(text):
    """Yield dotted names of what a module imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def body_lengths(text):
    """Yield the number of lines with code in the body of each function."""
    code = code_lines(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                yield len(code & set(range(body[0].lineno, node.end_lineno + 1)))


def code_lines(text):
    """Return the numbers of the lines that hold more than a comment."""
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    spans = [(t.start[0], t.end[0]) for t in tokens if t.type not in nothing]
    return {line for first, last in spans for line in range(first, last + 1)}


def comment_lines(text):
    """Count the lines that hold a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def spread(lengths):
    """Return the median, the ninetieth percentile and the largest."""
    return ", ".join(f"{value:.0f}" for value in (*np.percentile(lengths, [50, 90]), max(lengths)))


if __name__ == "__main__":
    main()
