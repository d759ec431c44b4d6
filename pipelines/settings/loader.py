"""Reads `config/pipelines/<name>.yaml` into settings."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipelines.settings.features import FeatureGroup
from pipelines.settings.pipeline import Pipeline


def pipeline_names(config: Path) -> list[str]:
    return sorted(path.stem for path in (config / "pipelines").glob("*.yaml"))


def load_pipeline(name: str, config: Path) -> Pipeline:
    pipeline = Pipeline.model_validate(yaml.safe_load((config / "pipelines" / f"{name}.yaml").read_text()))
    groups = tuple(
        group
        if isinstance(group, FeatureGroup)
        else FeatureGroup.model_validate(yaml.safe_load((config / "features" / f"{group}.yaml").read_text()))
        for group in pipeline.features.groups
    )
    return pipeline.model_copy(update={"feature_groups": groups})
