"""The format of recordings: codes and the frames that answered them, in one file.

The file is a line that says what it is, then blocks. A block is one line of JSON, then three
payloads compressed by zlib: a digest of each question, 16 bytes; the codes, eight bits a byte;
the frames, little-endian floats. A header holds the SHA-256 of the block before it, and that of
itself and its payloads, so that a changed, moved or missing block is noticed.

Blocks are only ever added at the end, or taken away from it: whatever goes wrong, what was written
before stays as it is. SQLite was tried in the place of this. With its journal, a call waits 24 ms
for the disk (1 ms here); without, a power cut may take the whole file; with its write-ahead log, a
part of the recording lies in a second file, which a copy would leave behind.
"""

import hashlib
import json
import os
import warnings
import zlib
from typing import NamedTuple

import numpy as np

from skopu.exceptions import RecordingError, RecordingWarning

_MAGIC = b"skopu recording 1\n"
_MAX_HEADER = 4096
_FIELDS = {"shape", "dtype", "n_bits", "sizes", "facts", "before", "sha256"}
_DTYPES = {"float32": 4, "float64": 8}
_DIGEST_BYTES = 16
_MOST_DEFLATED = 1032  # bytes that one of zlib can stand for
_LEVEL = 1  # of zlib: frames of a camera shrink by half, and no further with more effort
# Room that a file system gave before a power cut kept the data from it reads as zeros; no block
# ends so, since zlib ends with a checksum.
_UNWRITTEN = bytes(16)


