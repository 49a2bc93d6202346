"""A device of one's own: the adapter of a machine with a camera."""

import numpy as np

from skopu.devices import MachineOPU


class LabOPU(MachineOPU):
    """Adapter of a machine.

    Parameters
    ----------
    machine : object
        ``machine.shine(codes)`` returns camera counts, one row for each code and one column for
        each pixel; ``machine.n_mirrors`` and ``machine.n_pixels`` are its size.
    gain : float, default=1.0
        Mean count for one bit of a code.
    """

    max_batch = 1000  # codes that the machine is given at a time

    def __init__(self, machine, *, gain=1.0):
        self.machine = machine
        self.gain = gain

    max_bits = property(lambda self: self.machine.n_mirrors)
    max_components = property(lambda self: self.machine.n_pixels)
    count = property(lambda self: 1 / self.gain)
    full_scale = property(lambda self: 255 / self.gain)

    def _project(self, codes, n_components):
        counts = self.machine.shine(codes)[:, :n_components]
        return counts.astype(np.float32) / np.float32(self.gain)
