"""Results on disk: one line of JSON for each fit, appended as it ends."""

import json
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
        found = {}
        for line in self.path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the end of a run that was cut
            if entry.pop("settings") == self._key:
                entry["warnings"] = tuple(entry["warnings"])
                record = Record(**entry)
                found[record.problem, record.method, record.split] = record
        return list(found.values())

    def append(self, record):
        """Write one record."""
        with self.path.open("a") as file:
            file.write(json.dumps({**record._asdict(), "settings": self._key}) + "\n")
