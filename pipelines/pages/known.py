"""What all pages read from: one ledger per process, and the settings of pipelines as long as their files stay alike."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.settings.environment import environment_name
from pipelines.settings.pipeline import Pipeline

_MOST_KEPT = 1000


def ledger_of(home: Home) -> Ledger:
    """The home's ledger, opened once: to open one is to look whether its tables are there."""
    return _opened(home.ledger_url)


@cache
def _opened(url: str) -> Ledger:
    return Ledger(url)


def settings_of(home: Home, name: str) -> tuple[Pipeline | None, str]:
    """The pipeline's settings, or None and what is wrong with them; None and '' where only the ledger knows it."""
    if not (home.config / "pipelines" / f"{name}.yaml").is_file():
        return None, ""
    return _loaded(name, home.config, _stamp(name, home.config), environment_name())


@lru_cache(maxsize=_MOST_KEPT)
def _loaded(name: str, config: Path, stamp: object, environment: str) -> tuple[Pipeline | None, str]:  # noqa: ARG001
    from pipelines.settings import load_pipeline

    try:
        return load_pipeline(name, config), ""
    except ConfigError as error:
        return None, str(error)


def _stamp(name: str, config: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of change of the files that the settings come from."""
    found = [os.stat(config / "pipelines" / f"{name}.yaml")]
    shared = [entry for part in ("features", "environments") for entry in _entries(config / part)]
    files = [(f"{name}.yaml", found[0]), *((entry.path, entry.stat()) for entry in shared)]
    return tuple((path, status.st_size, status.st_mtime_ns) for path, status in files)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
