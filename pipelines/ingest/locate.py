"""From the path in a pipeline file to the file that is read for one partition."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.settings.dated_path import before_partition, fill_partition

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill_variables(text: str, context: Context) -> str:
    """`text` with each `${VARIABLE}` replaced; NIGHTSHIFT_HOME and NIGHTSHIFT_STORAGE are those that the run uses.

    Raises:
        ConfigError: E-CONFIG-VARIABLE when a variable is not set (or empty).
    """

    own = {"NIGHTSHIFT_HOME": str(context.home.root), "NIGHTSHIFT_STORAGE": context.home.storage}

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        found = os.environ.get(name) or own.get(name, "")
        if not found:
            raise ConfigError(
                "E-CONFIG-VARIABLE",
                context.where,
                f"the environment variable '{name}' must be set, the source '{text}' needs it",
                f"Set it for the process that runs the tasks: export {name}=...",
            )
        return found

    return _VARIABLE.sub(value, text)


def location(template: str, context: Context) -> str:
    """The s3:// URL, or the absolute local path of this partition's file; relative ones start at the storage."""
    filled = fill_partition(fill_variables(template, context), context.key, context.partition.grain)
    if "://" in filled:
        return filled
    path = Path(filled).expanduser()
    is_remote = "://" in context.home.storage and not path.is_absolute()
    return f"{context.home.storage}/{filled}" if is_remote else str(context.home.root / path)


def fixed_folder(template: str, context: Context) -> Path:
    """The folder in front of the first '{partition}': what is read must really lie below it."""
    before = before_partition(fill_variables(template, context))
    return (context.home.root / (before + "x")).parent
