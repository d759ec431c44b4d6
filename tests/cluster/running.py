"""A real cluster for tests and benchmarks: `nightshift cluster` in a process of its own, fed with simulated days."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from pipelines.demo.feed import Day, simulate
from pipelines.demo.inbox import deliver
from pipelines.home import REPOSITORY, Home
from pipelines.launch.client import AirflowClient
from pipelines.ledger import Ledger
from pipelines.servers.ports import free_ports
from pipelines.storage.files import open_files
from tests.conftest import without_airflow

PIPELINE = "card_payments"
_TOLD = ("AIRFLOW", "MLFLOW", "NIGHTSHIFT", "AWS_")


def simulated(days: int) -> list[Day]:
    """Small quiet days from 2026-03-01 on; the same number gives the same files."""
    return simulate(date(2026, 3, 1), days, date(2026, 4, 1), payments_per_day=220, cards=60)


def feed(storage: str, days: Iterable[Day]) -> None:
    """Delivers days into the inbox of a storage root."""
    files = open_files(storage)
    with tempfile.TemporaryDirectory() as folder:
        for day in days:
            deliver(day, Path(folder) / "inbox")
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                files.upload(path, path.relative_to(folder).as_posix())


def run_steps(home: Home, variables: dict[str, str], *arguments: str, pipeline: str = PIPELINE) -> None:
    """Steps one after another in a child process, without Airflow (tests.faults.chain)."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(_TOLD)}
    code = f"from tests.faults.chain import main; main(*{arguments!r})"
    environment = plain | variables | home.environment() | {"CHAIN_PIPELINE": pipeline}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])


class Cluster:
    """A running cluster. `variables` hold its addresses, `ledger` and `airflow` are clients of it."""

    def __init__(self, home: Home, *options: str, **variables: str) -> None:
        self.home, root = home, home.root
        self.output = root.with_name(f"{root.name}.log")
        airflow_port, mlflow_port = free_ports(2)
        command = [str(Path(sys.executable).parent / "nightshift"), "cluster"]
        ports = ["--airflow-port", str(airflow_port), "--mlflow-port", str(mlflow_port)]
        plain = {name: value for name, value in without_airflow().items() if not name.startswith(_TOLD)}
        with open(self.output, "w") as log:
            self.process = subprocess.Popen(
                [*command, *ports, *options],
                env=plain | home.environment() | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready()
        self.variables = variables | read_variables(root / "cluster.env")
        self.storage = self.variables["NIGHTSHIFT_STORAGE"]
        self.ledger = Ledger(self.variables["NIGHTSHIFT_LEDGER_URL"])
        self.airflow = AirflowClient(self.home, airflow_port)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.process.kill()

    def pid(self, name: str) -> int:
        """Process id of a server or worker, e.g. 'redis' or 'gpu-1'."""
        return int(json.loads((self.home.root / "processes.json").read_text())[name])

    def kill(self, name: str, seconds: float = 120) -> float:
        """kill -9 of a server or worker with everything that it started; seconds until it was started again."""
        pid, started = self.pid(name), time.monotonic()
        with suppress(psutil.NoSuchProcess):  # it may have died with a server that it needs
            for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        while self.pid(name) == pid:
            if time.monotonic() - started > seconds:
                raise TimeoutError(f"'{name}' was not started again: {self.output.read_text()[-500:]}")
            time.sleep(0.1)
        return time.monotonic() - started

    def feed(self, days: Iterable[Day]) -> None:
        """Delivers days into the inbox on the object store."""
        with environment_of(self.variables):
            feed(self.storage, days)

    def wait_for_task(self, dag: str, run_id: str, task: str, state: str, seconds: float = 300) -> None:
        """Returns when a task of a run has come to this state."""
        deadline = time.monotonic() + seconds
        while True:
            states = [row["state"] for row in self.airflow.tasks(dag, run_id) if row["task_id"] == task]
            if state in states:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag} {run_id}: '{task}' is {states}, not '{state}', after {seconds:.0f} s")
            time.sleep(0.2)

    def _wait_until_ready(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while "Ctrl-C stops everything" not in self.output.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.output.read_text())
            time.sleep(0.2)


def read_variables(path: Path) -> dict[str, str]:
    """The variables of a `cluster.env`."""
    pairs = [line.partition("=") for line in path.read_text().splitlines()]
    return {name: shlex.split(value)[0] if value else "" for name, _, value in pairs}


@contextmanager
def environment_of(variables: dict[str, str]) -> Iterator[None]:
    """This process's environment with these variables, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def facts(book: Ledger, pipeline: str = PIPELINE) -> dict[str, Any]:
    """What must not depend on where and how often steps ran: rows, models, champions, releases."""
    tables = (
        *("dimension_cards", "labels_chargebacks", "quarantine/ingest", "raw", "quarantine/validate"),
        *("duplicates", "clean", "features", "predictions"),
    )
    accounting = ("partition", "state", "read", "clean", "quarantined", "duplicate")
    return {
        "tables": {
            table: {row["partition"]: row["content_digest"] for row in book.publications(pipeline, table)}
            for table in tables
        },
        "accounting": [{name: row[name] for name in accounting} for row in book.accounting(pipeline)],
        "models": sorted((row["version"], row["artifact_sha256"]) for row in book.models(pipeline)),
        "champions": [(row["version"], row["effective_from"]) for row in book.champions(pipeline)],
        "releases": sorted(
            (row["partition"], row["release_id"], row["digest"], row["state"]) for row in book.releases(pipeline)
        ),
    }
