"""All commands of the page "What the papers claim", one after another, at one commit.

Each command that stands in a row of ``doc/user_guide/claims.rst`` is run once, in the given folder,
and what it prints is kept there, in a file of its own; ``claims.jsonl`` has the command, the
commit, the seconds and the exit status. One that ended well at this commit is not run again, so
that a run which was cut goes on. Tests are left to the suite. To be run before a release; the
figures of the page are then those of the files.

    SKOPU_DATA=folder python benchmarks/claims.py results --but candidates     # hours
    SKOPU_DATA=folder python benchmarks/claims.py results --only rules mac
    python benchmarks/claims.py results --list
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from protocol import read_entries
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "doc" / "user_guide" / "claims.rst"


def main(argv=None):
    options = make_parser().parse_args(argv)
    commands = [command for command in commands_of(PAGE.read_text()) if is_asked(command, options)]
    if options.list:
        print("\n".join(commands))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    kept, commit = options.folder / "claims.jsonl", commit_here()
    here = [entry for entry in read_entries(kept) if entry["commit"] == commit]
    done = {entry["command"] for entry in here if not entry["status"]}
    for command in (bar := tqdm([c for c in commands if c not in done], unit="command")):
        bar.set_postfix_str(command)
        entry = {"commit": commit, **run(command, options.folder)}
        with kept.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if entry["status"]:
            bar.write(f"exit status {entry['status']}: {command}")


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of what is printed")
    parser.add_argument("--only", nargs="+", metavar="PART", help="commands that hold one of these")
    parser.add_argument("--but", nargs="+", metavar="PART", default=[], help="not those with these")
    parser.add_argument("--list", action="store_true", help="only print the commands")
    return parser


def is_asked(command, options):
    """Whether the options ask for a command."""
    is_named = not options.only or any(part in command for part in options.only)
    return is_named and not any(part in command for part in options.but)


def rows_of(page):
    """Yield the cells of each row of the page's tables, but for those of the headers."""
    for table in page.split(".. list-table::")[1:]:
        body = re.split(r"(?m)^\S", table[table.index("   * - ") :])[0]
        for row in re.findall(r"(?ms)^   \* - .*?(?=^   \* - |\Z)", body)[1:]:
            cells = re.findall(r"(?ms)^ +(?:\* )?- (.*?)(?=^ +(?:\* )?- |\Z)", row)
            yield [" ".join(cell.split()).replace("\\-", "-") for cell in cells]  # a dash alone


def commands_of(page):
    """Return the commands of the rows' fourth cells, each once, in their order.

    ``S/`` and ``python benchmarks/`` begin a script's, and ``--option`` is the one before with
    another option: that of the row above too, where the cell begins with "the same".
    """
    commands, last = {}, None
    for _, _, _, cell, *_ in rows_of(page):
        if not cell.startswith(("the same", "the command of the row above")):
            last = None
        for literal in re.findall(r"``(.*?)``", cell):
            if script := re.match(r"(?:S/|python benchmarks/)(\S+\.py.*)", literal):
                last = script[1]
                commands[last] = None
            elif literal.startswith("--") and last:
                commands[f"{last} {literal}"] = None
    return list(commands)


def commit_here():
    """Return the commit of the working tree, with a plus if anything has changed since."""

    def git(*arguments):
        asked = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return asked.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "skopu", "benchmarks")
    return git("rev-parse", "--short=7", "HEAD") + "+" * bool(changed)


def run(command, folder):
    """Run a command; return it with its seconds, its exit status and the file of its output."""
    script, *arguments = command.split()
    name = re.sub(r"\W+", "-", command.replace(".py", "")) + ".txt"
    start = time.perf_counter()
    with (folder / name).open("w") as output:
        path = ROOT / "benchmarks" / script
        done = subprocess.run([sys.executable, path, *arguments], cwd=folder, stdout=output)
    seconds = round(time.perf_counter() - start, 1)
    return {"command": command, "seconds": seconds, "status": done.returncode, "output": name}


if __name__ == "__main__":
    main()
