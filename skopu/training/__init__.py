"""Training of encoders: the joint model, the loop, the record of a run."""
