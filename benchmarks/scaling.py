"""Throughput of a backfill and of mapped scoring on clusters of 1, 2 and 4 workers, one task at a time each.

    python -m benchmarks.scaling [--workers 1 2 4] [--days 4] [--rows 200000]

Each number of workers gets a cluster of its own. History and model are made before; measured are a backfill of small
days through Airflow's API, and the eight score shards of one large day.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.daily_chain import write_day
from pipelines.home import REPOSITORY, Home
from pipelines.storage.files import open_files
from tests.cluster.running import PIPELINE, Cluster, environment_of, run_steps, simulated

HISTORY = 8
SHARDS = 8
DAG = f"{PIPELINE}__daily"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--rows", type=int, default=200_000)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores; {arguments.days} small days; a day of {arguments.rows:,} rows in {SHARDS} shards")
    print("| workers | backfill, s | days per hour | score, s | scored rows per s |\n|---|---|---|---|---|", flush=True)
    for workers in arguments.workers:
        with tempfile.TemporaryDirectory() as folder:
            print(measured(Path(folder), workers, arguments.days, arguments.rows), flush=True)


def measured(root: Path, workers: int, days: int, rows: int) -> str:
    """A line of the table."""
    options = ("--workers", str(workers), "--gpu-workers", "0", "--concurrency", "1")
    cluster = Cluster(Home(root / "cluster", configuration(root)), *options)
    try:
        cluster.feed(simulated(HISTORY + days))
        history = [f"2026-03-{day:02d}" for day in range(1, HISTORY + 1)]
        run_steps(cluster.home, cluster.variables, "days", ",".join(history))
        run_steps(cluster.home, cluster.variables, "retrain", history[-1])
        backfill = seconds_of_backfill(cluster, HISTORY + 1, HISTORY + days)
        score = seconds_of_scoring(cluster, root, f"2026-03-{HISTORY + days + 1:02d}", rows)
    finally:
        cluster.stop()
    return f"| {workers} | {backfill:.0f} | {days * 3600 / backfill:.0f} | {score:.1f} | {rows / score:,.0f} |"


def configuration(root: Path) -> Path:
    """The repository's, with as many score shards and as many days at once as there may be workers."""
    shutil.copytree(REPOSITORY / "config", root / "config")
    shutil.copytree(REPOSITORY / "expectations", root / "expectations")
    path = root / "config" / "pipelines" / f"{PIPELINE}.yaml"
    text = path.read_text().replace("shards: 2", f"shards: {SHARDS}").replace('schedule: "0 5 * * 1"', "schedule: null")
    text = text.replace("validate:\n", "validate:\n  volume: {max_ratio: 1000000}\n").replace(
        "max_shift: 2.0", "max_shift: 1000"
    )
    path.write_text(text)
    return root / "config"


def seconds_of_backfill(cluster: Cluster, first: int, last: int) -> float:
    started = time.monotonic()
    cluster.airflow.backfill(DAG, f"2026-03-{first:02d}", f"2026-03-{last:02d}", active=last - first + 1)
    runs = cluster.airflow.wait_for(DAG, [run["dag_run_id"] for run in cluster.airflow.runs(DAG)])
    if {run["state"] for run in runs} != {"success"}:
        raise RuntimeError(f"not every day ended well: {[run['state'] for run in runs]}")
    return time.monotonic() - started


def seconds_of_scoring(cluster: Cluster, root: Path, partition: str, rows: int) -> float:
    """From the start of the first shard to the end of the last one; the day before them is made without Airflow."""
    write_day(root, partition, rows, np.random.default_rng(1))
    with environment_of(cluster.variables):
        files = open_files(cluster.storage)
        for path in sorted((root / "home").rglob("*")):
            if path.is_file():
                files.upload(path, path.relative_to(root / "home").as_posix())
    for step in ("ingest", "validate", "deduplicate", "build_features"):
        run_steps(cluster.home, cluster.variables, "step", step, partition)
    run_id = cluster.airflow.trigger(DAG, partition=partition)
    cluster.airflow.wait_for(DAG, [run_id])
    shards = [task for task in cluster.airflow.tasks(DAG, run_id) if task["task_id"] == "score"]
    return (
        max(_moment(task, "end_date") for task in shards) - min(_moment(task, "start_date") for task in shards)
    ).total_seconds()


def _moment(task: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(task[name])


if __name__ == "__main__":
    main()
