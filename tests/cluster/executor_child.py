"""Airflow's Celery executor, in a process of its own, while servers that it needs are killed and come back.

main("hand_out", FOLDER, PORT)  a scheduler: the states that it was told about its tasks after each round, as JSON
main("note_start")              a worker notes that it starts a task, before it starts it
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from pipelines.servers.redis import Redis


def hand_out(folder: str, port: str) -> None:
    from airflow.providers.celery.executors.celery_executor import CeleryExecutor

    broker = Redis(Path(folder), int(port))
    server = started(broker)
    executor: Any = CeleryExecutor()
    executor.start()
    told = []
    executor.queue_workload(task("before"), session=None)
    told.append(states_after_a_round(executor))
    server.kill()
    server.wait()
    executor.queue_workload(task("while_it_is_away"), session=None)
    told.append(states_after_a_round(executor))
    server = started(broker)
    told.append(states_after_a_round(executor))
    server.kill()
    server.wait()
    print(json.dumps(told))


def started(broker: Redis) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not broker.answers() and time.monotonic() < deadline:
        time.sleep(0.05)
    return server


def task(name: str) -> Any:
    from airflow.executors.workloads import BundleInfo, ExecuteTask
    from airflow.executors.workloads.task import TaskInstanceDTO

    instance = TaskInstanceDTO(
        **{"id": uuid.uuid4(), "dag_version_id": uuid.uuid4(), "task_id": name, "dag_id": "d", "run_id": "r"},
        **{"try_number": 1, "map_index": -1, "queue": "default", "pool_slots": 1, "priority_weight": 1},
    )
    return ExecuteTask(
        ti=instance,
        dag_rel_path=Path("daily.py"),
        token="",
        log_path="log",
        bundle_info=BundleInfo(name="nightshift", version=None),
    )


def states_after_a_round(executor: Any) -> dict[str, str]:
    executor.heartbeat()
    return {key.task_id: str(state) for key, (state, _) in executor.get_event_buffer().items()}


def note_start() -> None:
    from airflow.providers.celery.executors.celery_executor_utils import app

    app.backend.store_result("first", {}, "PENDING")
    print("ready", flush=True)
    sys.stdin.readline()
    app.backend.store_result("second", {}, "STARTED")
    print(app.backend.get_state("second"))


if __name__ == "__main__":
    if sys.argv[1] == "hand_out":
        hand_out(*sys.argv[2:])
    else:
        note_start()
