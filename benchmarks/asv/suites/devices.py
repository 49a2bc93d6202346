"""Time and peak memory of simulated devices."""

import numpy as np

from skopu import OPURandomFeatures
from skopu.devices import SimulatedOPU


def random_codes(n_codes, n_bits):
    """Codes with half of their bits on."""
    return np.random.default_rng(0).integers(0, 2, size=(n_codes, n_bits), dtype=np.uint8)


class Projection:
    """A device whose matrix exists, or does not fit."""

    params = (["gaussian", "structured"], [(1000, 64, 1024), (1000, 784, 4096), (200, 5000, 5000)])
    param_names = ("medium", "n, k, D")

    def setup(self, medium, size):
        """Make the matrix."""
        n_codes, n_bits, self.n_components = size
        self.codes = random_codes(n_codes, n_bits)
        self.device = SimulatedOPU(medium=medium, n_jobs=1)
        self.device.project(self.codes, self.n_components)

    def time_project(self, medium, size):
        """Project into a new array."""
        self.device.project(self.codes, self.n_components)

    def time_project_one_code(self, medium, size):
        """Project what training sends when it is slow."""
        self.device.project(self.codes[:1], self.n_components)

    def peakmem_project(self, medium, size):
        """Project, the matrix and the codes included."""
        self.device.project(self.codes, self.n_components)


class MatrixThatDoesNotFit:
    """A Gaussian matrix made again in every call."""

    def setup(self):
        """Make codes."""
        self.codes = random_codes(2048, 20_000)
        self.device = SimulatedOPU(max_memory=0, n_jobs=1)

    def time_project(self):
        """Project to one row of tiles."""
        self.device.project(self.codes, 256)

    def peakmem_project(self):
        """Project to one row of tiles."""
        self.device.project(self.codes, 256)


class Matrix:
    """The first projection: making R."""

    def time_gaussian(self):
        """Make 6.4 million entries."""
        SimulatedOPU(n_jobs=1).project(random_codes(1, 784), 4096)

    def time_structured(self):
        """Make a permutation of 1e5 bits and their phases."""
        SimulatedOPU(medium="structured", n_jobs=1).project(random_codes(1, 100_000), 100_000)


class Features:
    """The transformer on top."""

    params = ["centered", "raw", "exact"]
    param_names = ("form",)

    def setup(self, form):
        """Fit; 2080 features of 64 bits are all products."""
        self.codes = random_codes(5000, 64)
        self.model = OPURandomFeatures(2080, form=form).fit(self.codes)
        self.model.transform(self.codes[:2])

    def time_transform(self, form):
        """Compute features."""
        self.model.transform(self.codes)

    def peakmem_transform(self, form):
        """Compute features, the device's matrix included."""
        self.model.transform(self.codes)
