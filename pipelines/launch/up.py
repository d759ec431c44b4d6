"""Starts Airflow and MLflow on one home, keeps them running, and stops them together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pipelines.home import Home
from pipelines.launch.services import (
    airflow_children,
    mlflow_child,
    prepare,
    require_free,
    stop_signals,
    wait_until_ready,
)
from pipelines.runs.airflow_home import airflow_environment, passwords
from pipelines.runs.lock import only_orchestrator
from pipelines.servers.airflow_database import AirflowDatabase, airflow_database
from pipelines.servers.children import stop_all

Say = Callable[[str], None]


def up(home: Home, airflow_port: int = 8080, mlflow_port: int = 5000, say: Say = print) -> int:
    """Runs the Airflow UI and scheduler and the MLflow UI of `home` on loopback until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 0 after a requested stop.

    Raises:
        ConfigError: E-UP-PORT for a port in use, E-RUN-BUSY when the home is in use.
        StorageError: E-UP-START when Airflow or its database does not come up; the message names the log.
    """
    previous = os.umask(0o077)  # logs, database and passwords are the owner's alone
    try:
        for port, name in ((airflow_port, "Airflow"), (mlflow_port, "MLflow")):
            require_free(port, name)
        me = f"'make up' (process {os.getpid()})"
        with only_orchestrator(home, me), stop_signals() as is_asked_to_stop, airflow_database(home) as database:
            return _serve(home, database, airflow_port, mlflow_port, say, is_asked_to_stop)
    finally:
        os.umask(previous)


def _serve(
    home: Home,
    database: AirflowDatabase,
    airflow_port: int,
    mlflow_port: int,
    say: Say,
    is_asked_to_stop: Callable[[], bool],
) -> int:
    started = time.monotonic()
    environment = airflow_environment(home, airflow_port) | database.variables
    environment["NIGHTSHIFT_MLFLOW_URL"] = f"http://127.0.0.1:{mlflow_port}"
    is_new = not (home.airflow / "passwords.json").exists()
    secret = passwords(home)
    server, *others = airflow_children(home, environment)
    home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    mlflow = mlflow_child(home, environment, mlflow_port, home.mlflow_uri, str(home.mlflow_artifacts))
    children = [mlflow, server, *others]
    try:
        say("Preparing the Airflow database ...")
        if not prepare(home, environment, is_asked_to_stop):
            return 0
        mlflow.start()
        server.start()
        # A scheduler that starts a task before the API server listens fails that task: server first.
        if not wait_until_ready(server, f"http://127.0.0.1:{airflow_port}/api/v2/version", is_asked_to_stop):
            return 0
        for child in others:
            child.start()
        _announce(home, airflow_port, mlflow_port, secret, is_new, time.monotonic() - started, say)
        while not is_asked_to_stop():
            for child in [*database.children, *children]:
                if news := child.tend():
                    say(news)
            time.sleep(0.2)
        say("Stopping ...")
        return 0
    finally:
        stop_all(children)
        say("Stopped.")


def _announce(
    home: Home, airflow_port: int, mlflow_port: int, secret: dict[str, str], is_new: bool, seconds: float, say: Say
) -> None:
    say(f"Airflow  http://127.0.0.1:{airflow_port}   (ready after {seconds:.0f} s)")
    if is_new:
        say(f"         sign in as 'admin' with {secret['admin']} (read only: 'viewer' with {secret['viewer']})")
    else:
        say(f"         sign in as 'admin'; the password is in {home.airflow / 'passwords.json'}")
    say(f"MLflow   http://127.0.0.1:{mlflow_port}   (no sign-in; loopback only)")
    say(f"Home     {home.root}")
    say("Ctrl-C stops everything.")
