"""Plumbing that knows nothing of kernels or light: every room may use it, it uses none."""
