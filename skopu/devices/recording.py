"""Hardware experiments on file: recording a device, and replaying the record."""

import os

import numpy as np

from skopu.devices.base import OPUDevice
from skopu.devices.frame_file import FrameReader, digest_of
from skopu.devices.frame_writer import FrameWriter
from skopu.devices.wrapper import WrappedOPU
from skopu.exceptions import NotRecordedError


class RecordingOPU(WrappedOPU):
    """Write all codes and answers of a device to a file, from which they can be replayed.

    An experiment made with it can be repeated without the device, to the last bit: the same
    estimators with the same seeds, given ``ReplayOPU(path)``, ask for the same codes and are given
    the same frames. Interferograms are recorded too.

    Each call appends a block with a checksum. A crash, a full disk or Ctrl-C loses no earlier
    one, a power cut at most those of the last second. A call that fails, or whose answer a
    :class:`GuardedOPU` around this one refuses, leaves nothing. Nothing in the file is executed
    when it is read. A camera's frames take about 1.5 bytes a pixel.

    The matrix of the device is kept to itself even where it is known, so that every answer is
    one of the device (``known_matrix`` and ``computable`` are False). A clone is the same object;
    a pickle is refused, since two processes cannot write one file.

    Parameters
    ----------
    opu : OPUDevice, str or None, default=None
        The device, used itself and not a clone; None: ``SimulatedOPU()``.
    path : str or path-like
        The file, made by the first call. It belongs to this object, until ``close``: another
        RecordingOPU is refused, in this process or any other.
    append : bool, default=False
        Go on with a file that is there; otherwise an existing file is refused.

    Attributes
    ----------
    n_passes : int
        Codes projected so far.

    See Also
    --------
    ReplayOPU : Answers from the file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from skopu.devices import RecordingOPU, ReplayOPU
    >>> path = pathlib.Path(tempfile.mkdtemp(), "experiment.skopu")
    >>> codes = np.array([[1, 0, 1], [0, 1, 1]])
    >>> answers = RecordingOPU("simulated", path).project(codes, 5)
    >>> bool((ReplayOPU(path).project(codes, 5) == answers).all())
    True
    """

    known_matrix = False
    computable = False
    # From the matrix, which is not told.
    expected_intensities = OPUDevice.expected_intensities
    intensity_form = OPUDevice.intensity_form
    _parameter_constraints = {
        **WrappedOPU._parameter_constraints,
        "path": [str, os.PathLike],
        "append": ["boolean"],
    }

    def __init__(self, opu=None, path=None, *, append=False):
        self.opu = opu
        self.path = path
        self.append = append

    def matrix(self, n_bits, n_components):
        """Raise: the matrix is not known to those who replay, so not to those who record.

        Parameters
        ----------
        n_bits, n_components : int
            k and D.
        """
        return OPUDevice.matrix(self, n_bits, n_components)

    def check_size(self, n_bits, n_components, n_free=0):
        """Raise if the device is too small, or if the file cannot be written.

        Parameters
        ----------
        n_bits, n_components : int
            k and D.
        n_free : int, default=0
            How many of the components will not be asked of the device.
        """
        self._writer()
        super().check_size(n_bits, n_components, n_free)

    def close(self):
        """Let go of the file, for another RecordingOPU to go on with."""
        if (writer := self.__dict__.pop("_kept_writer", None)) is not None:
            writer.close()

    def _mark(self):
        return self._writer().mark(), super()._mark()

    def _take_back(self, mark):
        self._writer().take_back(mark[0])
        super()._take_back(mark[1])

    def _project(self, codes, n_components):
        return self._record(lambda: super(RecordingOPU, self)._project(codes, n_components), codes)

    def _interfere(self, codes, n_components, reference, n_pixels):
        def ask():
            return super(RecordingOPU, self)._interfere(codes, n_components, reference, n_pixels)

        return self._record(ask, codes, reference)

    def _record(self, ask, codes, reference=None):
        # A call that fails leaves nothing: it will be repeated, and so will its replay.
        frames = ask()
        beams = [_row(reference, number, len(codes)) for number in range(len(codes))]
        digests = [digest_of(code, frames.shape[1], beam) for code, beam in zip(codes, beams)]
        self._writer().write(digests, frames, codes)
        return frames

    def _writer(self):
        if not hasattr(self, "_kept_writer"):
            inner = self._inner()
            facts = {
                "device": type(inner).__name__,
                "max_bits": inner.max_bits,
                "max_components": inner.max_components,
                "floor": inner.floor,
            }
            self._kept_writer = FrameWriter(self.path, facts, self.append)
        return self._kept_writer

    def __getstate__(self):
        raise TypeError(
            "a RecordingOPU writes one file and cannot be pickled. To save an estimator, put a "
            "ReplayOPU of the file or None in the place of its device (opu, and opu_ on its "
            "fitted parts). Use n_jobs=1 or threads instead of processes."
        )


