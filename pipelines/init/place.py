"""The files of a proposal on disk: never over another one, unless told so; what would change is shown as a diff."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import ConfigError, names
from pipelines.validate.suggest import difference

Texts = Mapping[Path, str]


def changes(files: Texts) -> dict[Path, str]:
    """Per file that exists and says something else: the diff to review."""
    found = {}
    for path, after in files.items():
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before is not None and before != after:
            found[path] = difference(before, after, path.name)
    return found


def write(files: Texts, force: bool) -> list[Path]:
    """Writes all files or none; each appears whole.

    Raises:
        ConfigError: E-INIT-EXISTS when one exists with other content and `force` is not given.
    """
    differing = changes(files)
    if differing and not force:
        raise ConfigError(
            "E-INIT-EXISTS",
            str(next(iter(differing))),
            f"{names(path.name for path in differing)} would be overwritten; nothing was written",
            "Read the diff, then give --force, or another --name.",
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    return list(files)
