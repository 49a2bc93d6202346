"""Networks trained by direct feedback alignment, optical or not."""
