"""Raw rows, suites and contexts for the tests of validate and deduplicate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.home import Home
from pipelines.ingest.columns import QUARANTINE, raw_schema
from pipelines.ledger import Row
from tests import builders

POSITIVE = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "amount_eur", "min_value": 0},
    "severity": "critical",
    "meta": {"rule_id": "AMOUNT_POSITIVE"},
}


def rule(rule_id: str, kind: str, severity: str = "critical", note: str = "", **kwargs: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "kwargs": kwargs,
        "severity": severity,
        "meta": {"rule_id": rule_id, **({"note": note} if note else {})},
    }


def write_suite(folder: Path, rules: list[dict[str, Any]], name: str = "payments") -> Path:
    """`expectations/<name>.json` below `folder`."""
    path = folder / "expectations" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": name, "expectations": rules}, indent=1))
    return path


def context(
    root: Path, rules: list[dict[str, Any]] | None = None, partition: str = "2026-03-01", **changes: Any
) -> Context:
    """A payments context whose suite lies below `root`; the default suite wants amounts of at least 0."""
    write_suite(root, [POSITIVE] if rules is None else rules)
    made = builders.context(root / "home", partition, **changes)
    return replace(made, home=Home(root=root / "home", config=root / "config"))


def raw(run: Context, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of `raw`; unless given, ids are 'r1', 'r2', ... and all columns have plausible, distinct values."""
    full = [
        {
            "row_id": f"{run.key}:r{number}",
            "source_file": "inbox/day.csv",
            "source_line": number + 1,
            "payment_id": f"p{number}",
            "card_id": "c1",
            "paid_at": run.partition.start,
            "amount_eur": float(number),
            "country": "DE" if number % 2 else "FR",
            "is_fraud": number % 2,
            "partition": run.key,
            **row,
        }
        for number, row in enumerate(rows, start=1)
    ]
    return pa.Table.from_pylist(full, schema=raw_schema(run.pipeline.source.columns))


def ingested(run: Context, rows: pa.Table, refused: list[list[str]] | None = None) -> Row:
    """Publishes what ingest would: the raw rows and, per entry of `refused`, one record with these reasons."""
    bad = pa.Table.from_pylist(
        [
            {
                "row_id": f"{run.key}:x{number}",
                "source_file": "inbox/day.csv",
                "source_line": 1000 + number,
                "record": "a,b",
                "reasons": reasons,
                "stage": "ingest",
                "partition": run.key,
            }
            for number, reasons in enumerate(refused or [], start=1)
        ],
        schema=QUARANTINE,
    )
    digest = f"{rows.num_rows} {rows.to_pylist()}"
    run.publish("quarantine", run.snapshot("quarantine"), bad, digest, {}, stage="ingest")
    return run.publish("raw", run.snapshot("raw"), rows, digest, {"read": rows.num_rows + bad.num_rows})


def accepted(run: Context, rows: pa.Table, bad: list[str] | None = None, refused: list[list[str]] | None = None) -> Row:
    """As `ingested`, plus what validate would publish when it quarantines the rows `bad`."""
    published = ingested(run, rows, refused)
    table = pa.Table.from_pylist(
        [
            {"row_id": row_id, "reasons": ["X: bad"], "stage": "validate", "partition": run.key}
            for row_id in sorted(bad or [])
        ],
        schema=QUARANTINE,
    )
    facts = {"raw_digest": published["content_digest"], "refused": False}
    run.publish("quarantine", run.snapshot("quarantine"), table, f"{published} {bad}", facts, stage="validate")
    return published


def read(run: Context, table: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of this partition, sorted by row_id."""
    rows = run.snapshot(table).read([run.key], columns and ["row_id", *columns])
    return sorted(rows.to_pylist(), key=lambda row: row["row_id"])


def quarantined(run: Context, stage: str = "validate") -> dict[str, list[str]]:
    """Reasons per quarantined row id."""
    return {
        row["row_id"]: row["reasons"] for row in read(run, "quarantine", ["reasons", "stage"]) if row["stage"] == stage
    }


def accounting(run: Context) -> tuple[Any, ...]:
    """(state, read, clean, quarantined, duplicate) of this partition."""
    row = next(row for row in run.ledger.accounting(run.name) if row["partition"] == run.key)
    return tuple(row[name] for name in ("state", "read", "clean", "quarantined", "duplicate"))
