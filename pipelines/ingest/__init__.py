"""Reads a source strictly: every physical record becomes one typed row or one quarantined record."""
