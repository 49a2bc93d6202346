"""Features of an Optical Processing Unit, and ridge regression on them."""
