"""Which rows leave a partition and why: positions, reasons and the records that are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.errors import quote
from pipelines.ingest.columns import QUARANTINE
from pipelines.validate.rules import RuleResult
from pipelines.validate.suites import RESERVED_RULE
from pipelines.validate.texts import rule_text

STAGE = "validate"
_BATCH_ROWS = 65_536
Reasons = Mapping[int, list[str]]


def reasons_by_row(results: Sequence[RuleResult], rows: pa.Table) -> dict[int, list[str]]:
    """Reasons per bad row position, in the order of the suite: `RULE_ID: amount must be at most 10, got '12.5'`."""
    found: dict[int, list[str]] = {}
    for result in results:
        if not result.quarantines or not result.rows:
            continue
        text = f"{result.rule.rule_id}: {rule_text(result.rule.type, result.rule.kwargs)}"
        values = rows.select(result.rule.columns).take(pa.array(result.rows)).to_pylist()
        for position, row in zip(result.rows, values, strict=True):
            found.setdefault(position, []).append(f"{text}, got {_values(row)}")
    return dict(sorted(found.items()))


def rule_counts(reasons: Reasons) -> Counter[str]:
    """Bad rows per rule; a row counts for each of its reasons."""
    return Counter(reason.partition(":")[0] for listed in reasons.values() for reason in listed)


def quarantine_reader(rows: pa.Table, columns: Sequence[str], reasons: Reasons, refusal: str) -> pa.RecordBatchReader:
    """The rows to quarantine, in the order of `rows`, as the table `quarantine` holds them.

    Args:
        rows: the partition as in `raw`, sorted by row_id.
        columns: the declared columns; they become the JSON record.
        reasons: per bad row position.
        refusal: why the whole partition is refused; then every row is written, with this reason beside its own.
            Empty: only the bad rows are.
    """
    positions = range(rows.num_rows) if refusal else list(reasons)
    common = [f"{RESERVED_RULE}: {refusal}"] if refusal else []
    return pa.RecordBatchReader.from_batches(QUARANTINE, _batches(rows, columns, positions, reasons, common))


def _batches(
    rows: pa.Table, columns: Sequence[str], positions: Sequence[int], reasons: Reasons, common: list[str]
) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(positions), _BATCH_ROWS):
        chosen = positions[start : start + _BATCH_ROWS]
        part = rows.take(pa.array(chosen, pa.int64()))
        content = {
            **{name: part.column(name) for name in ("row_id", "source_file", "source_line", "partition")},
            "record": [_record(row) for row in part.select(columns).to_pylist()],
            "reasons": [[*reasons.get(position, []), *common] for position in chosen],
            "stage": [STAGE] * len(chosen),
        }
        yield from pa.table({name: content[name] for name in QUARANTINE.names}, schema=QUARANTINE).to_batches()


def _record(row: Mapping[str, Any]) -> str:
    """The row as one line of JSON with sorted keys; times as ISO text, of images the number of bytes."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)


def _values(row: Mapping[str, Any]) -> str:
    if len(row) == 1:
        return _value(next(iter(row.values())))
    return ", ".join(f"{name} {_value(value)}" for name, value in row.items())


def _value(value: Any) -> str:
    return "null" if value is None else quote(_as_text(value) if isinstance(value, bytes) else value)
