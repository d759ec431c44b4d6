"""What the ledger knows for a message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines import approvals, shadows
from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.notify.events import approval_message, champion_message
from pipelines.notify.message import Message
from pipelines.notify.night import Night, night_message
from pipelines.notify.safe import Safe, known_words
from pipelines.report.status import status
from pipelines.settings import Pipeline
from pipelines.settings.pipeline import STEPS


def night(home: Home, pipeline: Pipeline, partition: str, base_url: str) -> Message:
    """The message about one partition.

    Raises:
        ConfigError: E-NOTIFY-PARTITION when nothing ever ran for it.
    """
    ledger, rows = Ledger(home.ledger_url), status(home, pipeline.name)["partitions"]
    now = next((row for row in rows if row["partition"] == partition), None)
    if now is None:
        what = f"nothing ran for partition '{partition}' yet"
        raise ConfigError("E-NOTIFY-PARTITION", pipeline.name, what, "Run it first, or name another one.")
    before = next((row for row in rows if row["partition"] < partition), None)
    return night_message(_night(ledger, pipeline, now, before), safe(ledger, pipeline), base_url)


def _night(ledger: Ledger, pipeline: Pipeline, now: dict[str, Any], before: dict[str, Any] | None) -> Night:
    start = pipeline.parse(now["partition"]).start
    since = pipeline.parse(before["partition"]).start if before else datetime.min.replace(tzinfo=UTC)
    champions = [row for row in ledger.champions(pipeline.name) if row["effective_from"] <= start]
    return Night(
        pipeline=pipeline.name,
        now=now,
        before=before,
        champion=champions[-1] if champions else None,
        promotions=_in_force(champions, since),
        gates=_decided(ledger, pipeline.name, "gate", before, now["partition"]),
        shadows=ledger.decisions(pipeline.name, shadows.KIND, now["partition"]),
        waiting=approvals.waiting(ledger, pipeline.name),
    )


def _in_force(champions: list[Row], since: datetime) -> list[Row]:
    """The last change after `since`, unless it put back who was champion then: what came between scored nothing."""
    new = [row for row in champions if row["effective_from"] > since]
    old = [row for row in champions if row["effective_from"] <= since]
    return new[-1:] if new and (not old or old[-1]["version"] != new[-1]["version"]) else []


def _decided(ledger: Ledger, name: str, kind: str, before: dict[str, Any] | None, partition: str) -> list[Row]:
    """Decisions since the night before: a retrain as of a night is decided when its message is out already."""
    first = before["partition"] if before else partition
    rows = ledger.decisions(name, kind)
    return [row for row in rows if first <= row["partition"] < partition or (not before and row["partition"] == first)]


def of_retrain(home: Home, pipeline: Pipeline, run_id: str, base_url: str) -> Message | None:
    """What a retrain run is worth telling: a new champion, or that nobody answered in time; else None."""
    ledger = Ledger(home.ledger_url)
    champions = ledger.champions(pipeline.name)
    for place, row in enumerate(champions):
        if row["run_id"] == run_id:
            previous = champions[place - 1]["version"] if place else None
            return champion_message(pipeline.name, row, previous, safe(ledger, pipeline), base_url)
    return of_approval(home, pipeline, run_id, base_url, approvals.TIMEOUT)


def of_approval(home: Home, pipeline: Pipeline, run_id: str, base_url: str, outcome: str) -> Message | None:
    """About the question of a retrain run, when it stands there with this outcome."""
    ledger = Ledger(home.ledger_url)
    for row in ledger.decisions(pipeline.name, approvals.KIND):
        if row["run_id"] == run_id and row["outcome"] == outcome:
            return approval_message(pipeline.name, row, safe(ledger, pipeline), base_url)
    return None


def safe(ledger: Ledger, pipeline: Pipeline) -> Safe:
    """Lets the names of this pipeline through: its settings, its steps, the features of its models."""
    settings = pipeline.model_dump(mode="json", by_alias=True)
    features = [name for row in ledger.models(pipeline.name) for name in row["record"].get("features") or ()]
    return Safe([*known_words(settings), *features, *STEPS, "gate.test", "training", "label"])
