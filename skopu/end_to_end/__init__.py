"""Encoder, features and readout as one estimator."""
