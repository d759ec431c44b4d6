"""Which failed tasks of a run nobody was told of.

Airflow 3.3.2 calls `on_failure_callback` in the task's own process: a task that was killed calls nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.ledger import Ledger, Row

KILLED = "E-RUN-KILLED task: it was killed or did not answer any more."


@dataclass(frozen=True)
class Failure:
    """The newest attempt of a step that failed, and the connections that took a message about it."""

    step: str
    error: str
    topic: str
    told: frozenset[str]


def failures(ledger: Ledger, pipeline: str, run_id: str, failed: Sequence[str]) -> list[Failure]:
    """One entry per task of `failed`. A message counts that was sent after the attempt began, so that a task which is
    cleared and fails anew is told of anew."""
    attempts = [row for row in ledger.attempts(pipeline) if row["run_id"] == run_id]
    sent = [row for row in ledger.notifications(pipeline) if row["run_id"] == run_id]
    return [_failure(step, run_id, [row for row in attempts if row["step"] == step], sent) for step in failed]


def _failure(step: str, run_id: str, attempts: list[Row], sent: list[Row]) -> Failure:
    newest = attempts[-1] if attempts else None
    about = topic(run_id, step)
    told = {
        row["connection"]
        for row in sent
        if row["topic"].startswith(about) and (newest is None or row["sent_at"] >= newest["started_at"])
    }
    error = (newest or {}).get("error") or KILLED
    return Failure(step, error, f"{about}attempt {newest['id'] if newest else 0}", frozenset(told))


def topic(run_id: str, step: str) -> str:
    """How topics of messages about failures of this task begin."""
    return f"failure {run_id} {step} "
