"""A file of codes and the frames that answered them, safe against crashes and changes.

The file is a line that says what it is, then blocks. A block is one line of JSON, then three
payloads compressed by zlib: a digest of each question, 16 bytes; the codes, eight bits a byte;
the frames, little-endian floats. A header holds the SHA-256 of the block before it, and that of
itself and its payloads, so that a changed, moved or missing block is noticed. A block is written
in one go: a crash can only leave the last one incomplete.
"""

import hashlib
import json
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from skopu.exceptions import RecordingError, RecordingWarning

_MAGIC = b"skopu recording 1\n"
_LEVEL = 1  # of zlib: frames of a camera shrink by half, and no further with more effort
_MAX_HEADER = 4096


class Block(NamedTuple):
    """What a header says, and where its payloads begin."""

    header: dict
    start: int

    @property
    def shape(self):
        """Frames and pixels."""
        return tuple(self.header["shape"])


def digest_of(code, n_columns, reference=None):
    """Return 16 bytes that stand for a question: a code, a number of pixels, a reference beam.

    Parameters
    ----------
    code : ndarray of shape (k,), dtype uint8
    n_columns : int
    reference : ndarray or None
    """
    parts = [f"{len(code)} bits, {n_columns} columns:".encode(), np.packbits(code).tobytes()]
    if reference is not None:
        parts.append(np.ascontiguousarray(reference, dtype="<c16").tobytes())
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


class FrameWriter:
    """Appends blocks to a file.

    Parameters
    ----------
    path : Path
    facts : dict
        About the device; in the header of the first block.
    append : bool
        Go on with a file that is there. An incomplete last block is cut off.
    """

    def __init__(self, path, facts, append):
        self._path = Path(path)
        if self._path.exists() and not append:
            raise FileExistsError(
                f"{self._path} exists already: give another path, or append=True to go on with it."
            )
        if self._path.exists():
            reader = FrameReader(self._path)
            self._chain = reader.chain
            if reader.end < self._path.stat().st_size:
                with self._path.open("r+b") as file:
                    file.truncate(reader.end)
            return
        self._chain = ""
        self._path.write_bytes(_MAGIC)
        self.write([], np.zeros((0, 0), dtype=np.float32), np.zeros((0, 0), np.uint8), facts)

    def write(self, digests, frames, codes, facts=None):
        """Append one block: frames (n, P) with what was asked for them."""
        frames = np.asarray(frames)
        stored = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
        keys = zlib.compress(b"".join(digests), _LEVEL)
        bits = zlib.compress(np.packbits(codes, axis=1).tobytes(), _LEVEL)
        data = zlib.compress(stored.tobytes(), _LEVEL)
        header = {
            "shape": list(frames.shape),
            "dtype": frames.dtype.name,
            "n_bits": codes.shape[1],
            "sizes": [len(keys), len(bits), len(data)],
            "facts": facts or {},
            "before": self._chain,
        }
        header["sha256"] = _checksum(header, keys + bits + data)
        line = json.dumps(header).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(line + keys + bits + data)
        self._chain = header["sha256"]


class FrameReader:
    """Finds frames in a file, after checking all of it.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    blocks : list of Block
    index : dict of bytes to list of (int, int)
        Block and row of every answer to a question, in the order in which they came.
    facts : dict
    chain : str
        Checksum of the last block.
    end : int
        Length of the part that is complete.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.blocks, self.index, self.facts, self.chain = [], {}, {}, ""
        with self.path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise RecordingError(f"{self.path} is not a recording of RecordingOPU.")
            self.end = file.tell()
            while self._read_block(file):
                self.end = file.tell()
        if self.end < self.path.stat().st_size:
            warnings.warn(
                f"{self.path} ends in the middle of block {len(self.blocks)}, as after a crash: "
                f"the {len(self.blocks)} blocks before it are used.",
                RecordingWarning,
                stacklevel=4,
            )
        self._kept = (None, None)

    def frame(self, number, row):
        """Return one frame of a block, shape (P,)."""
        if self._kept[0] != number:
            self._kept = (number, self.frames(number))
        return self._kept[1][row]

    def codes(self, number):
        """Return the codes of a block, (n, k)."""
        header = self.blocks[number].header
        packed = np.frombuffer(self._payload(number, 1), dtype=np.uint8)
        rows = packed.reshape(header["shape"][0], -1)
        return np.unpackbits(rows, axis=1, count=header["n_bits"])

    def frames(self, number):
        """Return the frames of a block, (n, P)."""
        dtype = np.dtype(self.blocks[number].header["dtype"])
        values = np.frombuffer(self._payload(number, 2), dtype.newbyteorder("<"))
        return values.astype(dtype).reshape(self.blocks[number].shape)

    def _payload(self, number, which):
        header, start = self.blocks[number]
        with self.path.open("rb") as file:
            file.seek(start + sum(header["sizes"][:which]))
            return zlib.decompress(file.read(header["sizes"][which]))

    def _read_block(self, file):
        """Read the next block; False at the end or where the file breaks off."""
        number = len(self.blocks)
        line = file.readline(_MAX_HEADER)
        if not line.endswith(b"\n"):
            return False
        try:
            header = json.loads(line)
            start, payload = file.tell(), file.read(sum(header["sizes"]))
            if len(payload) < sum(header["sizes"]):
                return False
            stated = header.pop("sha256")
            found, before = _checksum(header, payload), header["before"]
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(f"block {number} of {self.path} cannot be read.") from error
        if found != stated or before != self.chain:
            raise RecordingError(
                f"block {number} of {self.path} is not what was recorded: its checksum does not "
                "agree. Use an unchanged copy of the file."
            )
        self.chain = found
        if number == 0:
            self.facts = header["facts"]
        self.blocks.append(Block(header, start))
        digests = zlib.decompress(payload[: header["sizes"][0]])
        for row in range(header["shape"][0]):
            self.index.setdefault(digests[16 * row : 16 * (row + 1)], []).append((number, row))
        return True


def _checksum(header, payload):
    fields = json.dumps(header, sort_keys=True).encode()
    return hashlib.sha256(fields + payload).hexdigest()
