"""Scores between `score` and `release`: which model and which features a run uses, and the shards it has staged.

Unpublished work on shared storage: only the steps score, audit and release read it, on any machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, StorageError
from pipelines.ledger import Row
from pipelines.settings.pipeline import confidence_columns
from pipelines.storage.digests import combined
from pipelines.storage.durable import canonical_json, sha256_of
from pipelines.storage.files import Files
from pipelines.storage.tables import Snapshot

_TRIES = 5  # of shards that decide at once; the second reads what the first wrote


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
    certainty: tuple[str, ...] = ()  # columns beside the score

    @property
    def digest(self) -> str:
        return combined(*(value for name, value in asdict(self).items() if name != "certainty" or value))

    def features(self, context: Context) -> Snapshot:
        return Snapshot(context.home.table(context.name, "features"), self.features_version)


def decide_pin(context: Context) -> Pin | None:
    """Decides anew what this run scores with, and writes it down. None without champion or without features."""
    pin = _decided(context)
    if pin is None:
        _pins(context).remove(_pin_name(context))
    else:
        _pins(context).write(_pin_name(context), _pin_bytes(pin, is_closed=False))
    return pin


def open_pin(context: Context) -> Pin | None:
    """The pin of this run; the first shard to ask decides, also again after the run was judged (a cleared run).

    Shards on several machines agree: of those that decide at once, one is written and the others take it.
    """
    for _ in range(_TRIES):
        before = _pins(context).read(_pin_name(context))
        pin, is_closed = _parsed(context, before)
        if pin and not is_closed:
            return pin
        pin = _decided(context)
        if pin is None or _pins(context).swap(_pin_name(context), before, _pin_bytes(pin, is_closed=False)):
            return pin
    what = f"what this run scores with was changed by other shards {_TRIES} times in a row"
    raise StorageError("E-IO-LOCKED", context.where, what, "Nothing was staged; it is tried again.")


def pinned(context: Context) -> Pin | None:
    """What this run decided, while its features are still the published ones; else None."""
    return _parsed(context, _pins(context).read(_pin_name(context)))[0]


def close_pin(context: Context) -> None:
    """Marks that this run's scores were released or refused: when it is cleared, `score` decides anew."""
    before = _pins(context).read(_pin_name(context))
    pin, is_closed = _parsed(context, before)
    if pin and not is_closed:
        _pins(context).swap(_pin_name(context), before, _pin_bytes(pin, is_closed=True))


def why_nothing(context: Context) -> str:
    """The reason for which there is nothing to score."""
    if champion_for(context) is None:
        return "no champion"
    return "no features were published for this partition"


def shadow_pin(context: Context, version: int) -> Pin | None:
    """What a challenger in shadow scores with, in one shard; None without features. No run keeps it: nothing of it is
    staged, audited or released."""
    return _pin(context, version, is_hindsight=False, shards=1, certainty=())


def _decided(context: Context) -> Pin | None:
    champion = champion_for(context)
    if champion is None:
        return None
    row, is_hindsight = champion
    certainty = confidence_columns(context.pipeline)
    return _pin(context, row["version"], is_hindsight, context.pipeline.score.shards, certainty)


def _pin(context: Context, version: int, is_hindsight: bool, shards: int, certainty: tuple[str, ...]) -> Pin | None:
    features = context.ledger.publication(context.name, "features", context.key)
    if features is None:
        return None
    return Pin(
        model_version=version,
        artifact_sha256=context.ledger.model(context.name, version)["artifact_sha256"],
        is_hindsight=is_hindsight,
        features_version=features["delta_version"],
        features_digest=features["content_digest"],
        features_rows=features["row_count"],
        key=context.pipeline.key,
        shards=shards,
        certainty=certainty,
    )


def _parsed(context: Context, content: bytes | None) -> tuple[Pin | None, bool]:
    """The pin, if it still holds, and whether it is closed."""
    if content is None:
        return None, False
    known = json.loads(content)
    tuples = {name: tuple(known["pin"].get(name, ())) for name in ("key", "certainty")}
    pin = Pin(**known["pin"] | tuples)
    features = context.ledger.publication(context.name, "features", context.key)
    is_current = features is not None and features["content_digest"] == pin.features_digest
    is_current = is_current and pin.key == context.pipeline.key and pin.shards == context.pipeline.score.shards
    is_current = is_current and pin.certainty == confidence_columns(context.pipeline)
    return (pin if is_current else None), known["is_closed"]


