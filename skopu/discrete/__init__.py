"""Networks of binary weights and activations."""
