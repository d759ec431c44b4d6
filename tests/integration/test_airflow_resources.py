"""`resources` under a real scheduler, over fake steps: limits, retries, and a night beside a backfill."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import StorageError
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.runs.local import run_days
from tests.airflow_server import APPROVED, Server, running, wait_for
from tests.conftest import ALPHA, without_airflow, write_config

pytestmark = pytest.mark.slow

LIMITS = "{time_limit_minutes: 0.03, retries: 3, retry_delay_seconds: 1, max_retry_delay_seconds: 2}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    gamma = APPROVED.replace("resources:\n", f"resources:\n  validate: {LIMITS}\n")
    with running(tmp_path_factory.mktemp("resources"), gamma=gamma) as started:
        yield started


def trigger(server: Server, dag_id: str, partition: str) -> str:
    """The path of a new run."""
    body: dict[str, Any] = {"logical_date": None, "partition_key": partition, "conf": {}}
    run = post(server, f"/api/v2/dags/{dag_id}/dagRuns", body)
    return f"/api/v2/dags/{dag_id}/dagRuns/{urllib.parse.quote(run['dag_run_id'], safe='')}"


def post(server: Server, path: str, body: dict[str, Any]) -> Any:
    status, answer = server.call("POST", path, body)
    assert status == 200, answer
    return answer


def end_of(server: Server, path: str) -> str:
    return str(wait_for("the end", lambda: _final(server.call("GET", path)[1]["state"])))


def _final(state: str) -> str:
    return state if state in ("success", "failed") else ""


def tries(server: Server, path: str, task: str) -> list[str]:
    found = server.call("GET", f"{path}/taskInstances/{task}/tries")[1]["task_instances"]
    return [one["state"] for one in sorted(found, key=lambda one: one["try_number"])]


def log_of(server: Server, path: str, task: str, number: int) -> str:
    return json.dumps(server.call("GET", f"{path}/taskInstances/{task}/logs/{number}?full_content=true")[1])


def attempts(server: Server, pipeline: str, partition: str, step: str) -> list[tuple[str, str]]:
    """State and code of the error, per attempt."""
    rows = Ledger(server.home.ledger_url).attempts(pipeline, partition)
    return [(row["state"], (row["error"] or "").split(" ")[0]) for row in rows if row["step"] == step]


def test_a_step_stuck_in_native_code_is_killed_recorded_and_retried(server: Server) -> None:
    (server.root / "wishes" / "validate.2026-03-01").write_text("stuck")
    path = trigger(server, "gamma__daily", "2026-03-01")
    assert end_of(server, path) == "success"
    assert tries(server, path, "validate") == ["failed", "success"]
    assert attempts(server, "gamma", "2026-03-01", "validate") == [("failed", "E-RUN-TIMEOUT"), ("done", "")]
    log = log_of(server, path, "validate", 1)
    assert "E-RUN-TIMEOUT gamma 2026-03-01: 'validate' must end within" in log
    assert "SIGKILL" in log  # and not the alarm, which Python code would have heard


def test_out_of_memory_is_retried_once_and_then_final(server: Server) -> None:
    (server.root / "wishes" / "validate.2026-03-02").write_text("memory")
    path = trigger(server, "gamma__daily", "2026-03-02")
    assert end_of(server, path) == "failed"
    assert tries(server, path, "validate") == ["failed", "failed"]  # and not four
    assert attempts(server, "gamma", "2026-03-02", "validate") == [("failed", "E-RUN-MEMORY")] * 2


def test_bad_data_are_not_retried(server: Server) -> None:
    (server.root / "wishes" / "validate.2026-03-03").write_text("fail")
    path = trigger(server, "gamma__daily", "2026-03-03")
    assert end_of(server, path) == "failed"
    assert tries(server, path, "validate") == ["failed"]
    assert attempts(server, "gamma", "2026-03-03", "validate") == [("refused", "E-FAKE-DATA")]


def test_a_backfill_does_not_hold_up_the_night(server: Server) -> None:
    """Eight days that do not end beside a run of the same DAG: 8 slots, of which the backfill may have 4.

    The night would wait for ever behind any one of them.
    """
    held = [server.root / "wishes" / f"ingest.2026-03-0{day}" for day in range(2, 10)]
    for wish in held:
        wish.write_text("hold")
    body = {
        **{"dag_id": "alpha__daily", "from_date": "2026-03-02T00:00:00Z", "to_date": "2026-03-09T23:59:00Z"},
        **{"max_active_runs": 8, "reprocess_behavior": "none", "run_backwards": False, "dag_run_conf": {}},
    }
    post(server, "/api/v2/backfills", body)
    wait_for("a full pool", lambda: _running(server) == 4)
    path = trigger(server, "alpha__daily", "2026-03-01")
    assert end_of(server, path) == "success"
    mine = server.call("GET", f"{path}/taskInstances?limit=100")[1]["task_instances"]
    done = {task["task_id"] for task in mine if task["state"] == "success"}
    assert {"ingest", "validate", "deduplicate", "score", "release", "monitor"} <= done
    assert {(task["pool"], task["priority_weight"] > 0) for task in mine} == {("default_pool", True)}
    theirs = _of_backfill(server)
    assert {(task["pool"], task["priority_weight"] < 0) for task in theirs} == {("backfill", True)}
    assert sum(task["task_id"] == "ingest" and task["state"] == "running" for task in theirs) == 4
    for wish in held:
        wish.unlink()


def test_a_run_in_one_process_ends_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the watchdog ends the whole run; the same command again goes on."""
    for name in set(os.environ) - set(without_airflow()):
        monkeypatch.delenv(name)
    wishes = tmp_path / "wishes"
    wishes.mkdir()
    (wishes / "validate").write_text("stuck")
    monkeypatch.setenv("FAKE_STEPS", str(wishes))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests" / "fake_steps" / "site"))
    limited = ALPHA.replace("resources:\n", f"resources:\n  validate: {LIMITS}\n")
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=limited))
    with pytest.raises(StorageError, match=r"E-RUN-CHILD .* was stopped: E-RUN-TIMEOUT alpha 2026-03-01: 'validate'"):
        run_days(home, "alpha", ["2026-03-01"])
    assert [run["state"] for run in run_days(home, "alpha", ["2026-03-01"])] == ["success"]
    rows = Ledger(home.ledger_url).attempts("alpha", "2026-03-01")
    ends = [(row["state"], (row["error"] or "").split(" ")[0]) for row in rows if row["step"] == "validate"]
    assert ends == [("failed", "E-RUN-TIMEOUT"), ("done", "")]


def _of_backfill(server: Server) -> list[dict[str, Any]]:
    tasks = server.call("GET", "/api/v2/dags/alpha__daily/dagRuns/~/taskInstances?limit=500")[1]["task_instances"]
    return [task for task in tasks if task["dag_run_id"].startswith("backfill__")]


def _running(server: Server) -> int:
    return sum(task["state"] == "running" for task in _of_backfill(server))
