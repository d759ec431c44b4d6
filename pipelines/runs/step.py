"""Runs one step of one pipeline for one partition and writes down how it went."""

from __future__ import annotations

import logging
import resource
import subprocess
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, ModelError, NightshiftError
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.settings import load_pipeline

log = logging.getLogger("nightshift")

Summary = dict[str, Any]


def open_context(name: str, partition: str, run_id: str, home: Home | None = None) -> Context:
    """The context of a run, from names alone, so that a task on any machine can open it."""
    home = home or Home.resolve()
    pipeline = load_pipeline(name, home.config)
    return Context(pipeline, home, Ledger(home.ledger_url), pipeline.parse(partition), run_id)


def run_step(context: Context, step: str, work: Callable[[Context], Summary]) -> Summary:
    """The summary of `work`; its attempt, state, error and peak memory are in the ledger afterwards."""
    attempt = context.ledger.start_attempt(context.name, context.key, step, context.run_id, code_version())
    try:
        summary = work(context)
    except NightshiftError as error:
        state = "refused" if isinstance(error, DataError | ModelError) else "failed"
        context.ledger.end_attempt(attempt, state, None, str(error), _peak_rss_mib())
        raise
    except BaseException as error:
        context.ledger.end_attempt(attempt, "failed", None, f"{type(error).__name__}: {error}"[:2000], _peak_rss_mib())
        raise
    context.ledger.end_attempt(attempt, str(summary.get("state", "done")), summary, None, _peak_rss_mib())
    log.info("%s %s %s: %s", context.name, context.key, step, summary)
    return summary


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
