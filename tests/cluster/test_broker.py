"""Servers that restart cost no task a retry: Airflow's executor with the cluster's settings, and real servers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY
from pipelines.servers.ports import free_ports
from pipelines.servers.redis import Redis
from pipelines.settings import load_environment
from tests.conftest import without_airflow
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CHILD = (sys.executable, "-m", "tests.cluster.executor_child")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    settings = load_environment(REPOSITORY / "config").airflow_variables()
    return without_airflow() | settings | {"AIRFLOW_HOME": str(tmp_path)}


def test_a_task_waits_while_the_broker_restarts_and_is_sent_then(tmp_path: Path, environment: dict[str, str]) -> None:
    broker = Redis(tmp_path / "redis", free_ports(1)[0])
    environment |= {
        "AIRFLOW__CELERY__BROKER_URL": broker.url(),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+sqlite:///{tmp_path}/results.db",
    }
    command = [*CHILD, "hand_out", str(broker.folder), str(broker.port)]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    before, away, back = json.loads(done.stdout.splitlines()[-1])
    assert before == {"before": "queued"}
    assert "while_it_is_away" not in away  # neither sent nor 'failed', which would be one of its retries
    assert back == {"while_it_is_away": "queued"}


def test_a_worker_does_not_forget_a_task_whose_start_it_cannot_note(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Else the message is gone, nothing ran, and Airflow waits for `task_queued_timeout`."""
    server = PostgresServer(tmp_path / "postgres")
    try:
        environment["AIRFLOW__CELERY__RESULT_BACKEND"] = f"db+{server.fresh()}"
        worker = subprocess.Popen(
            [*CHILD, "note_start"],
            env=environment,
            cwd=REPOSITORY,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert worker.stdout
        while "ready" not in worker.stdout.readline():
            assert worker.poll() is None
        server.kill()
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
        time.sleep(2)
        server.start()
        assert "STARTED" in worker.communicate(timeout=60)[0]
    finally:
        server.kill()
