"""What a metrics system is told after a step: numbers with a name, a unit and tags, and nothing of any row.

Sent by the task that ran the step (plugins/nightshift_observability.py); here they are only worked out, from the step's
summary and the ledger. All names and units: docs/observability.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pipelines.ledger import Ledger
from pipelines.settings.pipeline import Pipeline

Kind = Literal["counter", "gauge", "timing"]
# Steps after which the row accounting of a partition may be closed.
_ACCOUNTING = ("ingest", "validate", "deduplicate")
_ROWS = ("read", "clean", "quarantined", "duplicate")
_LEVELS = {"OK": 0, "NO_DATA": 0, "WATCH": 1, "RETRAIN": 2}
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Measure:
    """One number. A counter adds up over tasks, a gauge is the newest value, a timing is in milliseconds."""

    name: str
    kind: Kind
    value: float
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """A step that ended: how, when it began, how long it took, and its summary (empty when it failed)."""

    pipeline: Pipeline
    partition: str
    run_id: str
    step: str
    state: str  # done, unchanged, skipped, refused, failed
    started_at: datetime
    ended_at: datetime
    peak_mib: int
    summary: Mapping[str, Any] = field(default_factory=dict)

    def measure(self, name: str, kind: Kind, value: float, **tags: str) -> Measure:
        return Measure(f"nightshift.{name}", kind, value, {"pipeline": self.pipeline.name, "step": self.step, **tags})


def measures(ended: Ended, ledger: Ledger) -> list[Measure]:
    """Everything that this step has to say; a step that found its work done counts no rows again."""
    seconds = (ended.ended_at - ended.started_at).total_seconds()
    found = [
        ended.measure("step.ended", "counter", 1, state=ended.state),
        ended.measure("step.duration", "timing", round(1000 * seconds), state=ended.state),
        ended.measure("step.peak_memory", "gauge", ended.peak_mib),
        *(_rows(ended, ledger) if ended.step in _ACCOUNTING else ()),
    ]
    if ended.state == "done":
        found += _results(ended, ledger)
    return found


def _rows(ended: Ended, ledger: Ledger) -> Iterator[Measure]:
    """The row accounting, when this step closed it: by `deduplicate`, or by the step that refused the partition."""
    row = ledger.accounting_of(ended.pipeline.name, ended.partition)
    if row is None or ended.state not in ("done", "refused"):
        return
    if row["run_id"] == ended.run_id and row["updated_at"] >= ended.started_at:
        yield from (ended.measure(f"rows.{name}", "counter", row[name], state=row["state"]) for name in _ROWS)


def _results(ended: Ended, ledger: Ledger) -> Iterator[Measure]:
    summary = ended.summary
    if ended.step == "score":
        yield ended.measure("rows.scored", "counter", summary.get("rows", 0))
        yield ended.measure("rows.unscored", "counter", summary.get("refused", 0))
    if ended.step == "gate":
        yield ended.measure("gate.decisions", "counter", 1, outcome=summary["outcome"])
    if ended.step == "monitor":
        yield ended.measure("drift.decisions", "counter", 1, outcome=summary["decision"])
    if ended.step in ("monitor", "release") and _is_newest(ended, ledger):
        yield from _of_newest(ended, ledger)


def _is_newest(ended: Ended, ledger: Ledger) -> bool:
    """A past day that is run again must not look like a late night, or like today's drift."""
    return ledger.ends(ended.pipeline.name)[1] == ended.partition


def _of_newest(ended: Ended, ledger: Ledger) -> Iterator[Measure]:
    end = ended.pipeline.parse(ended.partition).end
    if ended.step == "release":
        yield ended.measure("release.delay", "gauge", round((ended.ended_at - end).total_seconds()))
        return
    yield ended.measure("drift.level", "gauge", _LEVELS[ended.summary["decision"]])
    champion = ledger.champion(ended.pipeline.name)
    if champion:
        learnt_until = ledger.model(ended.pipeline.name, champion["version"])["as_of"]
        days = (end - learnt_until).total_seconds() / _SECONDS_PER_DAY
        yield ended.measure("champion.age", "gauge", round(days, 2))
