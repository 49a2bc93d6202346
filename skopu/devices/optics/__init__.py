"""What light goes through after the medium: cameras, holograms, and fields from intensities."""
