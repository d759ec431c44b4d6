"""Airflow reads this module by its name, in each of its processes when it starts.

The scheduler asks it about each task instance that it creates.

What keeps a backfill from starving the nightly run (Airflow 3.3.2): the runs themselves do not compete, since a
backfill has a limit of its own beside the DAG's `max_active_runs`, and queued runs of backfills are started last. Their
tasks do compete: by default those early in a DAG have the higher priority, so `ingest` of every backfilled day goes
before `score` of tonight, and what was handed to a worker's queue is not overtaken any more. So tasks of a backfill
come after all others, and in a pool that is smaller than the workers, which keeps the rest of them free.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

# The launcher names the pool that it created; a task whose pool does not exist would wait silently for ever.
POOL = "NIGHTSHIFT_BACKFILL_POOL"
BEHIND = 10_000  # more than all tasks of a DAG weigh together


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Puts a backfill's task behind all others; one in the default pool moves to the pool of backfills.

    A task that has a pool of its own, e.g. that of the GPU, stays there: that pool, too, serves the others first.
    Airflow may ask twice about the same instance.
    """
    if not _is_backfill(task_instance, dag_run):
        return
    if task_instance.priority_weight > 0:
        task_instance.priority_weight -= BEHIND
    if task_instance.pool == "default_pool" and (pool := os.environ.get(POOL)):
        task_instance.pool = pool


def _is_backfill(task_instance: Any, dag_run: Any) -> bool:
    """By the run where it is at hand; loading it here would break the scheduler's transaction."""
    run = dag_run or vars(task_instance).get("dag_run")
    if run is None:
        return str(task_instance.run_id).startswith("backfill__")
    return str(getattr(run.run_type, "value", run.run_type)) == "backfill"


def preload() -> None:
    """What every DAG file needs: the DAG processor forks a process per file, which then has it already.

    Building the typed settings takes 0.2 s of CPU and fifty pipelines as much again, per file and every half minute
    otherwise. A child reads again what changed since.
    """
    from pipelines.home import Home
    from pipelines.settings import pipeline_names
    from pipelines.settings.kept import look_up

    with suppress(Exception):  # a file that cannot be read must not stop Airflow: dags/settings_errors.py shows it
        config = Home.resolve().config
        for name in pipeline_names(config):
            look_up(name, config)


if "dag-processor" in sys.argv[:2]:
    preload()
