"""Which challenger is in shadow: it scores beside the champion until realised labels judge both.

Everything follows from the ledger: decisions of kind 'shadow' (START, HOLD, PROMOTE, DROP) and the champions' history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipelines.ledger import Ledger, Row
from pipelines.partitions import Partition, partition_at

KIND = "shadow"
TABLE = "shadow_predictions"
# A shadow that cannot be judged (no labels, no releases to compare with) must not keep all later challengers waiting.
PATIENCE = 3


@dataclass(frozen=True)
class Shadow:
    """One challenger in shadow. It scores partitions that start at `since` or later, `partitions` of them.

    What cannot be judged by a partition that ends at `until` is dropped. `champion`: in force when it began.
    """

    version: int
    began: str
    since: datetime
    until: datetime
    partitions: int
    champion: int
    approved_by: str | None = None


def current_shadow(ledger: Ledger, pipeline: str) -> Shadow | None:
    """The challenger in shadow now: begun, neither dropped nor champion since.

    A PROMOTE alone ends nothing: a run that was killed before it changed the champion is made up for by the next one.
    """
    rows = ledger.decisions(pipeline, KIND)
    starts = [row for row in rows if row["outcome"] == "START"]
    if not starts:
        return None
    start, version = starts[-1], starts[-1]["model_version"]
    is_dropped = any(
        row["outcome"] == "DROP" and row["model_version"] == version and row["id"] > start["id"] for row in rows
    )
    is_champion = any(
        row["version"] == version and row["seq"] > start["numbers"]["champion_seq"]
        for row in ledger.champions(pipeline)
    )
    return None if is_dropped or is_champion else _shadow(start)


def beginning(
    partitions: int, champion: Row, since: datetime, partition: Partition, delay_days: float
) -> dict[str, Any]:
    """The numbers of a START decision."""
    first = partition_at(since, partition.grain, partition.timezone)
    until = first.shift(PATIENCE * partitions).start + timedelta(days=delay_days)
    return {
        "champion": champion["version"],
        "champion_seq": champion["seq"],
        "partitions": partitions,
        "since": since.isoformat(),
        "until": until.isoformat(),
    }


def scored_beside(ledger: Ledger, pipeline: str, version: int) -> list[str]:
    """Partitions that this version scored in shadow, oldest first."""
    rows = ledger.publications(pipeline, TABLE)
    return [row["partition"] for row in rows if row["facts"].get("model_version") == version]


def shadow_state(ledger: Ledger, pipeline: str) -> dict[str, Any] | None:
    """The current shadow as plain data, with a sentence; None without one."""
    shadow = current_shadow(ledger, pipeline)
    if shadow is None:
        return None
    scored = len(scored_beside(ledger, pipeline, shadow.version))
    text = (
        f"version {shadow.version} scores beside version {shadow.champion} since {shadow.since:%Y-%m-%d}: {scored} of "
        f"{shadow.partitions} partitions scored, judged when their labels matured, at the latest "
        f"{shadow.until:%Y-%m-%d}"
    )
    return {
        "version": shadow.version,
        "champion": shadow.champion,
        "began": shadow.began,
        "since": shadow.since.isoformat(),
        "until": shadow.until.isoformat(),
        "scored": scored,
        "partitions": shadow.partitions,
        "text": text,
    }


def _shadow(start: Row) -> Shadow:
    numbers = start["numbers"]
    return Shadow(
        version=start["model_version"],
        began=start["partition"],
        since=datetime.fromisoformat(numbers["since"]),
        until=datetime.fromisoformat(numbers["until"]),
        partitions=numbers["partitions"],
        champion=numbers["champion"],
        approved_by=numbers.get("approved_by"),
    )
