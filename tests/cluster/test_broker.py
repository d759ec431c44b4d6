"""A broker that is away costs no task a retry: Airflow's executor with the cluster's settings, and a real Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY
from pipelines.servers.ports import free_ports
from pipelines.servers.redis import Redis
from pipelines.settings import load_environment
from tests.conftest import without_airflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_task_waits_while_the_broker_restarts_and_is_sent_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    broker = Redis(tmp_path / "redis", free_ports(1)[0])
    environment = without_airflow() | load_environment(REPOSITORY / "config").airflow_variables()
    environment |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CELERY__BROKER_URL": broker.url()}
    command = [sys.executable, "-m", "tests.cluster.executor_child", str(broker.folder), str(broker.port)]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    before, away, back = json.loads(done.stdout.splitlines()[-1])
    assert before == {"before": "queued"}
    assert "while_it_is_away" not in away  # neither sent nor 'failed', which would be one of its retries
    assert back == {"while_it_is_away": "queued"}
