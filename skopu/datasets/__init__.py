"""The data sets of the paper and of its authors' related work, by name."""

from skopu.datasets.loading import list_datasets, load_dataset

__all__ = ["list_datasets", "load_dataset"]
