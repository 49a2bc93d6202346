"""To be imported first by public modules that are nothing without torch."""

from skopu._core.torch_missing import needing_torch

with needing_torch():
    import torch

__all__ = ["torch"]