class ReplayOPU(OPUDevice):
    """Answer from a recording.

    A code that was recorded several times, with several answers if there is noise, is given
    these in turn, and the first one again after the last. A clone is the same object, so that an
    experiment of several steps is given the answers of each step; ``rewind`` starts over.

    Fewer components than were recorded are the first ones of the record.

    Parameters
    ----------
    path : str or path-like
        The file. It is read, and all of it checked, by the first call.

    Attributes
    ----------
    n_passes : int
        Codes answered so far.

    See Also
    --------
    RecordingOPU : Makes the file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from skopu.devices import Camera, RecordingOPU, ReplayOPU, SimulatedOPU
    >>> path = pathlib.Path(tempfile.mkdtemp(), "experiment.skopu")
    >>> noisy = RecordingOPU(SimulatedOPU(camera=Camera()), path)
    >>> first, second = noisy.project(np.eye(2), 5), noisy.project(np.eye(2), 5)
    >>> replay = ReplayOPU(path)
    >>> again = replay.project(np.eye(2), 5), replay.project(np.eye(2), 5)
    >>> bool((again[0] == first).all() and (again[1] == second).all())
    True
    >>> replay.project(np.ones((1, 2)), 5)
    Traceback (most recent call last):
        ...
    skopu.exceptions.NotRecordedError: ReplayOPU at pass 5: code 1 of the 1 of this call, with 2
    of 2 bits set, was never recorded with 5 components in 'experiment.skopu'. Repeat the
    experiment with the same data, parameters, seeds and version, or record this one with the
    device.
    """

    def __init__(self, path):
        self.path = path

    def __sklearn_clone__(self):
        return self

    @property
    def max_bits(self):
        """Largest k of the device that was recorded."""
        return self._reader().facts.get("max_bits")

    @property
    def max_components(self):
        """Largest D of the device that was recorded."""
        return self._reader().facts.get("max_components")

    @property
    def floor(self):
        """Least intensity of the device that was recorded."""
        return self._reader().facts.get("floor", 0.0)

    def rewind(self):
        """Start over with the first answers."""
        self.__dict__.pop("_turns", None)

    def calls(self):
        """Yield the codes (n, k) and the frames (n, P) of each recorded call, to be analysed."""
        reader = self._reader()
        for number in range(1, len(reader.blocks)):
            yield reader.codes(number), reader.frames(number)

    def _project(self, codes, n_components):
        return self._answer(codes, n_components)

    def _interfere(self, codes, n_components, reference, n_pixels):
        return self._answer(codes, n_pixels, reference)

    def _answer(self, codes, n_columns, reference=None):
        frames, turns = [], self.__dict__.setdefault("_turns", {})
        reader, ahead = self._reader(), {}
        widths = [n_columns]
        if reference is None:
            widths += [width for width in self._widths if width > n_columns]
        for number, code in enumerate(codes):
            for width in widths:
                digest = digest_of(code, width, _row(reference, number, len(codes)))
                if found := reader.index.get(digest):
                    break
            else:
                self._refuse(code, number, len(codes), n_columns, frames)
            turn = ahead.get(digest, turns.get(digest, 0))
            ahead[digest] = turn + 1
            frames.append(reader.frame(*found[turn % len(found)])[:n_columns])
        turns.update(ahead)  # at the end: a call that is refused takes no turn
        return np.array(frames).reshape(len(codes), n_columns)

    def _refuse(self, code, number, n_codes, n_columns, frames):
        name = os.path.basename(self.path)
        raise NotRecordedError(
            f"ReplayOPU at pass {self.n_passes + number + 1}: code {number + 1} of the {n_codes} "
            f"of this call, with {code.sum()} of {len(code)} bits set, was never recorded with "
            f"{n_columns} components in {name!r}. Repeat the experiment with the same data, "
            "parameters, seeds and version, or record this one with the device.",
            device="ReplayOPU",
            n_passes=self.n_passes,
            partial=np.array(frames) if frames else None,
        )

    def _reader(self):
        with self._meter.lock:
            if not hasattr(self, "_kept_reader"):
                self._kept_reader = FrameReader(self.path)
                shapes = {block.shape for block in self._kept_reader.blocks}
                self._widths = sorted({width for _, width in shapes})
        return self._kept_reader

    def __getstate__(self):
        # The file is read again where the pickle is opened, and its answers go on in turn.
        state = super().__getstate__().copy()
        for name in ("_kept_reader", "_widths"):
            state.pop(name, None)
        return state


def _row(reference, number, n_codes):
    """Return the reference beam of one frame."""
    if reference is None or np.ndim(reference) < 2:
        return reference
    return reference[number] if len(reference) == n_codes else reference[0]
