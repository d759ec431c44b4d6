"""How many rows have a label, and which partitions may therefore be judged; the others wait until theirs arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ibis
import ibis.expr.types as ir

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import names
from pipelines.monitoring.inputs import accepted_until
from pipelines.monitoring.labels import labelled, matured

_DECILES = 10
_MOST_VALUES = 10
_FIGURES = 4


@dataclass(frozen=True)
class Judgeable:
    """Partitions that may be judged by their labels, and those that wait, oldest first; shares of labelled rows."""

    partitions: list[str]
    shares: dict[str, float]
    waiting: dict[str, float]
    min_share: float

    @property
    def sentence(self) -> str:
        """Which partitions wait and why; empty when none does."""
        if not self.waiting:
            return ""
        told = names(f"{key}: {share:.0%}" for key, share in sorted(self.waiting.items(), reverse=True))
        return (
            f"fewer than {self.min_share:.0%} of the rows have a label in {told}; judged when their labels arrive "
            "(label.min_share)."
        )

    def record(self, pattern: Mapping[str, Any]) -> dict[str, Any]:
        """What a decision keeps: shares per partition, which wait, and where labels are missing."""
        kept = {"shares": self.shares, "waiting": list(self.waiting)}
        return (
            kept
            | ({"min_share": self.min_share} if self.min_share else {})
            | ({"by": dict(pattern)} if pattern else {})
        )


def judgeable(
    context: Context, engine: Engine, partitions: Sequence[str], measured: Sequence[str] | None = None
) -> Judgeable:
    """Which of these matured partitions may be judged by the labels that had arrived by the context's partition.

    Excluded partitions (`training.exclude_partitions`) never are, and do not wait either. `measured`: those whose
    share is wanted where no share is required; default all.
    """
    label, training = context.pipeline.label, context.pipeline.training
    excluded = set(training.exclude_partitions) if training else set()
    keys = [key for key in partitions if key not in excluded]
    least = (label.min_share or 0.0) if label else 0.0
    counted = keys if least or measured is None else [key for key in keys if key in set(measured)]
    shares = label_shares(context, engine, counted)
    waiting = {key: share for key, share in shares.items() if share < least}
    return Judgeable([key for key in keys if key not in waiting], shares, waiting, least)


@dataclass(frozen=True)
class LabelState:
    """What the monitor may judge by: matured partitions whose labels suffice, and what its record says of the others.

    `note`: which wait, in words. `is_long`: more wait than a performance window has.
    """

    partitions: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    is_long: bool = False


def label_state(context: Context, engine: Engine, released: Sequence[str], version: int) -> LabelState:
    """Of the accepted partitions up to the monitored one; each is looked at again every night until its labels came.

    Empty without labels. Shares and where labels are missing are those of the window that this version would be
    judged by (`released`, the newest matured ones).
    """
    training = context.pipeline.training
    if training is None or context.pipeline.label is None:
        return LabelState()
    due = matured(context, accepted_until(context))[-training.window_partitions :]
    window = [key for key in released if key in set(due)][-training.holdout_partitions :]
    found = judgeable(context, engine, due, window)
    shown = {key: share for key, share in found.shares.items() if key in window or key in found.waiting}
    record = replace(found, shares=shown).record(missing_pattern(context, engine, window, version))
    note = f"WAITING {found.sentence}" if found.waiting else ""
    is_long = len(found.waiting) > training.holdout_partitions
    return LabelState(found.partitions, record, note, is_long)


def label_shares(context: Context, engine: Engine, partitions: Sequence[str]) -> dict[str, float]:
    """Labelled rows over clean rows per partition, by the end of the context's partition; 0.0 without any label."""
    if not partitions or not context.snapshot("clean").exists:
        return dict.fromkeys(partitions, 0.0)
    counts = _counts(engine, engine.scan(context.snapshot("clean"), partitions), "partition")
    table = labelled(context, engine, partitions)
    have = {} if table is None else _counts(engine, table, "partition")
    return {key: round(have.get(key, 0) / counts[key], _FIGURES) if counts.get(key) else 0.0 for key in partitions}


def missing_pattern(
    context: Context, engine: Engine, partitions: Sequence[str], version: int
) -> dict[str, list[dict[str, Any]]]:
    """Labelled share per tenth of this version's released scores and per value of the gate's slices.

    Labels that are missing by chance leave these shares alike; where they differ, a metric speaks of the labelled
    rows only. Empty without scores. Lists of `value`, `rows` and `share`; deciles from the lowest scores on.
    """
    predictions = context.snapshot("predictions")
    if not partitions or not predictions.exists:
        return {}
    scored = engine.scan(predictions, partitions)
    scored = scored.filter((scored["model_version"] == version) & ~scored["is_hindsight"]).select("row_id", "score")
    table = labelled(context, engine, partitions)
    if table is None:
        return {}
    marked = scored.left_join(table.select("row_id").mutate(one=1), "row_id").drop("row_id_right")
    marked = engine.materialize(marked.mutate(has_label=marked["one"].notnull().cast("float64")))
    place = ibis.ntile(_DECILES).over(order_by=[marked["score"], marked["row_id"]])
    found = {"score": _shares(engine, marked.mutate(value=place + 1))}
    clean = engine.scan(context.snapshot("clean"), partitions)
    for column in (name for name in context.pipeline.gate.slices if name in clean.columns):
        joined = marked.inner_join(clean.select("row_id", value=clean[column].cast("string")), "row_id")
        found[column] = _shares(engine, joined)
    return {name: rows for name, rows in found.items() if rows}


def _counts(engine: Engine, rows: ir.Table, column: str) -> dict[str, int]:
    table = engine.table(rows.group_by(column).agg(n=rows.count()), order_by=[column])
    return dict(zip(table[column].to_pylist(), table["n"].to_pylist(), strict=True))


def _shares(engine: Engine, rows: ir.Table) -> list[dict[str, Any]]:
    """The ten values with most rows, in their order."""
    grouped = rows.group_by("value").agg(rows=rows.count(), share=rows["has_label"].mean())
    most = engine.table(grouped.order_by([ibis.desc("rows"), "value"]).limit(_MOST_VALUES)).to_pylist()
    ordered = sorted(most, key=lambda row: (row["value"] is None, row["value"]))
    return [{"value": row["value"], "rows": row["rows"], "share": round(row["share"], _FIGURES)} for row in ordered]
