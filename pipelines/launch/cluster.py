"""`make cluster`: the topology of a cluster as processes of one machine, each of which may be killed.

PostgreSQL (Airflow, ledger, MLflow), Redis, an S3 server, MLflow, Airflow's four processes, and Celery workers.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping

from pipelines.errors import ConfigError, StorageError
from pipelines.home import Home
from pipelines.launch.services import (
    READY_SECONDS,
    airflow_children,
    mlflow_child,
    prepare,
    require_free,
    stop_signals,
    wait_until_ready,
)
from pipelines.launch.workers import Worker, worker_child
from pipelines.runs.airflow_home import airflow_environment, passwords
from pipelines.runs.lock import only_orchestrator
from pipelines.servers.children import Child, stop_all
from pipelines.servers.object_store import (
    BUCKET,
    object_store_command,
    object_store_environment,
    wait_for_object_store,
)
from pipelines.servers.ports import free_ports
from pipelines.servers.postgres import PostgreSQL
from pipelines.servers.redis import Redis
from pipelines.storage.durable import canonical_json, write_bytes

Say = Callable[[str], None]


def cluster(
    home: Home,
    workers: list[Worker],
    airflow_port: int = 8080,
    mlflow_port: int = 5000,
    storage: str | None = None,
    say: Say = print,
) -> int:
    """Runs a whole cluster of `home` on loopback until Ctrl-C or SIGTERM, and starts again what dies.

    `<home>/cluster.env` holds the addresses for other programs (`set -a; . cluster.env`), `<home>/processes.json` the
    process ids. `storage` is a place in a bucket that exists, `s3://bucket/prefix`, reached as always: AWS_ENDPOINT_URL
    and boto3's standard chain of credentials; without it a store is started, too.

    Returns:
        The exit code: 0 after a requested stop.

    Raises:
        ConfigError: E-CLUSTER-PROGRAM for a server that is not installed, E-CLUSTER-STORAGE, E-UP-PORT, E-RUN-BUSY.
        StorageError: E-UP-START when something does not come up; the message names the log.
    """
    if storage is not None and not storage.startswith("s3://"):
        raise ConfigError(
            "E-CLUSTER-STORAGE", storage, "storage of a cluster must be a place in a bucket, 's3://bucket/...'"
        )
    previous = os.umask(0o077)  # logs, databases and passwords are the owner's alone
    try:
        for port, name in ((airflow_port, "Airflow"), (mlflow_port, "MLflow")):
            require_free(port, name)
        with only_orchestrator(home, f"'make cluster' (process {os.getpid()})"), stop_signals() as is_asked_to_stop:
            return _Cluster(home, airflow_port, mlflow_port, storage, say, is_asked_to_stop).run(workers)
    finally:
        os.umask(previous)


class _Cluster:
    """One start of the whole."""

    def __init__(
        self,
        home: Home,
        airflow_port: int,
        mlflow_port: int,
        storage: str | None,
        say: Say,
        stop: Callable[[], bool],
    ) -> None:
        self.home, self.storage, self.say, self.stop = home, storage, say, stop
        self.airflow_port, self.mlflow_port = airflow_port, mlflow_port
        self.children: list[Child] = []

    def run(self, workers: list[Worker]) -> int:
        started = time.monotonic()
        try:
            environment = self._airflow_environment(self._start_stores())
            self.say("Preparing the databases ...")
            if not prepare(self.home, environment, self.stop):
                return 0
            self._start_airflow(environment, workers)
            if not self.stop():
                self._announce(workers, time.monotonic() - started)
            while not self.stop():
                self._tend()
                time.sleep(0.2)
            self.say("Stopping ...")
            return 0
        finally:
            stop_all(list(reversed(self.children)))
            self.say("Stopped.")

    def _start_stores(self) -> dict[str, str]:
        """Starts PostgreSQL, Redis and the object store; the variables that reach them and MLflow."""
        folder = self.home.root / "servers"
        postgres_port, redis_port = free_ports(2)
        postgres, redis = PostgreSQL(folder / "postgres", postgres_port), Redis(folder / "redis", redis_port)
        self._start(self._server("postgres", postgres.command()), postgres.answers)
        self._start(self._server("redis", redis.command()), redis.answers)
        for database in ("airflow", "ledger", "mlflow"):
            postgres.create_database(database)
        return self._object_store() | {
            "NIGHTSHIFT_ENVIRONMENT": "cluster",
            "NIGHTSHIFT_LEDGER_URL": postgres.url("ledger"),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.mlflow_port}",
            "NIGHTSHIFT_MLFLOW_URL": f"http://127.0.0.1:{self.mlflow_port}",
            "NIGHTSHIFT_MLFLOW_DATABASE": postgres.url("mlflow"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url("airflow"),
            "AIRFLOW__CELERY__BROKER_URL": redis.url(),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{postgres.url('airflow')}",
        }

    def _object_store(self) -> dict[str, str]:
        """Where tables and artifacts go: into the bucket that was named, else into a store that is started here."""
        if self.storage:
            return {"NIGHTSHIFT_STORAGE": self.storage}
        folder, (port,) = self.home.root / "servers" / "object_store", free_ports(1)
        self._start(self._server("object-store", object_store_command(folder, port)))
        wait_for_object_store(folder, port)
        return object_store_environment(folder, port) | {"NIGHTSHIFT_STORAGE": f"s3://{BUCKET}/data"}

    def _airflow_environment(self, addresses: Mapping[str, str]) -> dict[str, str]:
        """What Airflow's processes and workers get; `cluster.env` keeps it for other programs."""
        os.environ.update(addresses)  # settings that this process loads are the cluster's, too
        write_bytes(self.home.root / "cluster.env", _as_shell({**addresses, **self.home.environment()}).encode())
        return airflow_environment(self.home, self.airflow_port)

    def _start_airflow(self, environment: dict[str, str], workers: list[Worker]) -> None:
        """MLflow and the API server first: a scheduler that starts a task before the server listens fails it."""
        backend = environment["NIGHTSHIFT_MLFLOW_DATABASE"]
        bucket = environment["NIGHTSHIFT_STORAGE"].removeprefix("s3://").partition("/")[0]
        mlflow = mlflow_child(self.home, environment, self.mlflow_port, backend, f"s3://{bucket}/mlflow")
        server, *others = airflow_children(self.home, environment)
        self._start(mlflow)
        self._start(server)
        if not wait_until_ready(server, f"http://127.0.0.1:{self.airflow_port}/api/v2/version", self.stop):
            return
        for child in [*others, *(worker_child(self.home, worker, environment) for worker in workers)]:
            self._start(child)
        wait_until_ready(mlflow, f"http://127.0.0.1:{self.mlflow_port}/health", self.stop)

    def _server(self, name: str, command: list[str]) -> Child:
        return Child(name, command, os.environ, self.home.airflow / "logs" / "services" / f"{name}.log")

    def _start(self, child: Child, is_ready: Callable[[], bool] | None = None) -> None:
        self.children.append(child)
        child.start()
        deadline = time.monotonic() + READY_SECONDS
        while is_ready and not is_ready() and not self.stop():
            if not child.is_running or time.monotonic() > deadline:
                what = f"it did not come up within {READY_SECONDS} s"
                raise StorageError("E-UP-START", child.name, what, f"See {child.log}.")
            time.sleep(0.1)
        self._record()

    def _tend(self) -> None:
        """Starts again what died."""
        for child in self.children:
            if news := child.tend():
                self.say(news)
                self._record()

    def _record(self) -> None:
        ids = {child.name: child.process.pid for child in self.children if child.process}
        write_bytes(self.home.root / "processes.json", canonical_json(ids))

    def _announce(self, workers: list[Worker], seconds: float) -> None:
        self.say(f"Airflow  http://127.0.0.1:{self.airflow_port}   (ready after {seconds:.0f} s)")
        self.say(f"         sign in as 'admin' with {passwords(self.home)['admin']}")
        self.say(f"MLflow   http://127.0.0.1:{self.mlflow_port}   (no sign-in; loopback only)")
        for worker in workers:
            self.say(f"Worker   {worker.name}: {worker.concurrency} task(s) of {', '.join(worker.queues)}")
        self.say(f"Home     {self.home.root}   (addresses in cluster.env, process ids in processes.json)")
        self.say("Ctrl-C stops everything.")


def _as_shell(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
