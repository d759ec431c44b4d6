"""Release: what the audit passed becomes readable, as the `predictions` partition and as a Parquet export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import ConfigError, DataError, StorageError, names
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.retract import retract, sweep
from pipelines.staged import Pin, Scores, champion_for, close_pin, pinned, staged_scores, why_nothing
from pipelines.storage.digests import RowDigest, combined
from pipelines.storage.durable import named_errors
from pipelines.storage.parquet_files import write_groups
from pipelines.storage.tables import Snapshot

__all__ = ["release", "retract", "sweep"]

Summary = dict[str, Any]
_TRIES = 5
_WRITTEN_BYTES_PER_STAGED = 4  # sorted copy, export, predictions, and columns carried from clean


@dataclass(frozen=True)
class Rows:
    """All scored rows in row_id order in a temporary file, without the columns that every row shares."""

    path: Path
    schema: pa.Schema
    count: int
    digest: str

    def batches(self) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group).cast(self.schema).to_batches()


def release(context: Context, force: bool = False) -> Summary:
    """Releases the staged scores of this run: export aside, `predictions`, pointer, ledger, in this order.

    The release id is a digest of rows and model, so the same content again changes nothing ('unchanged'). Content
    that was retracted stays so ('skipped') until it changes or `force` is set.

    Raises:
        DataError: E-RELEASE-UNAUDITED unless an audit passed just these staged scores.
        StorageError: E-PUB-FENCED when a newer run released other content; E-IO-* when the disk refuses.
    """
    pin = pinned(context)
    if pin is None:
        return _without_scores(context)
    base = context.snapshot("predictions")
    with context.scratch("release") as scratch:
        scores = staged_scores(context, pin, scratch)
        _require_audit(context, scores)
        staged_bytes = sum(path.stat().st_size for path in scores.scored_files)
        context.exports.prepare(_WRITTEN_BYTES_PER_STAGED * staged_bytes)
        rows = _sorted_rows(context, pin, scores, scratch)
        release_id = combined(context.name, context.key, rows.digest, pin.model_version, pin.artifact_sha256)[:20]
        taken_back = _retraction(context, release_id)
        if taken_back and not force:
            return {"state": "skipped", "reason": f"retracted: {taken_back['reason']}", "release_id": release_id}
        return _publish(context, pin, scores, base, rows, release_id)


def _publish(context: Context, pin: Pin, scores: Scores, base: Snapshot, rows: Rows, release_id: str) -> Summary:
    shared = {"model_version": pin.model_version, "is_hindsight": pin.is_hindsight, "release_id": release_id}
    digest = _export(context, pin, scores, rows, release_id, shared)
    input_digest = combined("predictions", release_id)
    if context.published("predictions", input_digest) is None:
        published = _prediction_rows(context, rows, shared)
        facts = {"rows": rows.count, **shared, "columns": published.schema.names}
        context.publish("predictions", base, published, input_digest, facts)
    with context.only_release():
        switched = _switch(context, input_digest, release_id)
        reach("export.after_pointer")
        recorded = _record(context, rows, digest, shared)
    close_pin(context)
    return {
        "state": "done" if switched or recorded else "unchanged",
        "rows": rows.count,
        "refused": scores.refused,
        "digest": digest,
        "path": context.release_path(release_id),
        **shared,
    }


def _without_scores(context: Context) -> Summary:
    if champion_for(context) is None or context.ledger.publication(context.name, "features", context.key) is None:
        return {"state": "skipped", "reason": why_nothing(context)}
    raise _unaudited(context, "this run has not scored the features as they are now")


def _require_audit(context: Context, scores: Scores) -> None:
    """Fails closed: the newest verdict on just these staged bytes must be PASS."""
    verdicts = [
        row
        for row in context.ledger.decisions(context.name, "audit", context.key)
        if row["numbers"].get("staged") == scores.digest
    ]
    if not verdicts:
        raise _unaudited(context, "no audit has seen the scores as they are staged now")
    if verdicts[-1]["outcome"] != "PASS":
        raise _unaudited(context, f"the audit of these scores said {verdicts[-1]['outcome']}")


def _unaudited(context: Context, what: str) -> DataError:
    return DataError(
        "E-RELEASE-UNAUDITED", context.where, what, "Nothing was released. Run 'score' and 'audit', then 'release'."
    )


def _sorted_rows(context: Context, pin: Pin, scores: Scores, scratch: Path) -> Rows:
    """Scores of all shards in row_id order with the carried columns of `clean`, so that shards leave no trace."""
    path = scratch / "sorted.parquet"
    with context.engine("release") as engine, named_errors(path):
        table = _with_carried(context, engine, engine.read_parquet(scores.scored_files), pin)
        reader = engine.reader(table, order_by=["row_id"])
        digest = RowDigest(reader.schema)
        count = write_groups(path, reader.schema, digest.watch(reader), "snappy")
    if count != scores.rows:
        raise DataError(
            "E-RELEASE-ROWS",
            context.where,
            f"each of the {scores.rows} scored rows must have one row in 'clean', got {count}",
            "Nothing was released. Run the partition again from 'deduplicate'.",
        )
    return Rows(path, reader.schema, count, digest.hexdigest())


def _with_carried(context: Context, engine: Engine, scored: ir.Table, pin: Pin) -> ir.Table:
    """Adds `export.columns`, one to one by row id."""
    carried = [column for column in context.pipeline.export.columns if column not in pin.key]
    clash = [column for column in carried if column in scored.columns]
    if clash:
        raise ConfigError(
            "E-CONFIG-EXPORT", context.name, f"'export.columns' must not repeat columns of the scores: {names(clash)}"
        )
    clean = context.ledger.publication(context.name, "clean", context.key) if carried else None
    if clean is None:
        return scored
    snapshot = Snapshot(context.home.table(context.name, "clean"), clean["delta_version"])
    rows = engine.scan(snapshot, [context.key]).select("row_id", *carried)
    return scored.inner_join(rows, "row_id").select(*scored.columns, *carried)


def _export(
    context: Context,
    pin: Pin,
    scores: Scores,
    rows: Rows,
    release_id: str,
    shared: dict[str, Any],
) -> str:
    """Writes the release aside and returns its manifest's digest. Nothing of the clock or the run is in it."""
    clean = context.ledger.publication(context.name, "clean", context.key)
    facts = {
        **shared,
        "pipeline": context.name,
        "artifact_sha256": pin.artifact_sha256,
        "key": list(pin.key),
        "inputs": {"features": pin.features_digest, "clean": clean and clean["content_digest"]},
        "rows": {"features": pin.features_rows, "scored": rows.count, "refused": scores.refused},
        "rows_digest": rows.digest,
    }
    # Dictionary encoded, because pandas and pyarrow give the column that type when they read it from the folder's name.
    partition = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([context.key]))[0]
    constants = {"partition": partition, **_scalars(shared)}
    left_out = {"row_id"} if pin.key else set()
    schema, batches = _with_constants(rows, constants, left_out)
    same = [row for row in context.ledger.releases(context.name, context.key) if row["release_id"] == release_id]
    recorded = same[-1]["digest"] if same else None
    compression = context.pipeline.export.compression
    return context.exports.write(context.key, release_id, schema, batches, compression, facts, recorded)


