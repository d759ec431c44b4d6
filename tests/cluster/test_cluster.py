"""A whole cluster on one machine: PostgreSQL, Redis, S3, MLflow, Airflow and two Celery workers, all real.

Its results are compared with those of the same steps on a local home.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from tests.cluster.running import PIPELINE, Cluster, facts, feed, run_steps, simulated

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HISTORY = [f"2026-03-0{day}" for day in range(1, 9)]
NIGHTS = ["2026-03-09", "2026-03-10", "2026-03-11"]
DAILY, RETRAIN = f"{PIPELINE}__daily", f"{PIPELINE}__retrain"


@dataclass(frozen=True)
class Both:
    """The running cluster, and what the same days gave on a local home."""

    cluster: Cluster
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    root = tmp_path_factory.mktemp("cluster")
    days = simulated(len(HISTORY) + len(NIGHTS))
    for folder in ("config", "expectations"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    local = Home(root / "local", root / "config")
    feed(str(local.root), days)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_run_all, local)
        cluster = Cluster(
            Home(root / "cluster", root / "config"),
            AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="15",
            CUDA_VISIBLE_DEVICES="",
        )
        try:
            beside.result()
            cluster.feed(days)
            run_steps(cluster.home, cluster.variables, "days", ",".join(HISTORY))
            yield Both(cluster, facts(Ledger(local.ledger_url)))
        finally:
            cluster.stop()


def _run_all(home: Home) -> None:
    run_steps(home, {}, "days", ",".join(HISTORY))
    run_steps(home, {}, "retrain", HISTORY[-1])
    run_steps(home, {}, "days", ",".join(NIGHTS))


def test_training_runs_on_the_gpu_worker_even_when_that_is_killed(both: Both) -> None:
    airflow = both.cluster.airflow
    run_id = airflow.trigger(RETRAIN, as_of_partition=HISTORY[-1])
    both.cluster.wait_for_task(RETRAIN, run_id, "train", "running")
    both.cluster.kill("gpu-1")
    (run,) = airflow.wait_for(RETRAIN, [run_id])
    assert run["state"] == "success"
    attempts = {task["task_id"]: task["try_number"] for task in airflow.tasks(RETRAIN, run_id)}
    assert attempts["train"] == 2
    assert _worker(airflow.log(RETRAIN, run_id, "train", attempt=2)) == "gpu-1"
    assert _worker(airflow.log(RETRAIN, run_id, "snapshot")) == "default-1"
    found = facts(both.cluster.ledger)
    assert (found["models"], found["champions"]) == (both.expected["models"], both.expected["champions"])


def test_a_backfill_while_servers_die_gives_what_a_laptop_gives(both: Both) -> None:
    airflow = both.cluster.airflow
    airflow.backfill(DAILY, NIGHTS[0], NIGHTS[-1])
    by_hand = airflow.trigger(DAILY, partition=NIGHTS[0])  # the same day twice at once
    for server in ("redis", "object-store", "postgres", "default-1", "scheduler", "mlflow"):
        both.cluster.kill(server)
        time.sleep(5)
    runs = [run["dag_run_id"] for run in airflow.runs(DAILY)]
    assert len(runs) == len(NIGHTS) + 1
    assert by_hand in runs
    states = {run["dag_run_id"]: run["state"] for run in airflow.wait_for(DAILY, runs)}
    assert set(states.values()) == {"success"}
    assert facts(both.cluster.ledger) == both.expected
    used = {_worker(airflow.log(DAILY, by_hand, "score", map_index=shard)) for shard in (0, 1)}
    assert used <= {"default-1", "gpu-1"}


def test_a_gpu_that_is_missing_fails_the_task_within_seconds_and_for_good(both: Both) -> None:
    airflow = both.cluster.airflow
    path = both.cluster.home.config / "pipelines" / f"{PIPELINE}.yaml"
    text = path.read_text()
    try:
        path.write_text(f"{text}\nresources:\n  train: {{device: cuda}}\n")
        run_id = airflow.trigger(RETRAIN, as_of_partition=HISTORY[-1])
        airflow.wait_for(RETRAIN, [run_id])
    finally:
        path.write_text(text)
    (train,) = (task for task in airflow.tasks(RETRAIN, run_id) if task["task_id"] == "train")
    assert (train["state"], train["try_number"]) == ("failed", 1)
    assert train["max_tries"] > 0
    started, ended = (datetime.fromisoformat(train[name]) for name in ("start_date", "end_date"))
    assert (ended - started).total_seconds() < 10
    assert "E-GPU-MISSING" in airflow.log(RETRAIN, run_id, "train")


def _worker(log: str) -> str | None:
    """Which worker a task's log names."""
    found = re.search(r"runs on (\S+) \(host \S+, process \d+\)", log)
    return found.group(1) if found else None
