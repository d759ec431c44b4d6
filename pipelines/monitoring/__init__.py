"""Drift and quality of a partition, and whether they ask for a new model."""

from pipelines.monitoring.step import monitor

__all__ = ["monitor"]
