"""Settings of Airflow: one function says how it runs on a home, in the environment that was chosen."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from pathlib import Path

from pipelines.home import REPOSITORY, Home
from pipelines.settings import load_environment
from pipelines.settings.environment import environment_name, require_variables

# Telemetry off, no look-ups on the internet, no pickles (measured with mlflow 3.17.2 and evidently 0.7.23: mlflow
# tests for the word 'true', evidently for any value).
LIBRARIES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MPLBACKEND": "Agg",
}
BUNDLE = "nightshift"


def airflow_environment(home: Home, port: int | None = None) -> dict[str, str]:
    """Every variable that an Airflow process of this home needs, `os.environ` included.

    A variable that is set already wins, so that one setting can be changed from outside (for example
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN for PostgreSQL). Secrets are made once and kept in a file that only the
    owner reads.

    Raises:
        ConfigError: E-CONFIG-VARIABLE when the environment (NIGHTSHIFT_ENVIRONMENT) needs a variable that is not set.
    """
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = load_environment(home.config)
    require_variables(environment, given, environment_name())
    settings = LIBRARIES | _airflow(home) | environment.airflow_variables() | _api(port) | given | home.environment()
    settings["AIRFLOW_HOME"] = str(home.airflow)
    settings["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *_entries(given.get("PYTHONPATH", ""))])
    # Airflow starts its children by name.
    settings["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *_entries(given.get("PATH", os.defpath))])
    return settings


def _airflow(home: Home) -> dict[str, str]:
    keys = _secrets(home)
    bundle = [
        {
            "name": BUNDLE,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(REPOSITORY / "dags")},
        }
    ]
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundle),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(home)),
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
        "AIRFLOW__API__SECRET_KEY": keys["secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "86400",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        # With the default of 3 a restart of the API server kills running tasks after 43 s.
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.airflow / "logs"),
    }


def _api(port: int | None) -> dict[str, str]:
    """Loopback only; without a port no server is meant to run."""
    if port is None:
        return {}
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
    }


def password_file(home: Home) -> Path:
    """Where the sign-in passwords of this home lie: JSON, user to password, readable by the owner alone."""
    return home.airflow / "passwords.json"


def passwords(home: Home) -> dict[str, str]:
    """The passwords of `admin` and `viewer`, made on first use."""
    return _kept(password_file(home), {user: secrets.token_urlsafe(12) for user in ("admin", "viewer")})


def _secrets(home: Home) -> dict[str, str]:
    fresh = {
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "secret_key": secrets.token_urlsafe(48),
        "jwt_secret": secrets.token_urlsafe(64),
    }
    return _kept(home.airflow / "secrets.json", fresh)


def _kept(path: Path, fresh: dict[str, str]) -> dict[str, str]:
    """The values in `path`; `fresh` when there are none yet. Two processes that start at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(fresh, file)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    values: dict[str, str] = json.loads(path.read_text())
    return values


def _entries(paths: str) -> list[str]:
    return [entry for entry in paths.split(os.pathsep) if entry]
