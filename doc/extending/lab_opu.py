"""A device of one's own: the adapter of a machine with a camera."""

import numpy as np

from skopu.devices import OPUDevice


class LabOPU(OPUDevice):
    """Adapter of a machine.

    Parameters
    ----------
    machine : object
        ``machine.shine(codes)`` returns camera counts, one row for each code and one column for
        each pixel; ``machine.n_mirrors`` and ``machine.n_pixels`` are its size.
    gain : float, default=1.0
        Mean count for one bit of a code.
    """

    def __init__(self, machine, *, gain=1.0):
        self.machine = machine
        self.gain = gain

    @property
    def max_bits(self):
        return self.machine.n_mirrors

    @property
    def max_components(self):
        return self.machine.n_pixels

    def __sklearn_clone__(self):
        return self  # there is one machine: a clone is the machine itself

    def _project(self, codes, n_components):
        counts = self.machine.shine(codes)[:, :n_components]
        return counts.astype(np.float32) / np.float32(self.gain)
