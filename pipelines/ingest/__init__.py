"""Reads a source strictly: every physical record becomes one typed row or one quarantined record."""

from pipelines.ingest.step import ingest

__all__ = ["ingest"]
