"""Explain: the story of one business key in one partition, from source file to released score."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import DataError, ModelError, names, quote
from pipelines.ledger import Row
from pipelines.staged import champion_for
from pipelines.storage.tables import Snapshot

Record = dict[str, Any]
_PARTITIONS_IN_HINT = 5


def explain(context: Context, key: str) -> Record:
    """Raw rows, checks, clean row, features, score, model, release and files of `key`.

    `key` holds the values of the pipeline's key columns, several joined by '|' (or ',', where that is unambiguous);
    a pipeline without a key is asked by row id. All raw versions are shown, each with what became of it.

    Raises:
        DataError: E-EXPLAIN-UNKNOWN when the partition never saw it, with the partitions that did.
    """
    wanted = _wanted(context, key)
    with context.engine("explain") as engine:
        raw = _find(context, engine, "raw", wanted)
        clean = _find(context, engine, "clean", wanted)
        features = _find(context, engine, "features", wanted)
        predictions = _find(context, engine, "predictions", wanted)
        unparsed = _unparsed(context, engine, list(wanted.values()))
        ids = sorted({row["row_id"] for row in [*raw, *clean, *features] if row["row_id"]})
        quarantined = _by_row_id(context, engine, "quarantine", ids)
        duplicates = _by_row_id(context, engine, "duplicates", ids)
        if not (ids or unparsed):
            raise _unknown(context, engine, wanted)
    return {
        "pipeline": context.name,
        "partition": context.key,
        "key": wanted,
        "raw": [_with_fate(row, quarantined, duplicates, clean) for row in raw],
        "unparsed_records_that_mention_it": unparsed,
        "clean": _only(clean),
        "features": _feature_values(context, _only(features)),
        "score": _only(predictions),
        "model": _model(context, _only(predictions)),
        "contributions": _contributions(context, _only(predictions), wanted),
        "release": _release(context),
    }


def _wanted(context: Context, key: str) -> dict[str, str]:
    """Key column to value, as text."""
    columns = context.pipeline.key or ("row_id",)
    values = [key] if len(columns) == 1 else key.split("|")
    if len(values) != len(columns):
        values = key.split(",")
    if len(values) != len(columns):
        raise DataError(
            "E-EXPLAIN-KEY",
            context.where,
            f"a key must hold one value for each of {names(columns)}, joined by '|', got {quote(key)}",
        )
    return dict(zip(columns, (value.strip() for value in values), strict=True))


def _find(context: Context, engine: Engine, table: str, wanted: dict[str, str]) -> list[Record]:
    """Rows of this partition with these key values, by row id."""
    snapshot = context.snapshot(table)
    if not snapshot.exists or not set(wanted) <= set(snapshot.schema().names):
        return []
    rows = engine.scan(snapshot, [context.key])
    for column, value in wanted.items():
        rows = rows.filter(rows[column].cast("string") == value)
    return _readable(engine.table(rows, order_by=["row_id"]))


def _readable(table: pa.Table) -> list[Record]:
    """Its rows; of images, whose pixels say nothing to people, how many bytes they have."""
    for place, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            sizes = [None if one is None else f"{len(one):,} bytes" for one in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(sizes, pa.string()))
    rows: list[Record] = table.to_pylist()
    return rows


def _by_row_id(context: Context, engine: Engine, table: str, ids: list[str]) -> dict[str, Record]:
    snapshot = context.snapshot(table)
    if not snapshot.exists or not ids:
        return {}
    rows = engine.scan(snapshot, [context.key])
    return {row["row_id"]: row for row in _readable(engine.table(rows.filter(rows.row_id.isin(ids))))}


def _unparsed(context: Context, engine: Engine, values: list[str]) -> list[Record]:
    """Records that could not be parsed and whose text contains every value: perhaps this key, perhaps not."""
    snapshot = context.snapshot("quarantine")
    if not snapshot.exists:
        return []
    rows = engine.scan(snapshot, [context.key])
    rows = rows.filter(rows.stage == "ingest")
    for value in values:
        rows = rows.filter(rows.record.contains(value))
    found = engine.table(rows.order_by("row_id").limit(5)).to_pylist()
    return [{name: row[name] for name in ("source_file", "source_line", "record", "reasons")} for row in found]


def _with_fate(
    row: Record, quarantined: dict[str, Record], duplicates: dict[str, Record], clean: list[Record]
) -> Record:
    """The raw row with what became of it: clean, quarantined with its reasons, or duplicate of which row."""
    found = {name: value for name, value in row.items() if name != "partition"}
    if row["row_id"] in quarantined:
        return {**found, "became": "quarantined", "reasons": quarantined[row["row_id"]]["reasons"]}
    if row["row_id"] in duplicates:
        loser = duplicates[row["row_id"]]
        beaten_by = f"{loser['kept_row_id']} of {loser['kept_partition']}"
        return {**found, "became": f"duplicate ({loser['reason']})", "reasons": [f"kept instead: {beaten_by}"]}
    is_clean = any(kept["row_id"] == row["row_id"] for kept in clean)
    return {**found, "became": "clean" if is_clean else "not decided yet", "reasons": []}


def _only(rows: list[Record]) -> Record | None:
    """The row; after deduplication a key has at most one."""
    return rows[0] if rows else None


def _feature_values(context: Context, row: Record | None) -> Record | None:
    if row is None:
        return None
    apart = {"row_id", "partition", *context.pipeline.key, context.pipeline.event_time}
    kept = set(context.pipeline.features.columns)
    return {name: value for name, value in row.items() if name not in apart or name in kept}


def _model(context: Context, prediction: Record | None) -> Record | None:
    """The model that scored the row, or the one that would."""
    if prediction:
        version = prediction["model_version"]
    else:
        champion = champion_for(context)
        version = champion[0]["version"] if champion else None
    if version is None:
        return None
    try:
        row = context.ledger.model(context.name, version)
    except ModelError:
        return {"version": version, "problem": "the ledger does not know this version"}
    return {
        "version": version,
        "as_of": row["as_of"].isoformat(),
        "artifact_sha256": row["artifact_sha256"],
        "mlflow_run_id": row["mlflow_run_id"],
        "became_champion": _promotion(context, version),
    }


def _promotion(context: Context, version: int) -> str | None:
    changes = [row for row in context.ledger.champions(context.name) if row["version"] == version]
    return f"{changes[0]['action']} by {changes[0]['actor']}: {changes[0]['reason']}" if changes else None


def _contributions(context: Context, prediction: Record | None, wanted: dict[str, str]) -> Record | None:
    """What each feature adds to the row's raw score, largest first, on top of `base`; or the `problem`.

    Of several classes, for the most probable one. None for a row without a score.
    """
    publication = context.ledger.publication(context.name, "features", context.key)
    if prediction is None or publication is None:
        return None
    from pipelines.explanations.contributions import contributions
    from pipelines.models import load_model

    try:
        model = load_model(context, prediction["model_version"])
    except ModelError as error:
        return {"problem": str(error)}
    found = contributions(model, _feature_row(context, publication, wanted, model.features))
    if isinstance(found, str):
        return {"problem": found}
    if not len(found.values):
        return {"problem": "the features of this row are not published any more"}
    best = int(found.total()[0].argmax())
    parts = dict(zip(model.features, found.values[0, best].tolist(), strict=True))
    return {
        "of": found.outputs[best],
        "scale": found.scale,
        "base": float(found.base[0, best]),
        "total": float(found.total()[0, best]),
        "features": dict(sorted(parts.items(), key=lambda item: (-abs(item[1]), item[0]))),
    }


def _feature_row(context: Context, publication: Row, wanted: dict[str, str], columns: list[str]) -> pa.Table:
    snapshot = Snapshot(context.home.table(context.name, "features"), publication["delta_version"])
    with context.engine("explain") as engine:
        rows = engine.scan(snapshot, [context.key])
        for column, value in wanted.items():
            rows = rows.filter(rows[column].cast("string") == value)
        return engine.table(rows.select(*columns).limit(1))


def _release(context: Context) -> Record | None:
    """The newest release of the partition, its state and its files."""
    history = context.ledger.releases(context.name, context.key)
    if not history:
        return None
    row = history[-1]
    exports = context.exports
    manifest = exports.manifest(context.key, row["release_id"]) or {"files": []}
    return {
        "release_id": row["release_id"],
        "number": row["seq"],
        "state": row["state"],
        "reason": row["reason"],
        "readers_see_it": exports.current(context.key) == row["release_id"],
        "files": [f"{row['path']}/{entry['name']}" for entry in manifest["files"]],
        "sha256": [entry["sha256"] for entry in manifest["files"]],
    }


def _unknown(context: Context, engine: Engine, wanted: dict[str, str]) -> DataError:
    snapshot = context.snapshot("raw")
    seen: list[str] = []
    if snapshot.exists and set(wanted) <= set(snapshot.schema().names):
        rows = engine.scan(snapshot, snapshot.partitions())
        for column, value in wanted.items():
            rows = rows.filter(rows[column].cast("string") == value)
        found = engine.table(rows.select("partition").distinct().order_by("partition").limit(_PARTITIONS_IN_HINT))
        seen = found["partition"].to_pylist()
    hint = f"It was seen in {names(seen)}." if seen else "No partition of 'raw' has it."
    what = f"no row has {', '.join(f'{column} = {quote(value)}' for column, value in wanted.items())}"
    return DataError("E-EXPLAIN-UNKNOWN", context.where, what, hint)
