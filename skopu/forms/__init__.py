"""Quadratic forms of bits: what every linear readout of OPU features is."""
