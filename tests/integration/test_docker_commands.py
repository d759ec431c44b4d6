"""The commands of docker/compose.yaml as processes of this machine: they start, their health checks see it, they stop.

What a container would give them (addresses, mounted secrets, volumes) is replaced word by word; all else is as written.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.home import REPOSITORY
from pipelines.servers.ports import free_ports
from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

DOCKER = REPOSITORY / "docker"
BESIDE = Path(sys.executable).parent
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
EXAMPLE = dict(
    line.split("=", 1) for line in (DOCKER / ".env.example").read_text().splitlines() if line[:1] not in ("", "#")
)
ENTRYPOINT = [str(BESIDE / "dumb-init"), "--single-child", "--", sys.executable]
PATIENCE_SECONDS = 90.0


class Host:
    """Stands for the Docker host: runs services of the compose file, and stops them."""

    def __init__(self, folder: Path, postgres: PostgresServer) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        make = f"import make_secrets, pathlib; make_secrets.main(pathlib.Path({str(self.secrets)!r}))"
        subprocess.run([sys.executable, "-c", make], env=os.environ | {"PYTHONPATH": str(DOCKER)}, check=True)
        names = ("5432", "6379", "8333", "5000", "8080", "8974")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        for database, secret in (
            ("airflow", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"),
            ("ledger", "NIGHTSHIFT_LEDGER_URL"),
            ("mlflow", "MLFLOW_BACKEND_STORE_URI"),
        ):
            postgres.launch.create_database(database)
            self._write(secret, postgres.launch.url(database))
        self._write("AIRFLOW__CELERY__RESULT_BACKEND", f"db+{postgres.launch.url('airflow')}")
        broker = (self.secrets / "AIRFLOW__CELERY__BROKER_URL").read_text()
        self._write("AIRFLOW__CELERY__BROKER_URL", broker.replace("redis:6379", f"127.0.0.1:{self.ports['6379']}"))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def _write(self, secret: str, text: str) -> None:
        (self.secrets / secret).chmod(0o644)
        (self.secrets / secret).write_text(text)

    def here(self, text: str) -> str:
        """A word of the compose file as it must be on this machine."""
        for name, value in EXAMPLE.items():
            text = text.replace("${" + name + "}", value)
        for port, free in self.ports.items():
            text = text.replace(port, str(free))
        for name in ("object-store", "mlflow", "api-server", "redis"):
            text = text.replace(f"//{name}:", "//127.0.0.1:")
        text = text.replace("/run/secrets/", f"{self.secrets}/").replace("0.0.0.0", "127.0.0.1")
        text = text.replace("redis-cli", f"redis-cli -p {self.ports['6379']}")
        return text.replace("docker/", f"{DOCKER}/").replace("$$", "$")

    def environment(self, service: str) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if name.split("_")[0] not in ("AIRFLOW", "AWS")}
        given |= {name: self.here(str(value)) for name, value in SERVICES[service].get("environment", {}).items()}
        return given | {
            "NIGHTSHIFT_SECRETS": str(self.secrets),
            "NIGHTSHIFT_HOME": str(self.folder / service),
            "NIGHTSHIFT_CONFIG": str(REPOSITORY / "config"),
            "PYTHONPATH": str(REPOSITORY),
            "PATH": f"{BESIDE}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["8974"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
        }

    def command(self, service: str) -> list[str]:
        """What process 1 of the container runs."""
        volume = self.folder / service
        words = [re.sub(r"(^|=)/data$", rf"\1{volume}", self.here(word)) for word in SERVICES[service]["command"]]
        script = {"mlflow": "with_secrets.py", "redis": "", "object-store": ""}.get(service, "entrypoint.py")
        return [*ENTRYPOINT, str(DOCKER / script), *words] if script else words

    def start(self, service: str, *more: str, program: str = "") -> None:
        command = [*([program] if program else []), *self.command(service), *more]
        (self.folder / service).mkdir(exist_ok=True)
        with open(self.folder / f"{service}.log", "ab") as log:
            self.running[service] = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment(service), start_new_session=True
            )

    def run(self, service: str) -> None:
        """A service that ends by itself."""
        self.start(service)
        code = self.running.pop(service).wait(PATIENCE_SECONDS)
        assert code == 0, self.log(service)

    def is_healthy(self, service: str) -> bool:
        """What the container's health check says."""
        kind, *words = [self.here(word) for word in SERVICES[service]["healthcheck"]["test"]]
        if kind == "CMD-SHELL":
            words = ["sh", "-c", *words]
        if words[0] == "/entrypoint":
            words = [sys.executable, str(DOCKER / "entrypoint.py"), *words[1:]]
        found = subprocess.run(words, env=self.environment(service), capture_output=True, timeout=60, check=False)
        return found.returncode == 0

    def wait(self, service: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.is_healthy(service):
            assert self.running[service].poll() is None, self.log(service)
            assert time.monotonic() < deadline, self.log(service)
            time.sleep(0.5)

    def stop(self, service: str) -> float:
        """Sends SIGTERM to process 1, as Docker does; how many seconds it took to end."""
        process, started = self.running[service], time.monotonic()
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            self.kill(service)
        return time.monotonic() - started

    def kill(self, service: str) -> None:
        """Ends all processes of a container."""
        process = self.running.pop(service)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self, service: str) -> str:
        return f"{service}: {(self.folder / f'{service}.log').read_text()[-3000:]}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("docker")
    postgres = PostgresServer(tmp_path_factory.mktemp("postgres"))
    host = Host(folder, postgres)
    try:
        yield host
    finally:
        for service in list(host.running):
            host.kill(service)
        postgres.kill()


