"""Torch modules that the estimators are made of."""
