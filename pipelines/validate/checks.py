"""Checks that hold for every partition, because a suite passes on nothing at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ledger import Row
from pipelines.partitions import Partition
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.validation import Volume

_TOP_REASONS = 5


@dataclass(frozen=True)
class Problem:
    """One reason why a partition is refused."""

    code: str
    what: str
    fix: str


def empty(read: int) -> Problem | None:
    if read:
        return None
    return Problem("E-DQ-EMPTY", "the partition has no rows", "Send the data and run the partition again.")


def volume(read: int, history: Sequence[int], settings: Volume) -> Problem | None:
    """Row count against `min_rows` and the median of the last accepted partitions.

    With fewer than `history_min` of them only `min_rows` is judged.
    """
    fix = "If the number is right, change 'validate.volume' in the pipeline file; else fix the file. Then run it again."
    if read < settings.min_rows:
        return Problem("E-DQ-VOLUME", f"the partition must have at least {settings.min_rows} rows, got {read}", fix)
    recent = list(history)[-settings.history_partitions :]
    if len(recent) < settings.history_min:
        return None
    usual = median(recent)
    low, high = usual * settings.min_ratio, usual * settings.max_ratio
    if low <= read <= high:
        return None
    return Problem(
        "E-DQ-VOLUME",
        f"the partition must have between {low:.6g} and {high:.6g} rows ({settings.min_ratio:g} to "
        f"{settings.max_ratio:g} times the median {usual:g} of {len(recent)} accepted partitions), got {read}",
        fix,
    )


def volume_history(accounting: Sequence[Row], partition: str) -> list[int]:
    """Rows read of the accepted partitions before this one, oldest first."""
    return [int(row["read"]) for row in accounting if row["state"] == "clean" and row["partition"] < partition]


def nulls(rows: pa.Table, pipeline: Pipeline) -> Problem | None:
    """Columns without one value. Optional columns and labels, which may arrive later, are not judged."""
    exempt = {name for name, column in pipeline.source.columns.items() if column.optional} | _labels(pipeline)
    found = [name for name in _null_columns(rows) if name not in exempt]
    if not found:
        return None
    return Problem(
        "E-DQ-NULLS",
        f"every value is null in {', '.join(repr(name) for name in found)}",
        "Fix the file, or declare the column 'optional: true' if it may be absent for a whole partition.",
    )


def oddities(rows: pa.Table, pipeline: Pipeline) -> list[str]:
    """Warnings: columns with one single value, and labels that have not arrived."""
    warnings = [f"label '{name}' has no value yet" for name in _null_columns(rows) if name in _labels(pipeline)]
    for name in pipeline.source.columns if rows.num_rows > 1 else ():
        column = rows.column(name)
        if column.null_count == 0 and len(column.unique()) == 1:
            warnings.append(f"column '{name}' is constant")
    return warnings


def freshness(rows: pa.Table, pipeline: Pipeline, partition: Partition) -> Problem | None:
    """The newest event against the end of the partition; judged only with `max_age_hours` and an event time."""
    hours, column = pipeline.validate_.max_age_hours, pipeline.event_time
    if hours is None or column is None or not rows.num_rows:
        return None
    newest: datetime | None = pc.max(rows.column(column).cast(pa.timestamp("us", "UTC"))).as_py()
    oldest_allowed = partition.end - timedelta(hours=hours)
    if newest is not None and newest >= oldest_allowed:
        return None
    return Problem(
        "E-DQ-FRESHNESS",
        f"the newest '{column}' must be at or after {oldest_allowed:%Y-%m-%d %H:%M} UTC ({hours} h before the "
        f"partition ends), got {f'{newest:%Y-%m-%d %H:%M} UTC' if newest else 'no time at all'}",
        "Wait for the complete file and run the partition again, or raise 'validate.max_age_hours'.",
    )


def quarantine_share(read: int, quarantined: int, reasons: Mapping[str, int], most: float) -> Problem | None:
    """Too many bad rows, those that ingest refused included; a partition without one good row is always refused."""
    if not read or (quarantined / read <= most and quarantined < read):
        return None
    top = ", ".join(f"{reason} {count}" for reason, count in Counter(reasons).most_common(_TOP_REASONS))
    return Problem(
        "E-DQ-QUARANTINE",
        f"at most {most:.1%} of the rows may be bad, got {quarantined / read:.1%} ({quarantined} of {read}; {top})",
        "Fix the file and run the partition again, or loosen the rule or 'validate.max_quarantine_share'.",
    )


def _labels(pipeline: Pipeline) -> set[str]:
    return {pipeline.label.column} if pipeline.label and not pipeline.label.source else set()


def _null_columns(rows: pa.Table) -> list[str]:
    """Columns without one value; NaN is none."""
    if not rows.num_rows:
        return []
    return [
        name
        for name in rows.column_names
        if pc.sum(pc.is_null(rows.column(name), nan_is_null=pa.types.is_floating(rows.column(name).type))).as_py()
        == rows.num_rows
    ]
