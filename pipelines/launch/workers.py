"""Celery workers of a cluster that runs on one machine, each with a home of its own: they share servers, no disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.home import Home
from pipelines.servers.children import Child


@dataclass(frozen=True)
class Worker:
    """One Celery worker: its name, the queues that it listens to, and how many tasks it runs at once."""

    name: str
    queues: tuple[str, ...]
    concurrency: int


def usual_workers(default: int, gpu: int, concurrency: int = 2) -> list[Worker]:
    """Workers for ordinary steps and for heavy ones; shards of `score` go to whoever is free."""
    ordinary = [Worker(f"default-{number}", ("default", "score"), concurrency) for number in range(1, default + 1)]
    # One task at a time: two trainings on one GPU would take each other's memory.
    heavy = [Worker(f"gpu-{number}", ("gpu", "score"), 1) for number in range(1, gpu + 1)]
    return ordinary + heavy


def worker_child(home: Home, worker: Worker, environment: Mapping[str, str]) -> Child:
    """The worker's process. It has a folder of its own for scratch; task logs go to the shared log folder.

    Without its log server, which would listen on all interfaces and on the same port as the next worker's.
    """
    own = home.root / "workers" / worker.name
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    airflow = str(Path(sys.executable).parent / "airflow")
    command = [
        *(sys.executable, airflow, "celery", "worker", "--skip-serve-logs"),
        *("--queues", ",".join(worker.queues), "--celery-hostname", f"{worker.name}@%h"),
        *("--concurrency", str(worker.concurrency)),
    ]
    settings = dict(environment) | {
        "NIGHTSHIFT_HOME": str(own),
        "NIGHTSHIFT_WORKER": worker.name,
        "AIRFLOW_HOME": str(own / "airflow"),
    }
    return Child(worker.name, command, settings, home.airflow / "logs" / "services" / f"{worker.name}.log")
