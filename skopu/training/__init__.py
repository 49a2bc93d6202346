"""The training loop, and what the encoders of kernel machines are trained with."""
