"""Two packages side by side: the source of a revision, and a copy of the working tree."""

import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Tree(NamedTuple):
    """One of the two packages."""

    label: str
    folder: Path
    content: str  # of the source: what a measurement on file must have been made with


def extract(revision, folder):
    """Return the package as it was in a revision."""
    archive = _git("archive", revision, "skopu")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return Tree(_git("describe", "--always", revision).decode().strip(), folder, digest(folder))


def copy_here(folder):
    """Return the package as it is now: a copy, since a run is long and people go on working."""
    shutil.copytree(ROOT / "skopu", folder / "skopu", ignore=shutil.ignore_patterns("__pycache__"))
    return Tree("working tree", folder, digest(folder))


def _git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True).stdout


def digest(folder):
    """Hash of the source."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()[:12]
