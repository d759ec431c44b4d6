"""What a step's log lines carry, and what of its outcome they say: names, counts and decisions, never a row's value."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from structlog.contextvars import bound_contextvars

# Of a summary, what may hold no value of a row. Reasons, warnings and notes stand in the ledger and on the pages.
_TOLD = (
    *("state", "outcome", "decision", "shard", "shards", "worker", "rows", "read", "clean", "quarantined", "duplicate"),
    *("refused", "scored", "version", "model_version", "champion", "snapshot_id", "release_id", "digest", "device"),
    *("trials", "metric", "is_hindsight"),
)
# At DEBUG these write whole requests, with rows and signatures. Airflow's own setting for one logger's
# level ([logging] namespace_levels, 3.3.2) reaches its own loggers only.
_TALKATIVE = ("botocore", "boto3", "s3transfer", "urllib3", "httpx", "httpcore", "httpx2", "httpcore2")


def hush() -> None:
    """Libraries that log what they send are not heard below INFO; a level that was set on purpose stays."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


def logged(
    pipeline: str, partition: str, step: str, run_id: str, code: str, version: int | None
) -> AbstractContextManager[None]:
    """Within the block every log line of this process carries these: ours, Airflow's and those of libraries."""
    facts = {"pipeline": pipeline, "partition": partition, "step": step, "run_id": run_id, "code_version": code}
    return bound_contextvars(**facts, **({"model_version": version} if version else {}))


def told(summary: Mapping[str, Any]) -> str:
    """The outcome in one line: `state done, rows 763, quarantined 2`."""
    known = {name: summary[name] for name in _TOLD if isinstance(summary.get(name), str | int | float)}
    return ", ".join(f"{name} {value}" for name, value in known.items())
