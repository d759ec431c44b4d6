"""What a monitor run leaves behind: numbers for every column as Parquet, a compact record, and the HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.monitoring.column_verdict import RANK, ColumnVerdict, Grade
from pipelines.monitoring.decision import Decision
from pipelines.monitoring.evidence import Evidence
from pipelines.monitoring.evidently_report import ReportText, is_current, write_empty_report, write_report
from pipelines.monitoring.inputs import parquet_bytes, reference_sample, rows_of, sample
from pipelines.monitoring.reference import Reference
from pipelines.monitoring.statistics import ColumnStatistics, Profile
from pipelines.monitoring.verdict import PartitionVerdict
from pipelines.storage.digests import combined
from pipelines.storage.tables import Snapshot

_MOST_COLUMNS = 50  # in the ledger; the Parquet file holds them all


@dataclass(frozen=True)
class Found:
    """Everything that one run measured about one partition."""

    version: int
    kinds: dict[str, str]
    reference: Reference
    reference_digest: str
    profile: Profile
    rows: int
    verdict: PartitionVerdict
    evidence: Evidence
    digest: str

    @property
    def grade(self) -> Grade:
        """The worse of what the columns and what scores and labels say."""
        return min(self.verdict.grade, self.evidence.grade, key=RANK.__getitem__)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What raised the grade first: what labels say, when they alone raise an alarm."""
        sides = [(self.verdict.grade, self.verdict.reasons), (self.evidence.grade, self.evidence.reasons)]
        sides.sort(key=lambda side: RANK[side[0]])
        return tuple(reason for _, reasons in sides for reason in reasons)


def drift_name(context: Context, suffix: str) -> str:
    """Below the pipeline's reports."""
    return f"drift/{context.key}.{suffix}"


def write_numbers(context: Context, found: Found) -> None:
    """One row per column: its statistics, the reference's, every measure with its limits, grade and reasons."""
    parts = [
        _row(context.key, one, found.profile[one.column], found.reference) for one in _by_name(found.verdict.columns)
    ]
    schema = _numbers_schema()
    table = pa.Table.from_pylist(parts, schema=schema)
    context.reports.write(drift_name(context, "parquet"), parquet_bytes(table))


def compact(found: Found) -> dict[str, Any]:
    """What the ledger keeps: the grade, the worst columns with their main numbers, and the evidence."""
    evidence = found.evidence
    return {
        "grade": found.grade,
        "rows": found.rows,
        "volume_ratio": _short(found.verdict.volume_ratio),
        "reference": found.reference.partitions,
        "reference_digest": found.reference_digest,
        "columns": {one.column: _summary(one) for one in found.verdict.columns[:_MOST_COLUMNS]},
        "not_judged": [name for name, column in found.reference.columns.items() if not column.is_judged],
        "score_psi": _short(evidence.score.measures["psi"]) if evidence.score else None,
        "label_rate": evidence.label_rate,
        "new_labels": evidence.new_labels,
        **({"labels": evidence.labels} if evidence.labels else {}),
        "realised": evidence.realised.to_dict() if evidence.realised else None,
        "estimated": evidence.estimated,
        **({"concept": evidence.concept} if evidence.concept else {}),
        **({"coverage": evidence.coverage} if evidence.coverage else {}),
    }


def write_html(
    context: Context, engine: Engine, features: Snapshot, found: Found, decision: Decision
) -> dict[str, Any]:
    """Where the report lies, and warnings; a report that cannot be drawn or written never fails the night."""
    setting = context.pipeline.monitor.report
    name = drift_name(context, "html")
    wanted = {"always": True, "on_alarm": decision.outcome != "OK", "on_retrain": decision.outcome == "RETRAIN"}
    if not wanted.get(setting, False):
        return {}
    digest = combined("report-1", found.digest, decision.outcome, decision.reasons)
    address = f"reports/{context.name}/{name}"  # below the storage, wherever that is
    if is_current(context.reports, name, digest):
        return {"report": address}
    title = f"{context.name} {context.key}, champion version {found.version}"
    text = ReportText(title, decision.outcome, decision.reasons, _notes(context, found), digest)
    try:
        columns = reference_sample(
            context, engine, features, found.reference.partitions, found.kinds, found.reference_digest
        )
        rows = sample(engine, rows_of(engine, features, [context.key], found.kinds), _sample_rows(context))
        write_report(context.reports, name, text, found.verdict, found.kinds, rows.to_pandas(), columns.to_pandas())
    except Exception as error:
        # Evidently raises many types and the disk may be full; numbers and decision stand without the picture.
        return {"warnings": [f"REPORT the drift report was not written: {type(error).__name__}: {str(error)[:300]}"]}
    return {"report": address}


def write_no_data(context: Context, reason: str) -> None:
    if context.pipeline.monitor.report == "never":
        return
    text = ReportText(f"{context.name} {context.key}", "NO_DATA", (reason,), (), combined("no-data", context.key))
    write_empty_report(context.reports, drift_name(context, "html"), text)


def _sample_rows(context: Context) -> int:
    return context.pipeline.monitor.report_max_rows


def _notes(context: Context, found: Found) -> tuple[str, ...]:
    partitions = found.reference.partitions
    if not partitions:
        return ("The champion has no reference partitions here, so no column was compared.",)
    return (
        f"Compared with {len(partitions)} partitions the champion was trained on, {partitions[0]} to {partitions[-1]}. "
        f"Charts show at most {_sample_rows(context):,} rows of each side; the decision counts all {found.rows:,}. "
        "'Dataset drift' below is Evidently's own summary of the sample and decides nothing.",
    )


def _summary(one: ColumnVerdict) -> dict[str, Any]:
    measures = one.measures
    names = ("psi", "psi_retrain", "null_share", "new_share")
    return {"grade": one.grade, "importance": _short(one.importance)} | {
        name: _short(measures[name]) for name in names if name in measures
    }


_MEASURES = (
    "psi",
    "psi_watch",
    "psi_retrain",
    "jensen_shannon",
    "wasserstein",
    "wasserstein_watch",
    "null_share",
    "null_share_reference",
    "null_psi",
    "null_psi_watch",
    "null_psi_retrain",
    "new_share",
    "new_watch",
    "new_retrain",
)


def _numbers_schema() -> pa.Schema:
    return pa.schema(
        [
            ("partition", pa.string()),
            ("column", pa.string()),
            ("kind", pa.string()),
            ("grade", pa.string()),
            ("importance", pa.float64()),
            ("rows", pa.int64()),
            ("nulls", pa.int64()),
            ("distinct", pa.int64()),
            ("is_dead", pa.bool_()),
            *((name, pa.float64()) for name in ("mean", "std", "minimum", "maximum")),
            ("counts", pa.list_(pa.int64())),
            ("reference_counts", pa.list_(pa.int64())),
            *((name, pa.float64()) for name in _MEASURES),
            ("reasons", pa.list_(pa.string())),
        ]
    )


def _row(key: str, one: ColumnVerdict, current: ColumnStatistics, reference: Reference) -> dict[str, Any]:
    column = reference.columns[one.column]
    return {
        "partition": key,
        "column": one.column,
        "kind": column.bins.kind,
        "grade": one.grade,
        "importance": one.importance,
        **current.to_dict(),
        "is_dead": current.is_dead,
        "reference_counts": list(column.total.counts),
        **one.measures,
        "reasons": list(one.reasons),
    }


def _by_name(columns: Sequence[ColumnVerdict]) -> list[ColumnVerdict]:
    return sorted(columns, key=lambda one: one.column)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
