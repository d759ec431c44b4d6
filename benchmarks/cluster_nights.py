"""A backfill on a real cluster, and every night twice at once: what ran where, and whether a laptop gives the same.

    python -m benchmarks.cluster_nights [--days 20] [--twice 6]

First a retrain and a backfill of `--days` days through Airflow's API. Then a pipeline whose last night is due now: its
scheduled run, a backfill and runs by hand of the same `--twice` days all work at once. Rows, models, champions and
releases must have the digests that the same steps gave on a local home, each pointer must name files of one release,
and `nightshift verify` recomputes everything from the files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipelines.demo.feed import Day, simulate
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from tests.cluster.running import PIPELINE, Cluster, facts, feed, run_steps

HISTORY = 8
TWICE = "card_twice"
Partitions = list[str]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--twice", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, clusters(Path(folder)) as (cluster, local):
        backfill(cluster, local, arguments.days)
        every_night_twice(cluster, local, arguments.twice)


@contextmanager
def clusters(root: Path) -> Iterator[tuple[Cluster, Home]]:
    """A cluster and a local home, each with a configuration of its own: the demo's pipeline."""
    for name in ("local", "cluster"):
        for folder in ("config", "expectations"):
            shutil.copytree(REPOSITORY / folder, root / name / folder)
        pipelines = root / name / "config" / "pipelines"
        text = (pipelines / f"{PIPELINE}.yaml").read_text()
        for path in pipelines.glob("*.yaml"):
            path.unlink()
        (pipelines / f"{PIPELINE}.yaml").write_text(text.replace('schedule: "0 5 * * 1"', "schedule: null"))
    cluster = Cluster(Home(root / "cluster" / "home", root / "cluster" / "config"))
    try:
        yield cluster, Home(root / "local" / "home", root / "local" / "config")
    finally:
        cluster.stop()


def backfill(cluster: Cluster, local: Home, nights: int) -> None:
    """A retrain, whose `train` must run on the gpu worker, and a backfill; prints what ran where."""
    days = days_from(date(2026, 3, 1), HISTORY + nights)
    partitions = fed(cluster, local, days)
    for home, variables in ((local, {}), (cluster.home, cluster.variables)):
        run_steps(home, variables, "days", ",".join(partitions[:HISTORY]))
    retrain, daily = f"{PIPELINE}__retrain", f"{PIPELINE}__daily"
    run_id = cluster.airflow.trigger(retrain, as_of_partition=partitions[HISTORY - 1])
    cluster.airflow.wait_for(retrain, [run_id])
    print(f"train: {worker(cluster, retrain, run_id, 'train')}")
    started = time.monotonic()
    cluster.airflow.backfill(daily, partitions[HISTORY], partitions[-1])
    runs = cluster.airflow.wait_for(daily, [run["dag_run_id"] for run in cluster.airflow.runs(daily)], 3600)
    print(f"backfill of {len(runs)} days: {time.monotonic() - started:.0f} s, {states(runs)}")
    shards = Counter(
        worker(cluster, daily, run["dag_run_id"], "score", task["map_index"], task["try_number"]).split(" ")[0]
        for run in runs
        for task in cluster.airflow.tasks(daily, run["dag_run_id"])
        if task["task_id"] == "score"
    )
    print(f"shards of score: {dict(shards)}")
    run_steps(local, {}, "retrain", partitions[HISTORY - 1])
    run_steps(local, {}, "days", ",".join(partitions[HISTORY:]))
    compare(cluster, local, PIPELINE)


def every_night_twice(cluster: Cluster, local: Home, nights: int) -> None:
    """The scheduled run of the last night, and all nights as a backfill and by hand, at once."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = days_from(yesterday - timedelta(days=HISTORY + nights - 1), HISTORY + nights)
    text = (local.config / "pipelines" / f"{PIPELINE}.yaml").read_text()
    text = text.replace(f"name: {PIPELINE}", f"name: {TWICE}").replace("start: 2026-03-01", f"start: {days[0].date}")
    text = re.sub(r"(?m)^end: .*$", "", text)
    (local.config / "pipelines" / f"{TWICE}.yaml").write_text(text)
    partitions = fed(cluster, local, days)
    before = Home(cluster.home.root, local.config)  # the cluster's Airflow does not know the pipeline yet
    for home, variables in ((local, {}), (before, cluster.variables)):
        run_steps(home, variables, "days", ",".join(partitions[:HISTORY]), pipeline=TWICE)
        run_steps(home, variables, "retrain", partitions[HISTORY - 1], pipeline=TWICE)
    (cluster.home.config / "pipelines" / f"{TWICE}.yaml").write_text(text)
    dag = f"{TWICE}__daily"
    cluster.airflow.backfill(dag, partitions[HISTORY], partitions[-1])  # waits until Airflow knows it
    for partition in partitions[HISTORY:]:
        cluster.airflow.trigger(dag, partition=partition)
    while "scheduled" not in [run["run_type"] for run in cluster.airflow.runs(dag)]:
        time.sleep(0.5)
    runs = cluster.airflow.wait_for(dag, [run["dag_run_id"] for run in cluster.airflow.runs(dag)], 3600)
    kinds = Counter(run["run_type"] for run in runs)
    print(f"{nights} nights twice at once: {dict(kinds)}, {states(runs)}, {overlapping(runs)} overlap with their twin")
    run_steps(local, {}, "days", ",".join(partitions[HISTORY:]), pipeline=TWICE)
    compare(cluster, local, TWICE)


def days_from(first: date, days: int) -> list[Day]:
    return simulate(first, days, first + timedelta(days=365), payments_per_day=220, cards=60)


def fed(cluster: Cluster, local: Home, days: list[Day]) -> Partitions:
    feed(str(local.root), days)
    cluster.feed(days)
    return [str(day.date) for day in days]


def worker(cluster: Cluster, dag: str, run_id: str, task: str, map_index: int = -1, attempt: int = 1) -> str:
    """Worker, host and process as the task's log names them."""
    log = cluster.airflow.log(dag, run_id, task, attempt, map_index)
    found = re.search(r"runs on (\S+ \(host \S+, process \d+\))", log)
    return found.group(1) if found else "?"


def states(runs: list[dict[str, str]]) -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(run["state"] for run in runs).items())


def overlapping(runs: list[dict[str, str]]) -> int:
    """Partitions of which two runs were under way at the same time."""
    found = set()
    for one in runs:
        for other in runs:
            is_twin = one is not other and one["partition_key"] == other["partition_key"]
            if is_twin and one["start_date"] <= other["start_date"] <= one["end_date"]:
                found.add(one["partition_key"])
    return len(found)


def compare(cluster: Cluster, local: Home, pipeline: str) -> None:
    is_same = facts(cluster.ledger, pipeline) == facts(Ledger(local.ledger_url), pipeline)
    print(f"same digests as on a laptop: {'yes' if is_same else 'NO'}")
    exports = json.loads(nightshift(cluster, "exports", pipeline, "--json"))
    mixed = [one for one in exports["partitions"] if any(one["release_id"] not in file for file in one["files"])]
    print(f"partitions whose files are not all of one release: {len(mixed)} of {len(exports['partitions'])}")
    verified = json.loads(nightshift(cluster, "verify", pipeline, "--json"))
    print(f"nightshift verify: {verified['released_partitions']} releases, {len(verified['problems'])} problems")


def nightshift(cluster: Cluster, *arguments: str) -> str:
    environment = dict(os.environ) | cluster.variables | cluster.home.environment()
    command = [str(Path(sys.executable).parent / "nightshift"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    main()
