"""Time and peak memory of ridge on OPU features, in each arithmetic."""

import numpy as np

from skopu import OPUKernelRidge


def chunks(n_rows, n_bits=784, size=4096):
    """Yield random codes and targets."""
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, size):
        codes = rng.integers(0, 2, size=(min(size, n_rows - start), n_bits), dtype=np.uint8)
        yield codes, codes[:, :10].sum(axis=1) - 5.0


class Streamed:
    """Fits to chunks: time grows with the rows, memory does not."""

    params = ([4096, 16_384], [1024, 2048], ["float64", "float32", "int7"])
    param_names = ("rows", "components", "gram")
    timeout = 300

    def setup(self, rows, components, gram):
        """Make the model."""
        self.model = OPUKernelRidge(1.0, n_components=components, gram=gram)

    def time_fit_chunks(self, rows, components, gram):
        """Time of a fit, the device's matrix included."""
        self.model.fit_chunks(chunks(rows))

    def peakmem_fit_chunks(self, rows, components, gram):
        """Memory of a fit."""
        self.model.fit_chunks(chunks(rows))


class LeaveOneOut:
    """Thirty penalties on features in memory."""

    params = ([2000, 5000], [512, 1024], ["loo", "gcv"])
    param_names = ("rows", "components", "alpha")

    def setup(self, rows, components, alpha):
        """Make features, targets and the model."""
        rng = np.random.default_rng(0)
        self.features = rng.standard_exponential((rows, components))
        self.target = self.features[:, 0] + rng.standard_normal(rows)
        alphas = np.logspace(-3, 5, 30)
        self.model = OPUKernelRidge(alpha, alphas=alphas, kernel="linear")

    def time_fit(self, rows, components, alpha):
        """Time of a fit."""
        self.model.fit(self.features, self.target)

    def peakmem_fit(self, rows, components, alpha):
        """Memory of a fit."""
        self.model.fit(self.features, self.target)
