"""What Airflow is told about a step's resources: where it runs, how many at once, and when it is tried again."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.settings import Pipeline

POD_TEMPLATES = "NIGHTSHIFT_POD_TEMPLATES"
IN_PROCESS = "NIGHTSHIFT_IN_PROCESS"  # set by `nightshift run`: nobody else works, so waiting would be for ever


def task_arguments(pipeline: Pipeline, step: str) -> dict[str, Any]:
    """Queue, pool, executor and retries of a step, from the pipeline's `resources`.

    The time limit is not among them: Airflow's `execution_timeout` is an alarm that native code does not hear, so
    `run_step` keeps the time (see pipelines/runs/watchdog.py).

    Airflow 3.3 waits `retry_delay * 2**(try - 1) * [1, 2)` seconds, but takes the random part from dag, task, try and
    logical date, and runs of partitions have no logical date: all days of a backfill, and all shards, would knock on
    a store that is away at the same moment. `SpreadRetries` draws anew for each. A task that was killed cannot ask
    it; then Airflow's own formula holds.
    """
    resources = pipeline.resources_of(step)
    delay, longest = resources.retry_delay_seconds, resources.max_retry_delay_seconds
    return {
        "queue": resources.queue,
        "pool": resources.pool,
        "pool_slots": resources.pool_slots,
        "executor": resources.executor if _is_configured(resources.executor, pipeline.name, step) else None,
        "executor_config": _pod_of(resources.queue),
        "retries": resources.retries,
        "retry_delay": timedelta(seconds=delay),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(seconds=longest),
        "retry_policy": SpreadRetries(delay, longest),
    }


class SpreadRetries(RetryPolicy):
    """Waits before a retry: `delay * 2**(try - 1)` seconds and at random up to as much again, never above `longest`."""

    def __init__(self, delay_seconds: float, longest_seconds: float) -> None:
        self.delay_seconds, self.longest_seconds = delay_seconds, longest_seconds

    def evaluate(
        self,
        exception: BaseException,  # noqa: ARG002 - final errors come as AirflowFailException and are not asked about
        try_number: int,
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        return RetryDecision.retry(timedelta(seconds=self.seconds(try_number)))

    def seconds(self, try_number: int) -> float:
        """Half of the longest wait is the base at most, so that retries stay spread there, too."""
        base = min(self.delay_seconds * 2.0 ** min(try_number - 1, 30), self.longest_seconds / 2)
        return base * (1 + random.random())


def _pod_of(queue: str) -> dict[str, str]:
    """The pod template of a queue for the KubernetesExecutor, which knows no queues: `<queue>.yaml` in a folder."""
    folder = os.environ.get(POD_TEMPLATES)
    file = Path(folder or "", f"{queue}.yaml")
    return {"pod_template_file": str(file)} if folder and file.is_file() else {}


def _is_configured(executor: str | None, pipeline: str, step: str) -> bool:
    """Whether tasks may name `executor`; Airflow would refuse the whole file for an unknown one."""
    if executor is None or os.environ.get(IN_PROCESS):
        return False
    from airflow.configuration import conf

    known = [entry.split(":")[0].strip() for entry in str(conf.get("core", "executor")).split(",")]
    if executor not in known and executor not in [entry.rsplit(".", 1)[-1] for entry in known]:
        raise ConfigError(
            "E-CONFIG-EXECUTOR",
            pipeline,
            f"resources.{step}.executor must be one of {known}, got '{executor}'",
            "Add it to AIRFLOW__CORE__EXECUTOR or change the pipeline's 'resources'.",
        )
    return True
