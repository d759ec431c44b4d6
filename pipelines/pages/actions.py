"""What a person may start from a page: in words, and as a request to Airflow's own API.

Nothing is started here. The plugin sends the request with the rights of whoever pressed the button, so that Airflow's
permissions, checks and audit log hold as in its own forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.partitions import Partition
from pipelines.settings import load_pipeline

Given = Mapping[str, str]
AT_ONCE = 4  # runs of a backfill side by side, as the daily DAG's own limit
REASON, WHICH = "reason", "which"


@dataclass(frozen=True)
class Question:
    """One field of a form."""

    name: str
    label: str
    help: str
    value: str = ""
    shortest: int = 1
    choices: tuple[tuple[str, str], ...] = ()  # (value, words)


@dataclass(frozen=True)
class Proposal:
    """What one button starts. `refusal`: why it cannot be done now; empty where it can.

    `settled` are the answers that the address already gives, such as the partition.
    """

    pipeline: str
    action: str
    dag_id: str
    title: str
    button: str
    says: tuple[str, ...]
    back: str
    settled: dict[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    conf: dict[str, Any] = field(default_factory=dict)
    partition: str | None = None
    refusal: str = ""


def request(home: Home, one: Proposal, answers: Given, token: str) -> tuple[str, dict[str, Any]]:
    """Path and body for Airflow's API. The run is called after `token`, so that the same form starts one run only."""
    if one.action == "backfill":
        return "/api/v2/backfills", _backfill_body(home, one, answers)
    asked = {question.name: answers[question.name].strip() for question in one.questions}
    body = {
        "dag_run_id": run_id(one.action, token),
        "logical_date": None,
        "conf": one.conf | asked,
        "note": asked.get(REASON),
    }
    return f"/api/v2/dags/{one.dag_id}/dagRuns", body | ({"partition_key": one.partition} if one.partition else {})


def run_id(action: str, token: str) -> str:
    return f"page__{action}__{token}"


def problems(home: Home, one: Proposal, answers: Given) -> list[str]:
    """What is wrong with the answers, as sentences; empty when nothing is."""
    found = []
    for question in one.questions:
        value = answers.get(question.name, "").strip()
        if len(value) < question.shortest:
            least = f" (at least {question.shortest} characters)" if question.shortest > 1 else ""
            found.append(f"'{question.label}' must be filled in{least}.")
        elif question.choices and value not in dict(question.choices):
            found.append(f"'{question.label}' must be one of those listed.")
    if found or one.action != "backfill":
        return found
    try:
        first, last = _span(home, one, answers)
    except ConfigError as error:
        return [str(error)]
    return [f"The last partition ({last.key}) lies before the first ({first.key})."] if last < first else []


def _span(home: Home, one: Proposal, answers: Given) -> tuple[Partition, Partition]:
    pipeline = load_pipeline(one.pipeline, home.config)
    return pipeline.parse(answers["first"].strip()), pipeline.parse(answers["last"].strip())


def _backfill_body(home: Home, one: Proposal, answers: Given) -> dict[str, Any]:
    """Airflow counts the ticks from the first moment to the last, both included."""
    first, last = _span(home, one, answers)
    return {
        "dag_id": one.dag_id,
        "from_date": first.start.isoformat(),
        "to_date": (last.end - timedelta(seconds=1)).isoformat(),
        "max_active_runs": AT_ONCE,
        "reprocess_behavior": answers[WHICH],
        "run_backwards": False,
        "dag_run_conf": {},
    }