def started(host: Host, service: str, *more: str, program: str = "") -> None:
    """Starts it once for all tests of this file."""
    if service not in host.running:
        host.start(service, *more, program=program)
        host.wait(service)


@pytest.fixture
def redis(host: Host) -> None:
    started(host, "redis", "--port", str(host.ports["6379"]), "--bind", "127.0.0.1")


@pytest.fixture
def object_store(host: Host) -> None:
    """Its inner servers, alone in a container, take free ports here."""
    ports = dict(zip(("master", "volume", "filer"), free_ports(3), strict=True))
    grpc = dict(zip(("master", "volume", "filer", "s3"), free_ports(4), strict=True))
    more = [f"-{part}.port={port}" for part, port in ports.items()]
    more += [f"-{part}.port.grpc={port}" for part, port in grpc.items()]
    started(host, "object-store", *more, program=str(BESIDE / "weed"))


@pytest.fixture
def servers(host: Host, redis: None, object_store: None) -> None:  # noqa: ARG001 - they must run
    """API server and scheduler on prepared databases."""
    if "api-server" not in host.running:
        host.run("prepare")
        started(host, "api-server")
        started(host, "scheduler")


def test_a_health_check_says_no_while_nothing_listens(host: Host) -> None:
    for service in ("redis", "object-store", "mlflow", "api-server", "scheduler"):
        if service not in host.running:
            assert not host.is_healthy(service), service


@pytest.mark.usefixtures("redis")
def test_redis_asks_for_the_password(host: Host) -> None:
    with socket.create_connection(("127.0.0.1", host.ports["6379"]), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64).startswith(b"-NOAUTH")


@pytest.mark.usefixtures("servers")
def test_servers_and_worker_come_up_and_stop_on_sigterm(host: Host) -> None:
    """The worker answers over the broker under the name that its health check asks for."""
    host.start("worker")
    host.wait("worker")
    for service, longest in (("worker", 30), ("scheduler", 30), ("api-server", 30)):
        assert host.stop(service) < longest, host.log(service)
    assert "Warm shutdown" in host.log("worker")


@pytest.mark.usefixtures("object_store")
def test_mlflow_answers_to_its_name_alone(host: Host) -> None:
    started(host, "mlflow")
    port = host.ports["5000"]
    assert [_status(port, name) for name in (f"mlflow:{port}", "mlflow", f"127.0.0.1:{port}")] == [200, 200, 200]
    assert _status(port, "evil.example") == 403
    assert host.stop("mlflow") < 30


def _status(port: int, name: str) -> int:
    """The status of an API call under that Host header."""
    request = f"GET /api/2.0/mlflow/experiments/get?experiment_id=0 HTTP/1.0\r\nHost: {name}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        return int(connection.recv(64).split()[1])
