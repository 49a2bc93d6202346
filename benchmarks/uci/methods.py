"""The methods of the comparison: those of the main job, and what only a benchmark has time for."""

from dataclasses import replace

from skopu.comparison.methods import METHODS as MAIN_METHODS

# The peers' published protocol has 2400 training rows; a process of the main job has no time
# for that many. A length scale a column takes a matrix of the rows for each column.
_MAX_TRAIN_ROWS = {"gp": 2500, "gp-binary": 2500, "gp-columns": 1500}
METHODS = {
    name: replace(method, max_train_rows=_MAX_TRAIN_ROWS.get(name, method.max_train_rows))
    for name, method in MAIN_METHODS.items()
    if name != "chain"
}

SUPERVISED = ("end-to-end", "isolated")
BINARIZATIONS = (*SUPERVISED, "autoencoder", "dfa", "hyperplanes", "thermometer")
# What people use, beside the configuration of skopu that is meant for the same purpose.
PEERS = (
    "cross-fitted",
    "kernel-ridge",
    "gp",
    "fourier",
    "kernel-ridge-quantile",
    "kernel-ridge-average",
    "boosting",
    "mlp",
    "catboost",
    "xrfm",
    "realmlp",
)
