"""Writing a recording: each call whole or not at all, whatever happens in between."""

import os
import time
import weakref
from contextlib import suppress

from skopu.devices.frame_file import FrameReader, begin, make_block

_SECONDS = 1.0  # between two times that the disk is waited for: what a power cut may cost


class FrameWriter:
    """Appends blocks to a file that belongs to it alone.

    Where the file ends is known here, and nothing else counts: what a full disk or Ctrl-C has
    left behind it is cut off by the next write.

    Parameters
    ----------
    path : str or path-like
    facts : dict
        About the device; in the header of the first block.
    append : bool
        Go on with a file that is there. An incomplete last block is cut off.
    """

    def __init__(self, path, facts, append):
        self._path = os.path.abspath(path)
        self._file = self._open(append)
        self._close = weakref.finalize(self, os.close, self._file)
        self._pid, self._synced = os.getpid(), time.monotonic()
        self._lock()
        # Where what counts ends, and the checksum of the last block.
        self._state = 0, ""
        if append and (reader := FrameReader(self._path, may_be_empty=True)).blocks:
            self._state = reader.end, reader.chain
        else:
            self._append(*begin(facts))

    def _open(self, append):
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            return os.open(self._path, flags | (0 if append else os.O_EXCL), 0o666)
        except FileExistsError:
            raise FileExistsError(
                f"{self._path} exists already: give another path, or append=True to go on with it."
            ) from None

    def close(self):
        """Let go of the file."""
        self._close()

    def mark(self):
        """Return what ``take_back`` takes."""
        return self._state

    def take_back(self, mark):
        """Forget the blocks written since a mark."""
        if self._state != mark:
            self._state = mark
            os.ftruncate(self._file, mark[0])

    def write(self, digests, frames, codes):
        """Append one block: frames (n, P) with what was asked for them."""
        if os.getpid() != self._pid:
            raise OSError(f"{self._path} is written by another process, of which this is a copy.")
        if not os.fstat(self._file).st_nlink:
            raise OSError(f"{self._path} has been removed, and what is written would be lost.")
        self._append(*make_block(digests, frames, codes, self._state[1]))

    def _append(self, data, chain):
        end = self._state[0]
        try:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            rest = memoryview(data)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[os.write(self._file, rest) :]
            if time.monotonic() - self._synced > _SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._file, end)
            raise
        # One assignment: before it the block is none, after it the block is whole.
        self._state = end + len(data), chain

    def _lock(self):
        """Keep other writers away while the file is open; the system lets go after a crash."""
        try:
            _try_to_lock(self._file)
        except OSError as error:
            self._close()
            raise OSError(
                f"{self._path} is being written by another RecordingOPU: close() that one, or give "
                "another path. One file is one experiment."
            ) from error


def _try_to_lock(file):
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(file, 2**62, os.SEEK_SET)  # a byte that nobody reads
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
