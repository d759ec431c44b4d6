#!/opt/venv/bin/python
"""Entrypoint of the Airflow images: secrets become variables, Airflow gets its settings, the command takes over.

The settings are those of `make cluster` (pipelines/runs/airflow_home.py and config/environments/); a variable that the
container sets wins.
"""

from __future__ import annotations

import os
import sys

from with_secrets import secrets_as_variables

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.runs.airflow_home import airflow_environment, passwords

# Each container would make up keys of its own, and no server would believe another.
_FERNET, _SESSIONS, _TOKENS = "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"
_SHARED_KEYS = {
    "api-server": (_FERNET, _SESSIONS, _TOKENS),
    "scheduler": (_FERNET, _TOKENS),
    "dag-processor": (_FERNET,),
    "triggerer": (_FERNET,),
}


def main(command: list[str]) -> None:
    """Replaces this process by the command.

    Raises:
        ConfigError: E-CONFIG-VARIABLE when an address or a key is missing.
    """
    os.umask(0o027)  # logs are shared through the group
    os.environ.update(secrets_as_variables(os.environ))
    if command[:1] == ["airflow"]:
        _require_shared_keys(" ".join(command[1:2]))
    home = Home.resolve()
    if command[:2] == ["airflow", "api-server"]:
        passwords(home)  # made here once, in a file; Airflow would print those that it makes
    os.execvpe(command[0], command, airflow_environment(home))


def _require_shared_keys(server: str) -> None:
    # The official chart hands some of them over as a command that prints the value.
    missing = [
        name for name in _SHARED_KEYS.get(server, ()) if not (os.environ.get(name) or os.environ.get(f"{name}_CMD"))
    ]
    if missing:
        what = f"these variables must be set, the same for all servers: {', '.join(missing)}"
        raise ConfigError("E-CONFIG-VARIABLE", server, what, "docker/make_secrets.py makes them as files.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        sys.exit(str(error))
