"""Kills servers and workers of a real cluster at random moments of its runs, and times the recovery.

    python -m benchmarks.cluster_faults [--kind redis] [--times 10] [--seed 1]

For each kind a pipeline of its own runs a backfill of as many days as there are kills, four days at once (`gpu-worker`
and `mlflow`: as many retrains, one after another, killed while they train). `object-store-503` kills nothing: a proxy
in front of the store answers everything with 503 for 1 to 20 seconds. Afterwards rows, models, champions and releases
must have the digests that the same steps gave on a local home without faults. Recovery: from the kill until a task
ends well after the server answers again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from tests.cluster.running import PIPELINE, Cluster, facts, feed, run_steps, simulated
from tests.fault_proxy import FaultProxy
from tests.object_store import ObjectStore

PROCESSES = {"gpu-worker": "gpu-1", "default-worker": "default-1"}
BUSY = "object-store-503"
TRAINING = ("gpu-worker", "mlflow")  # what nights do not need
KINDS = ("gpu-worker", "default-worker", "scheduler", "redis", "postgres", "object-store", "mlflow", BUSY)
HISTORY = 8
_LONGEST_RUN_SECONDS = 1800
# A third of the cluster's usual time until a lost worker is noticed, and a tenth of that until a lost message is.
SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}
Hit = Callable[[], object]  # returns when what it broke works again


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    kind: str
    ended: list[bool]
    seconds: list[float]
    is_same: bool

    @property
    def is_good(self) -> bool:
        return self.is_same and all(self.ended)

    def __str__(self) -> str:
        recovery = f"{statistics.median(self.seconds):.0f} ({max(self.seconds):.0f})"
        ended, same = f"{sum(self.ended)} of {len(self.ended)}", "yes" if self.is_same else "NO"
        return f"| {self.kind} | {len(self.seconds)} | {ended} | {recovery} | {same} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    kinds = arguments.kind or list(KINDS)
    print(
        "| what | times | runs ended well | recovery, median s (max) | same digests |\n|---|---|---|---|---|",
        flush=True,
    )
    killed = [kind for kind in kinds if kind != BUSY]
    if killed:
        print_rows(killed, arguments.times, arguments.seed)
    if BUSY in kinds:  # in a cluster of its own, whose store is behind a proxy
        print_rows([BUSY], arguments.times, arguments.seed)


def print_rows(kinds: list[str], times: int, seed: int) -> None:
    """A cluster, and a row for each kind. The folder stays for a closer look when something ended badly."""
    root, is_good = Path(tempfile.mkdtemp()), False
    try:
        with (
            running(root, kinds, simulated(HISTORY + times)) as (cluster, local, proxy),
            ThreadPoolExecutor(1) as beside,
        ):
            expected = {kind: beside.submit(without_faults, kind, local, times) for kind in kinds}
            rows = []
            for kind in kinds:
                chance = random.Random(f"{seed} {kind}")
                process = PROCESSES.get(kind, kind)
                hit: Hit = partial(refuse_all, proxy, chance) if proxy else partial(cluster.kill, process)
                ended, seconds = with_faults(kind, hit, cluster, times, chance)
                is_same = facts(cluster.ledger, pipeline_of(kind)) == expected[kind].result()
                rows.append(Row(kind, ended, seconds, is_same))
                print(rows[-1], flush=True)
        is_good = all(row.is_good for row in rows)
    finally:
        if is_good:
            shutil.rmtree(root)
        else:
            print(f"Kept for a closer look: {root}", flush=True)


@contextmanager
def running(root: Path, kinds: list[str], days: Any) -> Iterator[tuple[Cluster, Home, FaultProxy | None]]:
    """A cluster and a local home with the same days; for `object-store-503` also the proxy in front of the store."""
    config = pipelines_for(kinds, root)
    local = Home(root / "local", config)
    feed(str(local.root), days)
    store = ObjectStore(root / "store") if BUSY in kinds else None
    proxy = FaultProxy(store.port) if store else None
    options: tuple[str, ...] = ()
    variables = dict(SETTINGS)
    if store and proxy:
        options = ("--storage", f"{store.root}/data")
        variables |= store.environment | {"AWS_ENDPOINT_URL": proxy.url}
    cluster = Cluster(Home(root / "cluster", config), *options, **variables)
    try:
        cluster.feed(days)
        yield cluster, local, proxy
    finally:
        cluster.stop()
        if store and proxy:
            proxy.close()
            store.kill()


def pipelines_for(kinds: list[str], root: Path) -> Path:
    """A configuration folder with a copy of the demo's pipeline for each kind, none of which retrains by itself."""
    shutil.copytree(REPOSITORY / "config", root / "config")
    shutil.copytree(REPOSITORY / "expectations", root / "expectations")
    folder = root / "config" / "pipelines"
    text = (folder / f"{PIPELINE}.yaml").read_text()
    for path in folder.glob("*.yaml"):
        path.unlink()
    for kind in kinds:
        copy = text.replace(f"name: {PIPELINE}", f"name: {pipeline_of(kind)}")
        (folder / f"{pipeline_of(kind)}.yaml").write_text(copy.replace('schedule: "0 5 * * 1"', "schedule: null"))
    return root / "config"


