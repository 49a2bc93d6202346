"""Results on disk: one line of JSON for each fit, appended as it ends."""

import json
import os
import warnings
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from skopu.comparison.runner import Record


class Results:
    """Records of fits in a file; those that are there need not be made again.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist.
    settings : Settings
        A record counts only if it was made with the same settings.
    max_rows : int or None
        The same for the rows kept of a set.
    """

    def __init__(self, path, settings, max_rows):
        self.path = Path(path)
        self._key = {**asdict(settings), "max_rows": max_rows}

    def read(self):
        """Return the records made with these settings; of repeated ones, the last."""
        if not self.path.exists():
            return []
        found, n_torn = {}, 0
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                is_mine = entry.pop("settings") == self._key
                record = Record(**{**entry, "warnings": tuple(entry["warnings"])})
            except (ValueError, TypeError, KeyError, AttributeError):
                n_torn += bool(line.strip())  # the end of a run that was cut
                continue
            if is_mine:
                found[record.problem, record.method, record.split] = record
        if n_torn:
            warnings.warn(
                f"{self.path}: {n_torn} line(s) are no record and were skipped: a run was cut "
                "while it wrote, and makes these fits again.",
                stacklevel=2,
            )
        return list(found.values())

    def append(self, record):
        """Write one record, in one piece, on a line of its own."""
        line = json.dumps({**record._asdict(), "settings": self._key}) + "\n"
        with _locked(self.path) as file:
            # A run that was cut while it wrote left a line without an end.
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _locked(path):
    """Open a file for appending; another run that appends waits."""
    with path.open("a+b", buffering=0) as file:
        try:
            import fcntl
        except ImportError:  # elsewhere than on POSIX, appends of one piece have to do
            yield file
            return
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
        yield file