def _prediction_rows(context: Context, rows: Rows, shared: dict[str, Any]) -> pa.RecordBatchReader:
    constants = {"partition": pa.scalar(context.key), **_scalars(shared)}
    carried = set(context.pipeline.export.columns) - set(context.pipeline.key)
    schema, batches = _with_constants(rows, constants, carried)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _scalars(shared: dict[str, Any]) -> dict[str, pa.Scalar]:
    return {
        "model_version": pa.scalar(shared["model_version"], pa.int64()),
        "is_hindsight": pa.scalar(shared["is_hindsight"], pa.bool_()),
        "release_id": pa.scalar(shared["release_id"], pa.string()),
    }


def _with_constants(
    rows: Rows, constants: dict[str, pa.Scalar], left_out: set[str]
) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    kept = [item for item in rows.schema if item.name not in left_out]
    schema = pa.schema([*kept, *((name, value.type) for name, value in constants.items())])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows.batches():
            columns = [batch.column(item.name) for item in kept]
            columns += [pa.repeat(value, batch.num_rows) for value in constants.values()]
            yield pa.record_batch(columns, schema=schema)

    return schema, batches()


def _switch(context: Context, input_digest: str, release_id: str) -> bool:
    """Makes readers see this release; False when they do already.

    The pointer is read before the ledger is asked: a run that stops in between finds it moved and asks again.
    """
    for _ in range(_TRIES):
        seen = context.exports.seen(context.key)
        _require_newest(context, input_digest)
        if context.exports.point(seen, release_id):
            return seen.release_id != release_id
    what = f"the pointer of this partition was moved by others {_TRIES} times in a row"
    raise StorageError("E-PUB-FENCED", f"{context.name}.exports {context.key}", what, "It is tried again.")


def _require_newest(context: Context, input_digest: str) -> None:
    """A run that was stopped for long must not switch the pointer back."""
    newest = context.ledger.publication(context.name, "predictions", context.key)
    if newest is None or newest["input_digest"] != input_digest:
        raise StorageError(
            "E-PUB-FENCED",
            f"{context.name}.exports {context.key}",
            "a newer run released or retracted this partition, so this one stopped before its release became readable",
            "Nothing is lost; run the partition again if its inputs changed since.",
        )


def _record(context: Context, rows: Rows, digest: str, shared: dict[str, Any]) -> bool:
    """True when the ledger did not yet say that this release is the current one."""
    known = context.ledger.releases(context.name, context.key)
    is_known = any(row["release_id"] == shared["release_id"] and row["state"] == "released" for row in known)
    context.ledger.record_release(
        context.name,
        context.key,
        row_count=rows.count,
        digest=digest,
        path=context.release_path(shared["release_id"]),
        run_id=context.run_id,
        **shared,
    )
    return not is_known


def _retraction(context: Context, release_id: str) -> Row | None:
    """The ledger row that says this very content was taken back, unless it was released again since."""
    same = [row for row in context.ledger.releases(context.name, context.key) if row["release_id"] == release_id]
    return same[-1] if same and same[-1]["state"] == "retracted" else None
