"""Transformers from real inputs to binary codes, one a file."""
