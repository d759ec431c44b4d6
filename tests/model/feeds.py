"""Days of payments with labels, published as the daily chain leaves them: clean, features, accounting, arrivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.storage.digests import table_digest
from tests import builders

Row = Mapping[str, Any]
# Light and quick: enough trees to learn one threshold.
SMALL = {"family": "xgboost", "rounds": 8, "early_stopping_rounds": None, "parameters": {"max_depth": 3}}
TRAINING: dict[str, Any] = {"task": "binary", "model": SMALL, "holdout_partitions": 1, "min_rows": 1}
LATE_LABELS: dict[str, Any] = {
    "label": {"column": "is_fraud", "source": "chargebacks", "delay_days": 1},
    "label_sources": {
        "chargebacks": {
            "column": "is_fraud",
            "source": {
                "format": "csv",
                "path": "inbox/labels/{partition}.csv",
                "columns": {"payment_id": {"type": "id"}, "is_fraud": {"type": "integer"}},
            },
        }
    },
}


def at(run: Context, partition: str, run_id: str | None = None, **changes: Any) -> Context:
    """The same home on another day; keyword arguments replace top-level settings."""
    settings = builders.pipeline(**changes) if changes else run.pipeline
    return replace(run, pipeline=settings, partition=settings.parse(partition), run_id=run_id or run.run_id)


def day(run: Context, partition: str, rows: Sequence[Row], state: str = "clean") -> None:
    """Publishes `rows` (payments; ids and times are filled in) as clean and features of this partition."""
    here = at(run, partition)
    filled = [
        {"row_id": f"{partition}:{number:09d}", "payment_id": f"{partition}-{number}", "card_id": f"card-{number}"}
        | {"paid_at": builders.utc(f"{partition}T00:00:00").replace(hour=number % 24, minute=number // 24 % 60)}
        | {"partition": partition, "country": "DE", **row}
        for number, row in enumerate(rows)
    ]
    clean = builders.payments(filled, partition)
    publish(here, "clean", clean)
    kept = ["row_id", "payment_id", "paid_at", "amount_eur", "country", "partition"]
    publish(here, "features", clean.select(kept))
    counts = {"read": len(rows), "clean": len(rows), "quarantined": 0, "duplicate": 0, "reason": None}
    run.ledger.set_accounting(run.name, partition, state=state, run_id="daily", **counts)


def arrivals(run: Context, partition: str, labels: Sequence[tuple[str, int | None]]) -> None:
    """Labels that arrive on this day: (payment_id, is_fraud)."""
    rows = pa.table(
        {
            "row_id": [f"labels-{partition}:{number:09d}" for number in range(len(labels))],
            "payment_id": pa.array([key for key, _ in labels], pa.string()),
            "is_fraud": pa.array([label for _, label in labels], pa.int64()),
            "partition": [partition] * len(labels),
        }
    )
    publish(at(run, partition), "labels_chargebacks", rows)


def publish(here: Context, table: str, rows: pa.Table) -> None:
    here.publish(table, here.snapshot(table), rows, f"test-{table_digest(rows)}", {})


def learnable(run: Context, days: Sequence[str], rows: int = 200, noise: float = 0.1, seed: int = 1) -> None:
    """Days on which payments of 25 to 50 and of 75 to 100 EUR are fraud, but for `noise` of them."""
    random = np.random.default_rng(seed)
    for partition in days:
        amounts = random.uniform(0, 100, rows)
        frauds = (amounts % 50 > 25) ^ (random.random(rows) < noise)
        day(
            run,
            partition,
            [
                {"amount_eur": float(amount), "is_fraud": int(fraud), "country": country}
                for amount, fraud, country in zip(amounts, frauds, np.resize(["DE", "FR"], rows), strict=True)
            ],
        )


def context(root: Path, partition: str, run_id: str = "retrain-1", **changes: Any) -> Context:
    return builders.context(root, partition=partition, run_id=run_id, **({"training": TRAINING} | changes))
