"""Ridge regression: normal equations, solvers, and one path for many penalties."""
