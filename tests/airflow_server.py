"""A real `nightshift up` over a home of two pipelines and fake steps, for tests of what Airflow does with them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import passwords
from tests.conftest import ALPHA, without_airflow, write_config
from tests.notify_servers import Webhook

PIPELINE = ALPHA.replace("approve: always", "approve: auto").replace("pool: gpu, ", "")
APPROVED = (
    PIPELINE.replace("name: alpha", "name: gamma")
    .replace('schedule: "0 3 * * *", approve: auto', "schedule: null, approve: on_risk")
    .replace(
        "resources:\n",
        "notify: {to: [night_hook], late_after_minutes: 600}\n"
        "resources:\n  notify: {retries: 0}\n  deduplicate: {retries: 0}\n",
    )
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, is_true: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := is_true():
            return found
        time.sleep(1)
    raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")


DAGS = {
    "alpha__retrain_nightly",
    "nightshift__maintenance",
    *(
        f"{name}__{family}"
        for name in ("alpha", "gamma")
        for family in ("daily", "retrain", "rollback", "replay", "retract")
    ),
}


class Server:
    """A running `make up` and a client that is signed in as admin."""

    def __init__(self, root: Path, hook: Webhook | None, gamma: str) -> None:
        self.hook = hook  # what gamma's messages go to; without one they go nowhere
        self.root, self.port, self.mlflow_port = root, free_port(), free_port()
        self.home = Home(root / "home", write_config(root, alpha=PIPELINE, gamma=gamma))
        (root / "wishes").mkdir()
        self.output = root / "up.log"
        code = (
            "import sys; from pipelines.home import Home; from pipelines.launch import up\n"
            f"sys.exit(up(Home.resolve(), {self.port}, {self.mlflow_port}, say=lambda text: print(text, flush=True)))"
        )
        environment = without_airflow() | self.home.environment()
        environment |= {"FAKE_STEPS": str(root / "wishes")}
        if hook:
            environment |= {"AIRFLOW_CONN_NIGHT_HOOK": json.dumps({"conn_type": "http", "host": hook.url})}
        environment |= {"PYTHONPATH": str(REPOSITORY / "tests" / "fake_steps" / "site")}
        with open(self.output, "w") as log:
            self.process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=log, stderr=log)
        self.token = ""

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(self.output.read_text())
        return "Ctrl-C stops everything" in self.output.read_text()

    def sign_in(self) -> None:
        user = {"username": "admin", "password": passwords(self.home)["admin"]}
        self.token = self.call("POST", "/auth/token", user)[1]["access_token"]

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text, status = answer.read().decode(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read().decode(), error.code
        return status, json.loads(text) if text.startswith(("{", "[")) else text

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100")[1]["dag_runs"]
        return found

    def told(self, kind: str) -> list[str]:
        """Titles of the messages of one kind that arrived."""
        got = self.hook.got if self.hook else []
        return [body["title"] for _, _, body in got if body["kind"] == kind]

    def all_dags(self) -> list[dict[str, Any]]:
        """Every DAG once all are there; nothing before."""
        found: list[dict[str, Any]] = self.call("GET", "/api/v2/dags")[1]["dags"]
        return found if {dag["dag_id"] for dag in found} >= DAGS else []


@contextmanager
def running(root: Path, hook: Webhook | None = None, gamma: str = APPROVED) -> Iterator[Server]:
    """A server with all its DAGs, signed in; stopped at the end. `gamma` is the text of the second pipeline."""
    server = Server(root, hook, gamma)
    try:
        wait_for("the server's start", server.ready)
        server.sign_in()
        wait_for("all DAGs", server.all_dags)
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(90)
