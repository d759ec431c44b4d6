"""From the path in a pipeline file to the file that is read for one partition."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipelines.context import Context
from pipelines.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill_variables(text: str, context: Context) -> str:
    """`text` with each `${VARIABLE}` replaced; NIGHTSHIFT_HOME is the home that the run uses.

    Raises:
        ConfigError: E-CONFIG-VARIABLE when a variable is not set (or empty).
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        found = os.environ.get(name) or (str(context.home.root) if name == "NIGHTSHIFT_HOME" else "")
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
    """The s3:// URL, or the absolute local path (relative ones start at the home), of this partition's file."""
    filled = fill_variables(template, context).replace("{partition}", context.key)
    return filled if "://" in filled else str(context.home.root / Path(filled).expanduser())


def fixed_folder(template: str, context: Context) -> Path:
    """The folder in front of the first '{partition}': what is read must really lie below it."""
    before = fill_variables(template, context).split("{partition}")[0]
    return (context.home.root / (before + "x")).parent
