"""Airflow's and MLflow's processes, and what both need before they start."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.errors import ConfigError, StorageError
from pipelines.home import Home
from pipelines.launch.pools import wanted_pools
from pipelines.servers.children import Child, stop_all

READY_SECONDS = 180


def airflow_children(home: Home, environment: dict[str, str]) -> list[Child]:
    """API server first. Scheduler and triggerer without their log servers, which would listen on all interfaces."""
    airflow = str(Path(sys.executable).parent / "airflow")
    commands = {
        "api-server": ["api-server"],
        "dag-processor": ["dag-processor"],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
    }
    logs = home.airflow / "logs" / "services"
    return [
        Child(name, [sys.executable, airflow, *arguments], environment, logs / f"{name}.log")
        for name, arguments in commands.items()
    ]


def mlflow_child(home: Home, environment: dict[str, str], port: int, backend: str, artifacts: str) -> Child:
    """The tracking server; clients send it their artifacts, so that they need no access to where it keeps them."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", backend, "--artifacts-destination", artifacts),
    ]
    return Child("mlflow", command, environment, home.airflow / "logs" / "services" / "mlflow.log")


def prepare(home: Home, environment: dict[str, str], is_asked_to_stop: Callable[[], bool]) -> bool:
    """Brings the database to this version and creates the pools; False when asked to stop meanwhile."""
    airflow = [sys.executable, str(Path(sys.executable).parent / "airflow")]
    log = home.airflow / "logs" / "services" / "migrate.log"
    for command in (["db", "migrate"], *_pool_command(home)):
        step = Child(command[0], [*airflow, *command], environment, log)
        step.start()
        while step.is_running:
            if is_asked_to_stop():
                stop_all([step])
                return False
            time.sleep(0.1)
        if step.process and step.process.returncode != 0:
            raise StorageError(
                "E-UP-START",
                str(home.root),
                f"'airflow {' '.join(command)}' ended with {step.process.returncode}",
                f"See {log}.",
            )
    return True


def _pool_command(home: Home) -> list[list[str]]:
    """One import of all pools."""
    path = home.airflow / "pools.json"
    path.write_text(json.dumps(wanted_pools(home)))
    return [["pools", "import", str(path)]]


def wait_until_ready(child: Child, url: str, is_asked_to_stop: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while not is_asked_to_stop():
        if _answers(url):
            return True
        if not child.is_running or time.monotonic() > deadline:
            raise StorageError(
                "E-UP-START", child.name, f"it did not come up within {READY_SECONDS} s", f"See {child.log}."
            )
        time.sleep(0.2)
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require_free(port: int, name: str) -> None:
    """Raises E-UP-PORT when something listens on this loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                "E-UP-PORT",
                f"127.0.0.1:{port}",
                f"the port for {name} must be free, got '{error.strerror}'",
                "Stop what listens there, or choose another port.",
            ) from None


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Says whether SIGINT, SIGTERM or SIGHUP came; the old handlers are put back afterwards."""
    asked: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: signal.signal(number, lambda got, _frame: asked.append(got)) for number in signals}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
