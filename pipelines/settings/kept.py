"""Settings of pipelines, read once per process and again only when a file that they come from changed.

For those who need all pipelines again and again: the pages, and Airflow's DAG processor, whose children (one per DAG
file, every half minute) inherit what their parent read.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.settings.environment import environment_name
from pipelines.settings.loader import load_pipeline
from pipelines.settings.pipeline import Pipeline

_MOST_KEPT = 1000
Stamp = tuple[tuple[str, int, int, int], ...]


def kept_pipeline(name: str, config: Path) -> Pipeline:
    """As `load_pipeline`, with the same errors."""
    pipeline, error = look_up(name, config)
    if error:
        raise error.with_traceback(None)  # the same error again and again must not gather tracebacks
    assert pipeline is not None
    return pipeline


def look_up(name: str, config: Path) -> tuple[Pipeline | None, ConfigError | None]:
    """The pipeline, or what is wrong with its files."""
    return _read(name, config, _stamp(name, config), environment_name())


@lru_cache(maxsize=_MOST_KEPT)
def _read(name: str, config: Path, stamp: Stamp, environment: str) -> tuple[Pipeline | None, ConfigError | None]:  # noqa: ARG001
    try:
        return load_pipeline(name, config), None
    except ConfigError as error:
        return None, error


def _stamp(name: str, config: Path) -> Stamp:
    """Paths, inodes, sizes and times of change of the files that the settings come from; a suite only has to exist."""
    own = config / "pipelines" / f"{name}.yaml"
    folders = (config / "features", config / "environments", config.parent / "expectations")
    entries = [entry for folder in folders for entry in _entries(folder)]
    found = [(str(own), os.stat(own)), *((entry.path, entry.stat()) for entry in entries)] if own.exists() else []
    return tuple((path, one.st_ino, one.st_size, one.st_mtime_ns) for path, one in found)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