def pipeline_of(kind: str) -> str:
    return f"card_{kind.replace('-', '_')}"


def refuse_all(proxy: FaultProxy, chance: random.Random) -> None:
    """The store answers nothing but 503 for a while."""
    proxy.add("status", status=503)
    time.sleep(chance.uniform(1, 20))
    proxy.faults.clear()


def without_faults(kind: str, local: Home, times: int) -> dict[str, Any]:
    """What the same steps give on a local home, one after another in one process."""
    pipeline, history = pipeline_of(kind), nights_of(1, HISTORY)
    run_steps(local, {}, "days", ",".join(history), pipeline=pipeline)
    if kind in TRAINING:
        for number in range(times):  # each a run of its own, as on the cluster
            run_steps(local, {"CHAIN_RUN": f"-{number}"}, "retrain", history[-1], pipeline=pipeline)
    else:
        run_steps(local, {}, "retrain", history[-1], pipeline=pipeline)
        run_steps(local, {}, "days", ",".join(nights_of(HISTORY + 1, HISTORY + times)), pipeline=pipeline)
    return facts(Ledger(local.ledger_url), pipeline)


def with_faults(
    kind: str, hit: Hit, cluster: Cluster, times: int, chance: random.Random
) -> tuple[list[bool], list[float]]:
    """Which runs ended well, and seconds to each recovery. History is made without Airflow and without faults."""
    pipeline, history = pipeline_of(kind), nights_of(1, HISTORY)
    run_steps(cluster.home, cluster.variables, "days", ",".join(history), pipeline=pipeline)
    if kind in TRAINING:
        return during_trainings(cluster, pipeline, hit, times, chance)
    run_steps(cluster.home, cluster.variables, "retrain", history[-1], pipeline=pipeline)
    return during_nights(cluster, pipeline, hit, nights_of(HISTORY + 1, HISTORY + times), chance)


def nights_of(first: int, last: int) -> list[str]:
    return [f"2026-03-{day:02d}" for day in range(first, last + 1)]


def during_nights(
    cluster: Cluster, pipeline: str, hit: Hit, nights: list[str], chance: random.Random
) -> tuple[list[bool], list[float]]:
    """A backfill of these nights and as many hits: which runs ended well, and seconds to each recovery."""
    dag = f"{pipeline}__daily"
    cluster.airflow.backfill(dag, nights[0], nights[-1])
    seconds = []
    for _ in nights:
        time.sleep(chance.uniform(0, 15))
        if not _is_busy(cluster, dag):  # all days are done before all hits: once more, with the same result
            cluster.airflow.backfill(dag, nights[0], nights[-1], again=True)
        seconds.append(recovery(cluster, dag, hit))
    return _ended(cluster.airflow.wait_for(dag, _ids(cluster, dag), _LONGEST_RUN_SECONDS)), seconds


def during_trainings(
    cluster: Cluster, pipeline: str, hit: Hit, times: int, chance: random.Random
) -> tuple[list[bool], list[float]]:
    """As many retrains, each hit at a random moment of `train`."""
    dag = f"{pipeline}__retrain"
    seconds = []
    for _ in range(times):
        run_id = cluster.airflow.trigger(dag, as_of_partition=f"2026-03-{HISTORY:02d}")
        cluster.wait_for_task(dag, run_id, "train", "running")
        time.sleep(chance.uniform(0, 6))
        seconds.append(recovery(cluster, dag, hit))
        cluster.airflow.wait_for(dag, [run_id], _LONGEST_RUN_SECONDS)
    return _ended(cluster.airflow.runs(dag)), seconds


def recovery(cluster: Cluster, dag: str, hit: Hit) -> float:
    """Hits, and waits until a task has ended well after that or nothing is left to do; in seconds."""
    started = time.monotonic()
    hit()
    done = _done(cluster, dag)
    while _done(cluster, dag) <= done and _is_busy(cluster, dag) and time.monotonic() - started < 600:
        time.sleep(0.5)
    return time.monotonic() - started


def _done(cluster: Cluster, dag: str) -> int:
    path = f"/api/v2/dags/{dag}/dagRuns/~/taskInstances?state=success&limit=1"
    return int(cluster.airflow.call("GET", path)["total_entries"])


def _is_busy(cluster: Cluster, dag: str) -> bool:
    return any(run["state"] in ("queued", "running") for run in cluster.airflow.runs(dag))


def _ids(cluster: Cluster, dag: str) -> list[str]:
    return [run["dag_run_id"] for run in cluster.airflow.runs(dag)]


def _ended(runs: list[dict[str, Any]]) -> list[bool]:
    return [run["state"] == "success" for run in runs]


if __name__ == "__main__":
    main()
