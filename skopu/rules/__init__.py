"""Learned IF-THEN rules: Neural DNF."""
