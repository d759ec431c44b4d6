"""What earlier partitions decided, and whether this one may start a retrain. Later partitions never count."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.monitoring.decision import Facts, Vote
from pipelines.monitoring.evidence import Evidence
from pipelines.partitions import partition_at
from pipelines.staged import champion_for

_FAR = 1000  # partitions; longer ago is longer than any cooldown


def decisions_before(context: Context) -> list[Row]:
    """The newest drift decision of each earlier partition, in order of partitions."""
    rows = context.ledger.decisions(context.name, "drift")
    newest = {row["partition"]: row for row in rows if row["partition"] < context.key}
    return [newest[key] for key in sorted(newest)]


def votes_before(earlier: Sequence[Row], version: int) -> list[Vote]:
    """Votes about this champion; what was said of another one, or of no data, is left out."""
    return [
        Vote(row["partition"], row["numbers"]["grade"], tuple(row["reasons"]))
        for row in earlier
        if row["model_version"] == version and "grade" in row["numbers"]
    ]


def facts_of(context: Context, champion: Row, earlier: Sequence[Row], evidence: Evidence) -> Facts:
    first = partition_at(champion["effective_from"], context.partition.grain, context.partition.timezone)
    return Facts(
        since_champion=_steps(context, first.key) + 1,
        since_retrain=since_last_retrain(context, earlier),
        new_labels=evidence.new_labels,
        realised=evidence.realised,
    )


def since_last_retrain(context: Context, earlier: Sequence[Row]) -> int | None:
    """Partitions since the last one that asked for a retrain (1: the one before), None when none did."""
    asked = [row["partition"] for row in earlier if row["outcome"] == "RETRAIN"]
    return _steps(context, asked[-1]) if asked else None


def may_trigger(context: Context, digest: str) -> bool:
    """Whether a RETRAIN of this partition is news: the newest partition, scored by the newest champion, and not
    asked for before by another run from the same inputs."""
    ledger, name = context.ledger, context.name
    later_release = any(row["partition"] > context.key for row in ledger.releases(name) if row["state"] == "released")
    later_decision = any(row["partition"] > context.key for row in ledger.decisions(name, "drift"))
    newest, chosen = ledger.champion(name), champion_for(context)
    replaced = newest is not None and (chosen is None or chosen[0]["seq"] != newest["seq"])
    asked = any(
        row["outcome"] == "RETRAIN" and row["run_id"] != context.run_id and row["numbers"].get("input_digest") == digest
        for row in ledger.decisions(name, "drift", context.key)
    )
    return not (later_release or later_decision or replaced or asked)


def _steps(context: Context, earlier: str) -> int:
    """Partitions from `earlier` to the monitored one, 0 when they are the same; at most 1000."""
    step, current = 0, context.partition
    while current.key > earlier and step < _FAR:
        current, step = current.shift(-1), step + 1
    return step
