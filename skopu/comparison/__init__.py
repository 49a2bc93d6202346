"""Comparison of methods on data sets: what ``python -m skopu`` does."""