class Block(NamedTuple):
    """What a header says, and where its payloads begin."""

    header: dict
    start: int

    @property
    def shape(self):
        """Frames and pixels."""
        return tuple(self.header["shape"])

    @property
    def end(self):
        """Where the next block begins."""
        return self.start + sum(self.header["sizes"])

    @property
    def lengths(self):
        """Bytes of the three payloads before compression."""
        n_frames, n_pixels = self.shape
        n_code_bytes = -(-self.header["n_bits"] // 8)
        return (
            _DIGEST_BYTES * n_frames,
            n_code_bytes * n_frames,
            _DTYPES[self.header["dtype"]] * n_pixels * n_frames,
        )


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
    return hashlib.blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()


def begin(facts):
    """Return the bytes that a file begins with, and the checksum of its first block.

    Parameters
    ----------
    facts : dict
        About the device.
    """
    nothing = np.zeros((0, 0), dtype=np.float32)
    block, chain = make_block([], nothing, nothing.astype(np.uint8), "", facts)
    return _MAGIC + block, chain


def make_block(digests, frames, codes, before, facts=None):
    """Return the bytes of a block and its checksum.

    Parameters
    ----------
    digests : list of bytes
        What was asked, for each frame.
    frames : ndarray of shape (n, P), dtype float32 or float64
    codes : ndarray of shape (n, k), dtype uint8
    before : str
        Checksum of the block before.
    facts : dict or None, default=None
    """
    stored = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
    payloads = b"".join(digests), np.packbits(codes, axis=1).tobytes(), stored.tobytes()
    payloads = [zlib.compress(data, _LEVEL) for data in payloads]
    header = {
        "shape": list(frames.shape),
        "dtype": frames.dtype.name,
        "n_bits": codes.shape[1],
        "sizes": [len(data) for data in payloads],
        "facts": facts or {},
        "before": before,
    }
    payload = b"".join(payloads)
    header["sha256"] = _checksum(header, payload)
    return json.dumps(header).encode() + b"\n" + payload, header["sha256"]


def _checksum(header, payload):
    fields = json.dumps(header, sort_keys=True).encode()
    return hashlib.sha256(fields + payload).hexdigest()


class FrameReader:
    """Finds frames in a file, after checking all of it.

    Parameters
    ----------
    path : str or path-like
    may_be_empty : bool, default=False
        Whether a file that breaks off in its first block is taken.

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

    def __init__(self, path, may_be_empty=False):
        self.path = os.path.abspath(path)
        self.blocks, self.index, self.facts, self.chain = [], {}, {}, ""
        self._kept = (None, None)
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(len(_MAGIC))
            if not _MAGIC.startswith(head):
                raise RecordingError(f"{self.path} is not a recording of RecordingOPU.")
            self.end = len(head)
            while self.end < size and self._read_block(file, size):
                self.end = file.tell()
        if not self.blocks and not may_be_empty:
            raise RecordingError(f"{self.path} breaks off before its first block: it is empty.")
        if self.end < size:
            warnings.warn(
                f"{self.path} ends in the middle of block {len(self.blocks)}, as after a crash: "
                f"the {len(self.blocks)} blocks before it are used.",
                RecordingWarning,
                stacklevel=4,
            )

    def frame(self, number, row):
        """Return one frame of a block, shape (P,)."""
        if self._kept[0] != number:
            self._kept = (number, self.frames(number))
        return self._kept[1][row]

    def codes(self, number):
        """Return the codes of a block, (n, k)."""
        block = self.blocks[number]
        packed = np.frombuffer(self._payload(number, 1), dtype=np.uint8)
        rows = packed.reshape(block.shape[0], -1)
        return np.unpackbits(rows, axis=1, count=block.header["n_bits"])

    def frames(self, number):
        """Return the frames of a block, (n, P)."""
        block = self.blocks[number]
        dtype = np.dtype(block.header["dtype"])
        values = np.frombuffer(self._payload(number, 2), dtype.newbyteorder("<"))
        return values.astype(dtype).reshape(block.shape)

    def _payload(self, number, which):
        block = self.blocks[number]
        with open(self.path, "rb") as file:
            file.seek(block.start + sum(block.header["sizes"][:which]))
            data = file.read(block.header["sizes"][which])
        return self._opened(data, block, which, number)

    def _opened(self, data, block, which, number):
        try:
            return _inflate(data, block.lengths[which])
        except ValueError as error:
            raise self._unreadable(number, error) from error

    def _unreadable(self, number, why):
        return RecordingError(f"block {number} of {self.path} cannot be read: {why}.")

    def _read_block(self, file, size):
        """Read the next block; False where the file breaks off."""
        number = len(self.blocks)
        line = file.readline(_MAX_HEADER)
        if not line.endswith(b"\n"):
            return False
        try:
            header = _parse_header(line)
        except ValueError as error:
            raise self._unreadable(number, error) from error
        block = Block(header, file.tell())
        if block.end > size:
            return False
        payload = file.read(block.end - block.start)
        stated = header.pop("sha256")
        if _checksum(header, payload) != stated or header["before"] != self.chain:
            if block.end == size and payload.endswith(_UNWRITTEN):
                return False
            raise RecordingError(
                f"block {number} of {self.path} is not what was recorded: its checksum does not "
                "agree. Use an unchanged copy of the file."
            )
        self._add(block, payload)
        self.chain = stated
        return True

    def _add(self, block, payload):
        number = len(self.blocks)
        if number == 0:
            self.facts = block.header["facts"]
        digests = self._opened(payload[: block.header["sizes"][0]], block, 0, number)
        self.blocks.append(block)
        for row in range(block.shape[0]):
            digest = digests[_DIGEST_BYTES * row : _DIGEST_BYTES * (row + 1)]
            self.index.setdefault(digest, []).append((number, row))


def _parse_header(line):
    """Return the fields of a header line; raise ``ValueError`` where they cannot be.

    Files come from others. No field may make the reader loop, or take memory, beyond what the
    bytes that are really there account for.
    """
    try:
        header = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(header, dict) or set(header) != _FIELDS:
        raise ValueError("fields are missing, or unknown")
    n_frames, n_pixels = _counts(header["shape"], 2)
    sizes = _counts(header["sizes"], 3)
    _counts([header["n_bits"]], 1)
    if header["dtype"] not in list(_DTYPES):
        raise ValueError(f"dtype {header['dtype']!r}")
    _check_facts(header["facts"])
    lengths = Block(header, 0).lengths
    for length, size in zip(lengths, sizes, strict=True):
        if length > _MOST_DEFLATED * size:
            raise ValueError(f"{size} bytes cannot stand for {length}")
    if not n_frames and (n_pixels or header["n_bits"]):
        raise ValueError("no frames, of some size")
    return header


def _counts(values, n):
    if not isinstance(values, list) or [type(value) for value in values] != [int] * n:
        raise ValueError(f"{values!r} in the place of {n} numbers")
    if min(values) < 0:
        raise ValueError(f"{values!r} is negative")
    return values


def _check_facts(facts):
    if not isinstance(facts, dict):
        raise ValueError("facts that are none")
    for name in ("max_bits", "max_components"):
        if facts.get(name) is not None:
            _counts([facts[name]], 1)
    if type(facts.get("floor", 0.0)) not in (int, float):
        raise ValueError("a floor that is no number")


def _inflate(data, length):
    """Return ``length`` bytes; raise ``ValueError`` if the compressed data are not these."""
    worker = zlib.decompressobj()
    try:
        found = worker.decompress(data, length + 1)
    except zlib.error as error:
        raise ValueError("not compressed by zlib") from error
    if len(found) != length or not worker.eof or worker.unused_data:
        raise ValueError(f"not {length} bytes")
    return found
