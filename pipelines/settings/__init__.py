"""Typed settings: one frozen object describes a pipeline completely before anything runs."""

from pipelines.settings.loader import load_environment, load_pipeline, pipeline_names
from pipelines.settings.pipeline import Pipeline

__all__ = ["Pipeline", "load_environment", "load_pipeline", "pipeline_names"]
