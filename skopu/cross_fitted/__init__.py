"""Cross-fitted ensembles of exact models."""
