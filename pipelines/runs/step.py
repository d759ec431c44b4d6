"""Runs one step of one pipeline for one partition and writes down how it went."""

from __future__ import annotations

import logging
import os
import resource
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pipelines.calls import counted
from pipelines.context import Context
from pipelines.errors import DataError, ModelError, NightshiftError, without_values
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.runs.logs import hush, logged, told
from pipelines.runs.memory import is_out_of_memory, out_of_memory, plan_attempt
from pipelines.runs.watchdog import Watch, watched
from pipelines.settings import load_pipeline

log = logging.getLogger("nightshift")

Summary = dict[str, Any]


def open_context(name: str, partition: str, run_id: str, home: Home | None = None) -> Context:
    """The context of a run, from names alone, so that a task on any machine can open it."""
    home = home or Home.resolve()
    pipeline = load_pipeline(name, home.config)
    return Context(pipeline, home, Ledger(home.ledger_url), pipeline.parse(partition), run_id)


def run_step(
    context: Context,
    step: str,
    work: Callable[[Context], Summary],
    part: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Summary:
    """The summary of `work`; its attempt, state, error and peak memory are in the ledger afterwards.

    `part` tells tasks apart that run one step for one partition, e.g. `{"shard": 3}`. An attempt after one that ran
    out of memory works with smaller batches. Log lines carry who and what for, and the model `version` if it has one.

    Raises:
        ResourceError: E-RUN-TIMEOUT and E-RUN-MEMORY; an ExhaustedError when smaller batches did not help.
    """
    hush()
    with logged(context.name, context.key, step, context.run_id, code_version(), version):
        return _run(context, step, work, part)


def _run(
    context: Context, step: str, work: Callable[[Context], Summary], part: Mapping[str, Any] | None = None
) -> Summary:
    plan = plan_attempt(context, step, dict(part or {}), code_version())
    attempt = context.ledger.start_attempt(
        context.name, context.key, step, context.run_id, code_version(), plan.to_summary()
    )
    worker = os.environ.get("NIGHTSHIFT_WORKER", "this machine")
    log.info("%s %s runs on %s (host %s, process %d)", context.where, step, worker, socket.gethostname(), os.getpid())
    watch = _watch(context, step, attempt, plan.is_small)
    try:
        with watched(watch):
            summary = counted(work, replace(context, is_small=plan.is_small))
    except BaseException as error:
        failure = out_of_memory(watch, error, _peak_rss_mib()) if is_out_of_memory(error) else error
        state = "refused" if isinstance(failure, DataError | ModelError) else "failed"
        text = str(failure) if isinstance(failure, NightshiftError) else without_values(error)
        context.ledger.end_attempt(attempt, state, plan.to_summary(), text, _peak_rss_mib())
        if failure is error:
            raise
        raise failure from error
    context.ledger.end_attempt(attempt, str(summary.get("state", "done")), summary, None, _peak_rss_mib())
    log.info("%s %s %s: %s", context.name, context.key, step, told(summary))
    return summary


def _watch(context: Context, step: str, attempt: int, is_small: bool) -> Watch:
    resources, minutes = context.pipeline.resources_of(step), context.pipeline.resources_of(step).time_limit_minutes
    raw = context.ledger.publication(context.name, "raw", context.key)
    return Watch(
        step=step,
        where=context.where,
        attempt=attempt,
        ledger_url=context.ledger.url,
        limit_seconds=minutes * 60 if minutes else None,
        memory_gib=resources.memory_gib,
        rows=raw["row_count"] if raw else None,
        is_small=is_small,
    )


@lru_cache(maxsize=1)
def code_version() -> str:
    """The commit that runs, with '+changes' when the work tree differs from it; 'unknown' outside a checkout."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+changes", "--abbrev=12"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return run.stdout.strip()


def _peak_rss_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
