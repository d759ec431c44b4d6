"""A hand-made model and features for tests of score, audit and release: score = amount_eur / 100."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.audit import audit
from pipelines.context import Context
from pipelines.release import release
from pipelines.score import plan_shards, score
from pipelines.storage.digests import table_digest
from tests import builders

ARTIFACT = "a" * 64


@dataclass
class Stub:
    """P(fraud) = amount_eur / divisor; a null amount gives NaN, as a model with `missing: drop` does."""

    version: int = 1
    features: list[str] = field(default_factory=lambda: ["amount_eur"])
    task: str = "binary"
    classes: list[str] = field(default_factory=list)
    divisor: float = 100.0
    family: str = "stub"
    estimator_name: str = "Stub"

    def predict(self, table: pa.Table) -> np.ndarray:
        return table["amount_eur"].to_numpy() / self.divisor

    def used_device(self) -> dict[str, str]:
        return {"device": "cpu"}


def use_models(monkeypatch: Any, *models: Stub) -> None:
    """Stands in for the model store: versions are looked up by number."""
    by_version = {model.version: model for model in models}
    monkeypatch.setattr("pipelines.models.load_model", lambda _context, version, _step="score": by_version[version])


def champion(run: Context, version: int = 1, days_before: float = 1, effective_from: datetime | None = None) -> None:
    """Registers `version` with an as_of so many days before this partition, and promotes it from then on."""
    as_of = run.partition.start - timedelta(days=days_before)
    recorded = run.ledger.record_model(
        run.name,
        run_id=f"train-{version}",
        as_of=as_of,
        mlflow_run_id=None,
        artifact_uri="none",
        artifact_sha256=ARTIFACT,
        record={},
    )
    assert recorded == version
    promote(run, version, effective_from or as_of)


def promote(run: Context, version: int, effective_from: datetime) -> None:
    newest = run.ledger.champion(run.name)
    assert run.ledger.change_champion(
        run.name,
        version,
        expected_seq=newest["seq"] if newest else 0,
        effective_from=effective_from,
        action="promote",
        reason="test",
        actor="test",
        run_id="train",
    )


def features(run: Context, amounts: list[float | None], table: str = "features", ids: list[str] | None = None) -> None:
    """Publishes one row per amount: payment_id p0, p1, ...; row ids in the opposite order of the rows."""
    count = len(amounts)
    ids = ids or [f"p{number}" for number in range(count)]
    rows = pa.table(
        {
            "row_id": [f"f:{count - number:09d}" for number in range(count)],
            "payment_id": pa.array(ids, pa.string()),
            "amount_eur": pa.array(amounts, pa.float64()),
            "country": pa.array(["DE"] * count, pa.string()),
            "partition": pa.array([run.key] * count, pa.string()),
        }
    )
    run.publish(table, run.snapshot(table), rows, f"test-{table_digest(rows)}", {})


def run_all(run: Context) -> dict[str, Any]:
    """score, audit and release as the daily DAG runs them; the release's summary."""
    for shard in plan_shards(run):
        score(run, shard)
    audit(run)
    return release(run)


def again(run: Context, run_id: str = "run-2", **changes: Any) -> Context:
    """Another run over the same home; keyword arguments replace top-level settings."""
    settings = builders.pipeline(**changes) if changes else run.pipeline
    return Context(settings, run.home, run.ledger, run.partition, run_id)


def file_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file and the target of every link below `folder`, lock files aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and path.name != ".lock":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