def _pin_bytes(pin: Pin, is_closed: bool) -> bytes:
    return canonical_json({"pin": asdict(pin), "is_closed": is_closed})


def _pins(context: Context) -> Files:
    return context.staged("scores", context.key, "runs")


def _pin_name(context: Context) -> str:
    return f"{hashlib.sha256(context.run_id.encode()).hexdigest()[:16]}.json"


@dataclass(frozen=True)
class Staged:
    """One finished shard, its files on this machine."""

    record: dict[str, Any]
    scored: Path
    refused: Path


@dataclass(frozen=True)
class Shard:
    """Names of one shard's files; the record is written last, so a shard without it does not count."""

    files: Files
    number: int

    @property
    def scored(self) -> str:
        return f"scored-{self.number:05d}.parquet"

    @property
    def refused(self) -> str:
        return f"refused-{self.number:05d}.parquet"

    @property
    def record(self) -> str:
        return f"shard-{self.number:05d}.json"

    def staged(self, scratch: Path) -> Staged | None:
        """The finished shard, fetched below `scratch` where it lies elsewhere; None when unfinished or damaged."""
        content = self.files.read(self.record)
        try:
            record: dict[str, Any] = json.loads(content or b"")
        except json.JSONDecodeError:
            return None
        scored, refused = (self.files.fetch(name, scratch) for name in (self.scored, self.refused))
        if scored is None or refused is None:
            return None
        is_whole = record.get("sha256") == {"scored": sha256_of(scored), "refused": sha256_of(refused)}
        return Staged(record, scored, refused) if is_whole else None

    def finish(self, pin: Pin, folder: Path, rows: int, refused: int, device: Mapping[str, str]) -> dict[str, Any]:
        """Stores both files, which lie in `folder` under their names, then the record that makes the shard count."""
        record = {
            "model_version": pin.model_version,
            "artifact_sha256": pin.artifact_sha256,
            "rows": rows,
            "refused": refused,
            **device,
            "sha256": {"scored": sha256_of(folder / self.scored), "refused": sha256_of(folder / self.refused)},
        }
        for name in (self.scored, self.refused):
            self.files.upload(folder / name, name)
        self.files.write(self.record, canonical_json(record))
        return record


def shard_of(context: Context, pin: Pin, number: int) -> Shard:
    return Shard(context.staged("scores", context.key, pin.digest), number)


@dataclass(frozen=True)
class Scores:
    """All shards of one pin, complete and undamaged."""

    shards: list[Staged]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [shard.record for shard in self.shards]

    @property
    def digest(self) -> str:
        """Of the staged bytes: an audit holds for just these."""
        told = ({name: fact for name, fact in one.items() if not name.startswith("device")} for one in self.records)
        return combined(*(json.dumps(record, sort_keys=True) for record in told))

    @property
    def rows(self) -> int:
        return sum(record["rows"] for record in self.records)

    @property
    def refused(self) -> int:
        return sum(record["refused"] for record in self.records)

    @property
    def scored_files(self) -> list[Path]:
        return [shard.scored for shard in self.shards]


def staged_scores(context: Context, pin: Pin, scratch: Path) -> Scores:
    """The staged shards of `pin`, fetched below `scratch` where they lie elsewhere.

    Raises:
        DataError: E-AUDIT-SHARDS when one is missing, unfinished or was changed since it was written.
    """
    found = [shard_of(context, pin, number).staged(scratch) for number in range(pin.shards)]
    lacking = [number for number, shard in enumerate(found) if shard is None]
    if lacking:
        raise DataError(
            "E-AUDIT-SHARDS",
            context.where,
            f"all {pin.shards} score shards must be staged and undamaged, but these are not: {lacking[:5]}",
            "Nothing was released.",
            repeat="score",
        )
    return Scores([shard for shard in found if shard is not None])
