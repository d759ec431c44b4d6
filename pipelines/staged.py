"""Scores between `score` and `release`: which model and which features a run uses, and the shards it has staged.

Unpublished work: only the steps score, audit and release read it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.ledger import Row
from pipelines.storage.digests import combined
from pipelines.storage.durable import canonical_json, exclusive, sha256_of, write_bytes
from pipelines.storage.tables import Snapshot


def champion_for(context: Context) -> tuple[Row, bool] | None:
    """The champion row that scores this partition and whether that is hindsight; None while there is none.

    `score.model: as_of` takes the champion that was in force when the partition began. `current` takes the newest,
    which is hindsight unless it is that same version.
    """
    then = context.ledger.champion(context.name, at=context.partition.start)
    if context.pipeline.score.model == "as_of":
        return (then, False) if then else None
    newest = context.ledger.champion(context.name)
    if newest is None:
        return None
    return newest, then is None or then["version"] != newest["version"]


@dataclass(frozen=True)
class Pin:
    """What all shards of one run agree on, whatever is promoted or published while they work."""

    model_version: int
    artifact_sha256: str
    is_hindsight: bool
    features_version: int  # of the Delta table
    features_digest: str
    features_rows: int
    key: tuple[str, ...]
    shards: int

    @property
    def digest(self) -> str:
        return combined(*asdict(self).values())

    def features(self, context: Context) -> Snapshot:
        return Snapshot(context.home.table(context.name, "features"), self.features_version)


def decide_pin(context: Context) -> Pin | None:
    """Decides anew what this run scores with, and writes it down. None without champion or without features."""
    champion = champion_for(context)
    features = context.ledger.publication(context.name, "features", context.key)
    if champion is None or features is None:
        _pin_file(context).unlink(missing_ok=True)
        return None
    row, is_hindsight = champion
    pin = Pin(
        model_version=row["version"],
        artifact_sha256=context.ledger.model(context.name, row["version"])["artifact_sha256"],
        is_hindsight=is_hindsight,
        features_version=features["delta_version"],
        features_digest=features["content_digest"],
        features_rows=features["row_count"],
        key=context.pipeline.key,
        shards=context.pipeline.score.shards,
    )
    _write_pin(context, pin, is_closed=False)
    return pin


def open_pin(context: Context) -> Pin | None:
    """The pin of this run; the first shard to ask decides, also again after the run was judged (a cleared run)."""
    with exclusive(_pin_file(context).with_suffix(".lock")):
        pin, is_closed = _read_pin(context)
        return pin if pin and not is_closed else decide_pin(context)


def pinned(context: Context) -> Pin | None:
    """What this run decided, while its features are still the published ones; else None."""
    return _read_pin(context)[0]


def close_pin(context: Context) -> None:
    """Marks that this run's scores were released or refused: when it is cleared, `score` decides anew."""
    pin, is_closed = _read_pin(context)
    if pin and not is_closed:
        _write_pin(context, pin, is_closed=True)


def _read_pin(context: Context) -> tuple[Pin | None, bool]:
    try:
        content = json.loads(_pin_file(context).read_text())
    except FileNotFoundError:
        return None, False
    pin = Pin(**content["pin"] | {"key": tuple(content["pin"]["key"])})
    features = context.ledger.publication(context.name, "features", context.key)
    is_current = features is not None and features["content_digest"] == pin.features_digest
    is_current = is_current and pin.key == context.pipeline.key and pin.shards == context.pipeline.score.shards
    return (pin if is_current else None), content["is_closed"]


def _write_pin(context: Context, pin: Pin, is_closed: bool) -> None:
    write_bytes(_pin_file(context), canonical_json({"pin": asdict(pin), "is_closed": is_closed}))


def why_nothing(context: Context) -> str:
    """The reason for which there is nothing to score."""
    if champion_for(context) is None:
        return "no champion"
    return "no features were published for this partition"


def _pin_file(context: Context) -> Path:
    run = hashlib.sha256(context.run_id.encode()).hexdigest()[:16]
    return context.staging("scores", context.key, "runs") / f"{run}.json"


@dataclass(frozen=True)
class Shard:
    """Paths of one staged shard; the record is written last, so a shard without it does not count."""

    folder: Path
    number: int

    @property
    def scored(self) -> Path:
        return self.folder / f"scored-{self.number:05d}.parquet"

    @property
    def refused(self) -> Path:
        return self.folder / f"refused-{self.number:05d}.parquet"

    @property
    def record_file(self) -> Path:
        return self.folder / f"shard-{self.number:05d}.json"

    def record(self) -> dict[str, Any] | None:
        """Rows, refused rows, model and file digests of a finished shard; None when unfinished or damaged."""
        try:
            record: dict[str, Any] = json.loads(self.record_file.read_text())
            digests = {"scored": sha256_of(self.scored), "refused": sha256_of(self.refused)}
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return record if record.get("sha256") == digests else None

    def finish(self, pin: Pin, rows: int, refused: int) -> dict[str, Any]:
        """Writes the record that makes the shard count."""
        record = {
            "model_version": pin.model_version,
            "artifact_sha256": pin.artifact_sha256,
            "rows": rows,
            "refused": refused,
            "sha256": {"scored": sha256_of(self.scored), "refused": sha256_of(self.refused)},
        }
        write_bytes(self.record_file, canonical_json(record))
        return record


def shard_of(context: Context, pin: Pin, number: int) -> Shard:
    return Shard(context.staging("scores", context.key, pin.digest), number)


@dataclass(frozen=True)
class Scores:
    """All shards of one pin, complete and undamaged."""

    shards: list[Shard]
    records: list[dict[str, Any]]

    @property
    def digest(self) -> str:
        """Of the staged bytes: an audit holds for just these."""
        return combined(*(json.dumps(record, sort_keys=True) for record in self.records))

    @property
    def rows(self) -> int:
        return sum(record["rows"] for record in self.records)

    @property
    def refused(self) -> int:
        return sum(record["refused"] for record in self.records)

    @property
    def scored_files(self) -> list[Path]:
        return [shard.scored for shard in self.shards]


def staged_scores(context: Context, pin: Pin) -> Scores:
    """The staged shards of `pin`.

    Raises:
        DataError: E-AUDIT-SHARDS when one is missing, unfinished or was changed since it was written.
    """
    shards = [shard_of(context, pin, number) for number in range(pin.shards)]
    records = [(shard, shard.record()) for shard in shards]
    lacking = [shard.number for shard, record in records if record is None]
    if lacking:
        raise DataError(
            "E-AUDIT-SHARDS",
            context.where,
            f"all {pin.shards} score shards must be staged and undamaged, but these are not: {lacking[:5]}",
            "Nothing was released. Run 'score' again.",
        )
    return Scores(shards, [record for _, record in records if record is not None])
