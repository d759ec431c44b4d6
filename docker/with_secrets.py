"""Runs a command with the mounted secrets as variables: `with_secrets.py mlflow server ...`.

Every file of the folder NIGHTSHIFT_SECRETS (/run/secrets) whose name is that of a variable becomes this variable. A
secret thus stays out of the image, of the container's definition and of the command line. Standard library only: the
MLflow image has nothing else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def secrets_as_variables(given: Mapping[str, str]) -> dict[str, str]:
    """The variables in the folder of secrets; one that is set already stays as it is."""
    folder = Path(given.get("NIGHTSHIFT_SECRETS") or "/run/secrets")
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        file.name: file.read_text().strip()
        for file in files
        if _VARIABLE.fullmatch(file.name) and file.is_file() and file.name not in given
    }


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], {**os.environ, **secrets_as_variables(os.environ)})
