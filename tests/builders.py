"""Small pipelines, contexts and tables for tests, so that each test states only what it is about."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger, Row
from pipelines.settings.pipeline import Pipeline

PAYMENTS: dict[str, Any] = {
    "name": "payments",
    "owner": "tests",
    "start": "2026-03-01",
    "source": {
        "format": "csv",
        "path": "inbox/{partition}.csv",
        "columns": {
            "payment_id": {"type": "id", "required": True},
            "card_id": {"type": "id", "required": True},
            "paid_at": {"type": "timestamp", "required": True},
            "amount_eur": {"type": "number"},
            "country": {"type": "category"},
            "is_fraud": {"type": "integer"},
        },
    },
    "key": ["payment_id"],
    "event_time": "paid_at",
    "features": {"columns": ["amount_eur", "country"]},
    "label": {"column": "is_fraud"},
    "training": {"task": "binary"},
}


def pipeline(**changes: Any) -> Pipeline:
    """The payments pipeline; keyword arguments replace top-level keys."""
    return Pipeline.model_validate(deepcopy(PAYMENTS) | changes)


def home(root: Path) -> Home:
    return Home(root=root, config=REPOSITORY / "config")


def context(root: Path, partition: str = "2026-03-01", run_id: str = "run-1", **changes: Any) -> Context:
    """A context over an empty home below `root`; the source path is made absolute below it."""
    settings = pipeline(**changes)
    if getattr(settings.source, "path", "").startswith("inbox/"):
        source = settings.source.model_copy(update={"path": f"{root}/{settings.source.path}"})
        settings = settings.model_copy(update={"source": source})
    place = home(root)
    return Context(settings, place, Ledger(place.ledger_url), settings.parse(partition), run_id)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def payments(rows: list[dict[str, Any]], partition: str = "2026-03-01") -> pa.Table:
    """Rows of the payments pipeline as the `clean` table holds them; absent values are null."""
    schema = pa.schema(
        [
            ("row_id", pa.string()),
            ("payment_id", pa.string()),
            ("card_id", pa.string()),
            ("paid_at", pa.timestamp("us", "UTC")),
            ("amount_eur", pa.float64()),
            ("country", pa.string()),
            ("is_fraud", pa.int64()),
            ("partition", pa.string()),
        ]
    )
    return pa.Table.from_pylist([{"partition": partition, **row} for row in rows], schema=schema)


def put(run: Context, table: str, rows: pa.Table, **facts: Any) -> Row:
    """Publishes `rows` as this run's partition of `table`."""
    digest = f"test-{rows.num_rows}-{hash(str(rows.to_pylist()))}"
    return run.publish(table, run.snapshot(table), rows, digest, facts)
